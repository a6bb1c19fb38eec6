"""Prompts that do not fit: what is left out, what never is, and what the caller hears when nothing is
left to leave out."""

import case
import stub

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa "


def items(*rows):
    """Context items (id, priority, pinned), of about 75 tokens each."""
    return [
        {"id": name, "text": f"{name}: " + WORDS * 5, "priority": priority, "pinned": pinned}
        for name, priority, pinned in rows
    ]


class Context(case.Case):
    scenario = False

    @classmethod
    def prepare(cls, policies):
        cls.stub = cls.own(stub.Stub(cls.handle))
        policies.url = cls.stub.url
        policies.provider("p")
        policies.model("small", "p", context=350)
        policies.model("smaller", "p", context=250)
        policies.model("large", "p", context=5000)
        policies.model("liar", "p", context=5000)
        policies.endpoint("small", ["small"], max_tokens=64)
        policies.endpoint("grows", ["small", "large"], max_tokens=64)
        policies.endpoint("shrinks", ["smaller", "small"], max_tokens=64)
        policies.endpoint("liar", ["liar"], max_tokens=64)
        policies.endpoint("liars", ["liar", "large"], max_tokens=64)

    @classmethod
    def handle(cls, call):
        body = call.json()
        if body["model"] == "liar" and len(call.body) > 900:
            message = (
                "This model's maximum context length is 250 tokens. However, your messages "
                "resulted in 900 tokens. Please reduce the length of the messages."
            )
            error = {"message": message, "type": "invalid_request_error"}
            return stub.reply({"error": {**error, "code": "context_length_exceeded"}}, 400)
        return stub.reply(stub.openai("fits"))

    def ask(self, name, context, prompt="hello", **fields):
        body = {"prompt": prompt, "context": context, **fields}
        return self.server.ask(body, f"/api/{name}/reply")

    def sent(self):
        """The ids of the context items that reached the provider, in their order."""
        messages = self.stub.calls[-1].json()["messages"]
        system = next((m["content"] for m in messages if m["role"] == "system"), "")
        return [line[1:-1] for line in system.splitlines() if line.startswith("[")]

    def test_what_fits_is_sent_whole(self):
        reply = self.ask("small", items(("a", 1, False), ("b", 2, False)))
        self.assertGood(reply, dropped=[])
        self.assertEqual(self.sent(), ["a", "b"])

    def test_the_lowest_priorities_are_left_out(self):
        order = ["k3", "k1", "k5", "k2", "k4"]
        reply = self.ask("small", items(*((name, int(name[1]), False) for name in order)))
        got = self.assertGood(reply)
        sent = self.sent()
        self.assertTrue(2 <= len(sent) <= 4, sent)
        best = sorted(order)[-len(sent) :]
        self.assertEqual(sent, [name for name in order if name in best])
        self.assertEqual(got["dropped"], [name for name in order if name not in best])
        self.assertEqual(self.server.decision(reply)["dropped"], got["dropped"])

    def test_what_is_pinned_is_never_left_out(self):
        rows = [("last", -9, True)] + [(f"k{i}", i, False) for i in range(5)]
        got = self.assertGood(self.ask("small", items(*rows)))
        self.assertIn("last", self.sent())
        self.assertNotIn("last", got["dropped"])

    def test_a_candidate_with_more_room_gets_what_the_first_could_not_take(self):
        rows = [(f"p{i}", 0, True) for i in range(6)]
        reply = self.ask("grows", items(*rows))
        self.assertGood(reply, model="large", dropped=[])
        self.assertEqual(len(self.sent()), 6)

    def test_when_no_model_has_room_the_caller_hears_the_figures(self):
        calls = len(self.stub.calls)
        reply = self.ask("small", items(*((f"p{i}", 0, True) for i in range(9))))
        error = self.assertError(reply, 400, "invalid_request")
        self.assertRegex(error["message"], r"about \d+ tokens .* takes 350")
        self.assertEqual(len(self.stub.calls), calls)

    def test_when_no_model_of_several_has_room_the_largest_is_named(self):
        reply = self.ask("shrinks", items(*((f"p{i}", 0, True) for i in range(9))))
        self.assertIn("takes 350", self.assertError(reply, 400, "invalid_request")["message"])

    def test_each_candidate_gets_what_it_has_room_for(self):
        rows = [(f"k{i}", i, False) for i in range(6)]
        small = len(self.assertGood(self.ask("small", items(*rows)))["dropped"])
        grows = self.assertGood(self.ask("grows", items(*rows)), model="small")
        self.assertEqual(len(grows["dropped"]), small)

    def test_a_provider_that_knows_a_smaller_limit_is_asked_again_with_less_once(self):
        reply = self.ask("liar", items(*((f"k{i}", i, False) for i in range(5))))
        got = self.assertGood(reply, text="fits")
        record = self.server.decision(reply)
        self.assertEqual(self.classes(record), ["too_long", "ok"])
        self.assertTrue(got["dropped"])
        self.assertIn("k4", self.sent())

    def test_where_nothing_can_be_dropped_a_candidate_with_more_room_is_tried(self):
        reply = self.ask("liars", items(*((f"p{i}", 0, True) for i in range(5))))
        self.assertGood(reply, model="large")
        self.assertEqual(self.classes(self.server.decision(reply)), ["too_long", "ok"])

    def test_where_nothing_can_be_dropped_and_nobody_has_more_room_it_is_400(self):
        reply = self.ask("liar", items(*((f"p{i}", 0, True) for i in range(5))))
        error = self.assertError(reply, 400, "invalid_request")
        self.assertRegex(error["message"], r"about \d+ tokens.* 250")
        self.assertEqual(self.classes(self.server.decision(reply)), ["too_long"])


if __name__ == "__main__":
    case.main()

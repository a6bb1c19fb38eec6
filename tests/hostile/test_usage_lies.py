"""What providers say of usage (T10), in both dialects, whole and streamed: booked as reported, or replaced by
the estimate and marked where it cannot be true; nothing of it stops anything, and the three books agree."""

import json

import case
import faultcase
import faults
import stub

TEXT = "four words of text"
HUGE = 10**12

# What is reported for prompt and completion, and at how many tokens that is booked; None: the estimate.
LIES = {
    "zero": ((0, 0), 0),
    "plain": ((10, 3), 13),
    "as floats that are whole": ((10.0, 3.0), 13),
    "the most that is taken": ((10**9, 0), 10**9),
    "one more": ((10**9 + 1, 0), None),
    "negative": ((-5, 3), None),
    "a negative completion": ((5, -3), None),
    "10^12": ((10, HUGE), None),
    "10^30": ((1e30, 1e30), None),
    "a fraction": ((10, 2.5), None),
    "texts": (("10", "3"), None),
    "null": ((None, None), None),
    "truths": ((True, True), None),
    "lists": (([10], [3]), None),
    "objects": (({}, {"a": 1}), None),
    "above what was held": ((5000, 900), 5900),
}
CACHES = {"input": 3, "cached_input": 0.3, "cache_write": 3.75, "cache_write_1h": 6, "output": 15}
FIELDS = {"openai": ("prompt_tokens", "completion_tokens"), "anthropic": ("input_tokens", "output_tokens")}


def usage(dialect, pair):
    return dict(zip(FIELDS[dialect], pair))


def whole(dialect, said):
    """A whole answer with this for its usage; `said` "none": there is none."""
    body = stub.openai(TEXT) if dialect == "openai" else stub.anthropic(TEXT)
    body["usage"] = said
    if said == "none":
        del body["usage"]
    return body


def frames(dialect, *saids):
    """A stream that tells usage so often, each time so."""
    if dialect == "openai":
        out = [faults.delta(content=TEXT), faults.delta("stop")]
        out += [faults.event({"choices": [], "usage": said}) for said in saids]
        return [*out, faults.DONE]
    out = [faults.named("message_start", message={"usage": {}}),
           faults.named("content_block_delta", delta={"type": "text_delta", "text": TEXT})]
    out += [faults.named("message_delta", delta={"stop_reason": "end_turn"}, usage=said) for said in saids]
    return [*out, faults.named("message_stop")]


class Lies(faultcase.FaultCase):
    @classmethod
    def prepare(cls, policies):
        cls.begin(policies)
        policies.budgets[0]["limit_usd"] = 1000000
        for dialect in FIELDS:
            url = cls.own(stub.Stub(cls.answer)).url + ("/v1" if dialect == "openai" else "")
            policies.provider(dialect, dialect, base_url=url)
            policies.model(dialect, dialect)
            policies.endpoint(dialect, [dialect], max_attempts=1)
        policies.model("caches", "anthropic", usd_per_million=CACHES)
        policies.endpoint("caches", ["caches"], max_attempts=1)

    @classmethod
    def answer(cls, call):
        return cls.reply

    def ask(self, dialect, streamed, said, path=None):
        """The record of a request whose answer tells this, and how many tokens it was booked at."""
        path = path or f"/api/{dialect}/reply"
        if streamed:
            parts = b"".join(faults.chunk(frame) for frame in frames(dialect, *said))
            type(self).reply = faults.STREAM + parts + faults.END
            with self.server.conn() as conn:
                stream = self.server.stream("hello", path, conn=conn).follow()
                self.assertStreamed(stream, TEXT)
            record = self.server.decision(stream.get("X-Request-Id"))
        else:
            type(self).reply = stub.reply(whole(dialect, *said))
            reply = self.server.ask("hello", path)
            self.assertGood(reply, text=TEXT)
            record = self.server.decision(reply)
        self.assertEqual(self.classes(record), ["ok"])
        attempt = record["attempts"][0]
        return attempt, sum(attempt.get("tokens", {}).get(k, 0) for k in ("prompt", "completion"))

    def ways(self):
        for dialect in FIELDS:
            for streamed in (False, True):
                yield dialect, streamed

    def assertBooked(self, attempt, got, tokens):
        if tokens is None:
            self.assertEqual(attempt["settled"], "estimated", attempt)
            self.assertTrue(0 < got < 60, attempt)
        else:
            self.assertEqual((attempt["settled"], got), ("exact", tokens), attempt)

    def test_usage_is_booked_as_reported_or_replaced_by_the_estimate(self):
        before, marked, asked = self.books(), 0, 0
        old = set(self.server.read_records())
        for dialect, streamed in self.ways():
            for name, (pair, tokens) in LIES.items():
                with self.subTest(dialect=dialect, streamed=streamed, name=name):
                    attempt, got = self.ask(dialect, streamed, [usage(dialect, pair)])
                    self.assertBooked(attempt, got, tokens)
                    marked += bool(attempt.get("usageImpossible"))
                    asked += 1
        records = self.server.read_records().items()
        cost = sum(round(record["costUsd"] * 1e9) for name, record in records if name not in old)
        spent, counted, reserved = self.books()
        case.say(f"{asked} reports of usage, {marked} marked as impossible; ledger {spent - before[0]}, records "
                 f"{cost}, metric {counted - before[1]} nano-dollars, {reserved} held")
        self.assertEqual((spent - before[0], counted - before[1], reserved), (cost, cost, 0))
        self.assertGreater(marked, 0)

    def test_each_part_of_a_prompt_is_booked_once_at_its_own_price(self):
        # plain, read, written for 5 minutes, for an hour
        rows = [(0, 0, 100, 0), (0, 0, 0, 100), (0, 0, 50, 50), (100, 0, 50, 50), (100, 200, 20, 30), (10, 20, 0, 30)]
        metrics = self.server.metrics()
        for plain, read, short, hour in rows:
            for streamed in (False, True):
                with self.subTest(row=(plain, read, short, hour), streamed=streamed):
                    said = {
                        "input_tokens": plain,
                        "cache_read_input_tokens": read,
                        "cache_creation_input_tokens": short + hour,
                        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": hour},
                        "output_tokens": 7,
                    }
                    attempt, tokens = self.ask("anthropic", streamed, [said], "/api/caches/reply")
                    self.assertEqual((attempt["settled"], tokens), ("exact", plain + read + short + hour + 7))
                    nano = plain * 3000 + read * 300 + short * 3750 + hour * 6000 + 7 * 15000
                    self.assertEqual(round(attempt["costUsd"] * 1e9), nano)
        for kind, part in (("cached", slice(1, 2)), ("cache_write", slice(2, 4)), ("prompt", slice(0, 4))):
            name, labels = "llm_tokens_total", {"model": "caches", "kind": kind}
            counted = self.server.metrics().get(name, **labels) - metrics.get(name, **labels)
            self.assertEqual(counted, 2 * sum(sum(row[part]) for row in rows), kind)

    def test_no_usage_is_estimated(self):
        for dialect, streamed in self.ways():
            for said in ([], "none") if streamed else (["none"], [None], [[1, 2]], ["ten"]):
                if said == "none":
                    said = [None]
                with self.subTest(dialect=dialect, streamed=streamed, said=said):
                    self.assertBooked(*self.ask(dialect, streamed, said), None)

    def test_of_what_a_stream_tells_twice_the_last_counts(self):
        for dialect in FIELDS:
            with self.subTest(dialect=dialect):
                told = [usage(dialect, (10, 3)), usage(dialect, (20, 6))]
                self.assertBooked(*self.ask(dialect, True, told), 26)
                # One that is impossible spoils the rest: nobody knows which of them is true.
                told = [usage(dialect, (10, 3)), usage(dialect, (20, -6))]
                self.assertBooked(*self.ask(dialect, True, told), None)

    def test_usage_that_stands_twice_in_a_whole_answer_is_booked_once(self):
        for dialect in FIELDS:
            with self.subTest(dialect=dialect):
                body = json.dumps(whole(dialect, usage(dialect, (10, 3))))
                twice = body[:-1] + ', "usage": ' + json.dumps(usage(dialect, (20, 6))) + "}"
                type(self).reply = stub.reply(twice.encode())
                record = self.server.decision(self.server.ask("hello", f"/api/{dialect}/reply"))
                attempt = record["attempts"][0]
                self.assertEqual(attempt["settled"], "exact")
                self.assertIn(attempt["tokens"]["prompt"] + attempt["tokens"]["completion"], (13, 26))

    def test_usage_after_an_error_is_not_believed(self):
        failed = faults.event({"error": {"message": "as it is", "type": "server_error"}})
        parts = [faults.delta(content=TEXT), failed, faults.USAGE, faults.DONE]
        type(self).reply = faults.STREAM + b"".join(map(faults.chunk, parts)) + faults.END
        with self.server.conn() as conn:
            stream = self.server.stream("hello", "/api/openai/reply", conn=conn).follow()
            self.assertBroken(stream)
        attempt = self.server.decision(stream.get("X-Request-Id"))["attempts"][0]
        self.assertEqual((attempt["class"], attempt["settled"]), ("cut", "estimated"))


if __name__ == "__main__":
    case.main()

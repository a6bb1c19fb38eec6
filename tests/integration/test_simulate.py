"""`neap serve --simulate` with the shipped policies: no key, no network, and what an operator sees on
the first day."""

import os
import shutil

import case
import policies as sets
import procs
import wire


class Shipped(sets.Policies):
    """A copy of the shipped set."""

    def __init__(self):
        super().__init__()
        shutil.copytree(os.path.join(procs.SOURCE, "policies"), self.path, dirs_exist_ok=True)

    def data(self):
        return {}


class Simulate(case.Case):
    scenario = False
    env = {}
    flags = ("--simulate",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.own(cls.serve(Shipped()))
        cls.port = int(cls.server.status()["simulate"].rsplit(":", 1)[1])

    def setUp(self):
        self.control({})
        self.addCleanup(self.control, {})

    def control(self, models):
        reply = wire.ask(self.port, "POST", "/control", {"models": models})
        self.assertEqual(reply.status, 200, reply)

    def ask(self, **metadata):
        body = {"prompt": "How do I reset my VPN token?", "metadata": metadata}
        return self.server.ask(body)

    def test_the_premium_model_answers_under_the_objectives(self):
        reply = self.ask()
        got = self.assertGood(reply, model="gpt-4.1", provider="openai", attempts=1)
        self.assertIn("VPN token", got["text"])
        case.say(f"a simulated reply: {got['usage']['costUsd']} USD, {got['latencyMs']} ms")
        self.assertLess(got["usage"]["costUsd"], 0.01)

    def test_the_record_of_a_plain_request_is_under_1_kb(self):
        record = self.server.decision(self.ask(tier="gold"))
        self.assertEqual([hook["name"] for hook in record["hooks"]], ["admit", "route", "budget", "respond"])
        self.assertTrue(all(hook["line"] > 0 for hook in record["hooks"]), record["hooks"])
        case.say(f"the record of a plain request: {record['bytes']} bytes")
        self.assertLess(record["bytes"], 1024)

    def test_when_the_premium_model_fails_the_economical_one_answers(self):
        self.control({"gpt-4.1": {"status": 503}})
        got = self.assertGood(self.ask())
        self.assertIn(got["model"], ("gpt-4.1-mini", "claude-haiku-4-5"))
        self.assertGreater(got["attempts"], 1)

    def test_when_all_fail_the_degraded_reply_comes_from_a_template(self):
        self.control({"*": {"status": 503}})
        got = self.assertDegraded(self.ask(), "exhausted")
        with open(os.path.join(procs.SOURCE, "policies", "templates", "exhausted.txt"),
                  encoding="utf-8") as f:
            self.assertEqual(got["text"].split()[0], f.read().split()[0])

    def test_bronze_gets_the_economical_model_first(self):
        got = self.assertGood(self.ask(tier="bronze"))
        self.assertNotEqual(got["model"], "gpt-4.1")

    def test_a_caller_that_would_rather_have_an_error_gets_one(self):
        self.control({"*": {"status": 404}})
        reply = self.ask(on_degraded="error")
        self.assertEqual(reply.status, 503)
        self.assertTrue(reply.json()["degraded"])

    def test_the_same_scenario_gives_the_same_answers(self):
        texts = []
        for _ in range(2):
            server = self.serve(Shipped(), workers=1)
            try:
                texts.append([self.assertGood(server.ask(f"question {i}"))["text"] for i in range(4)])
            finally:
                server.stop()
        self.assertEqual(texts[0], texts[1])

    def test_no_hook_of_the_shipped_set_fails(self):
        for i in range(5):
            self.ask(tier=("gold", "bronze")[i % 2])
        self.assertEqual(self.server.metrics().get("neap_hook_errors_total"), 0)


class Scenario(case.Case):
    """Scenario files, as `neap mock` takes them."""

    scenario = """
local n = 0
return { seed = 3, models = {
  fixed = { text = "fixed", first_ms = 1, total_ms = 1 },
  turns = { { text = "one" }, { status = 500 }, { text = "three" } },
  asks = function(call) return { text = call.model .. " " .. call.number } end,
  burst = { text = "fine", faults = { { rate = 0.3, status = 429, retry_after_s = 1, burst = 2 } } },
} }
"""

    def call(self, model, **fields):
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
        return wire.ask(self.mock.port, "POST", "/v1/chat/completions", body)

    def text(self, model):
        return self.call(model).json()["choices"][0]["message"]["content"]

    def test_answers_are_fixed_taken_in_turn_or_made_by_a_function(self):
        self.assertEqual(self.text("fixed"), "fixed")
        self.assertEqual(self.call("turns").status, 200)
        self.assertEqual(self.call("turns").status, 500)
        self.assertEqual([self.text("turns"), self.text("turns")], ["three", "three"])
        self.assertEqual([self.text("asks"), self.text("asks")], ["asks 1", "asks 2"])

    def test_both_dialects_are_spoken_and_streamed(self):
        body = {"model": "fixed", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        reply = wire.ask(self.mock.port, "POST", "/v1/messages", body)
        self.assertEqual(reply.json()["content"][0]["text"], "fixed")
        stream = wire.ask(self.mock.port, "POST", "/v1/messages", {**body, "stream": True})
        self.assertIn(b"event: message_stop\n", stream.body)
        stream = self.call("fixed", stream=True)
        self.assertEqual(stream.get("Content-Type").split(";")[0], "text/event-stream")
        self.assertTrue(stream.body.rstrip().endswith(b"data: [DONE]"))

    def test_the_same_seed_gives_the_same_faults(self):
        runs = []
        for _ in range(2):
            mock = procs.Mock(self.scenario)
            try:
                body = {"model": "burst", "messages": [{"role": "user", "content": "hi"}]}
                with wire.Conn(mock.port) as conn:
                    runs.append([conn.ask("POST", "/v1/chat/completions", body).status
                                 for _ in range(60)])
            finally:
                mock.stop()
        self.assertEqual(runs[0], runs[1])
        self.assertIn(429, runs[0])
        self.assertIn(200, runs[0])

    def test_a_control_that_makes_no_sense_is_refused_and_changes_nothing(self):
        for body in ({"models": {"fixed": {"statuss": 500}}}, {"models": 7}, [], b"{"):
            reply = wire.ask(self.mock.port, "POST", "/control", body)
            self.assertEqual(reply.status, 400, body)
            self.assertTrue(reply.json()["error"])
        self.assertEqual(self.text("fixed"), "fixed")

    def test_a_scenario_that_is_broken_is_told_with_file_and_line(self):
        files = sets.Policies()
        files.put("bad.lua", "return {\n  models = {\n")
        path = os.path.join(files.path, "bad.lua")
        status, _, err = procs.run("mock", "--listen", "127.0.0.1:0", "--scenario", path)
        self.assertEqual(status, 1, err)
        self.assertRegex(err, r"bad\.lua:\d+: ")
        status, _, err = procs.run("mock", "--listen", "127.0.0.1:0", "--scenario", "/nowhere.lua")
        self.assertEqual(status, 3, err)
        self.assertIn("/nowhere.lua", err)


if __name__ == "__main__":
    case.main()

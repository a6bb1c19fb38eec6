"""Streamed answers end to end, with the imitation providers: what the client gets, when, and what is
booked for it."""

import time

import case
import procs

TEXT = "It takes a moment: first look it up, then try each step in turn. \u00e9\u20ac\U0001f600 \"quoted\" \\ \n end."

SCENARIO = """
return { seed = 7, models = { ["*"] = { text = "%s", first_ms = 50, total_ms = 250 } } }
""" % TEXT.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

DIALECTS = [("openai", "fast"), ("anthropic", "claude")]


class Streams(case.Case):
    scenario = SCENARIO

    @classmethod
    def prepare(cls, policies):
        policies.provider("oa", "openai", api_key=case_key())
        policies.provider("an", "anthropic", api_key=case_key())
        policies.model("fast", "oa")
        policies.model("claude", "an")
        policies.endpoint("openai", ["fast"])
        policies.endpoint("anthropic", ["claude"])
        policies.endpoint("both", ["fast", "claude"])

    def stream(self, endpoint, deltas=None, **body):
        stream = self.server.stream({"prompt": "hello", **body}, path=f"/api/{endpoint}/reply")
        self.addCleanup(stream.conn.close)
        return stream.follow(deltas)

    def setUp(self):
        self.mock.control()

    def test_deltas_make_up_the_text_and_done_has_the_rest(self):
        for dialect, model in DIALECTS:
            with self.subTest(dialect=dialect):
                whole = self.assertGood(
                    self.server.ask("hello", path=f"/api/{dialect}/reply"), text=TEXT)
                stream = self.stream(dialect)
                done = self.assertStreamed(stream, TEXT)
                self.assertGreater(len(stream.texts), 5)
                self.assertEqual(done["model"], model)
                self.assertEqual(done["usage"], whole["usage"])
                self.assertEqual(sorted(done), sorted(set(whole) - {"text"}))
                self.assertEqual(stream.get("X-Request-Id"), done["requestId"])
                self.assertEqual(stream.get("Cache-Control"), "no-cache, no-transform")
                self.assertEqual(stream.get("X-Accel-Buffering"), "no")
                record = self.server.decision(done["requestId"])
                self.assertEqual(self.classes(record), ["ok"])
                self.assertEqual(record["outcome"], "ok")
                self.assertTrue(record["stream"])
                attempt = record["attempts"][0]
                self.assertEqual(attempt["settled"], "exact")
                self.assertLess(attempt["ttftMs"], attempt["latencyMs"])
                self.assertLessEqual(record["firstTextMs"], record["latencyMs"])

    def test_deltas_come_as_they_are_made(self):
        self.mock.control(every={"text": TEXT, "first_ms": 100, "total_ms": 1100})
        stream = self.stream("openai")
        self.assertStreamed(stream, TEXT)
        case.say(f"first delta after {stream.times[0] * 1000:.0f} ms, last after "
                 f"{stream.times[-1] * 1000:.0f} ms, of 100 and 1100")
        self.assertGreater(stream.times[-1] - stream.times[0], 0.5)

    def test_a_connection_is_used_again_after_a_stream(self):
        with self.server.conn() as conn:
            for _ in range(3):
                stream = self.server.stream("hello", path="/api/openai/reply", conn=conn)
                self.assertStreamed(stream.follow(), TEXT)
                self.assertGood(conn.ask(path="/api/openai/reply", body={"prompt": "x"}), text=TEXT)

    def test_a_stream_a_byte_at_a_time_is_the_same(self):
        self.mock.control(every={"text": TEXT, "byte_by_byte": True})
        for dialect, _ in DIALECTS:
            with self.subTest(dialect=dialect):
                done = self.assertStreamed(self.stream(dialect), TEXT)
                self.assertGreater(done["usage"]["promptTokens"], 0)

    def test_a_whole_answer_after_a_stream_is_asked_for_whole(self):
        self.assertStreamed(self.stream("openai"), TEXT)
        reply = self.server.ask("hello", path="/api/openai/reply")
        self.assertGood(reply, text=TEXT, attempts=1)

    def test_what_fails_before_its_first_text_falls_over_unseen(self):
        faults = {
            "status": ({"status": 500}, "server_error"),
            "empty": ({"empty": True}, "bad_reply"),
            "malformed": ({"malformed": True}, "bad_reply"),
            "cut": ({"fin_at": 250}, "bad_reply"),
            "reset": ({"reset_at": 250}, "bad_reply"),
        }
        for name, (fault, kind) in faults.items():
            with self.subTest(fault=name):
                self.mock.control(fast={"text": TEXT, **fault}, every={"text": TEXT})
                stream = self.stream("both")
                done = self.assertStreamed(stream, TEXT)
                self.assertEqual(done["model"], "claude")
                record = self.server.decision(done["requestId"])
                self.assertEqual(self.classes(record)[0], kind, record)
                self.assertEqual(self.classes(record)[-1], "ok", record)

    def test_what_fails_after_its_first_text_ends_with_an_error(self):
        for dialect, model in DIALECTS:
            for fault in ("fin_at", "reset_at"):
                with self.subTest(dialect=dialect, fault=fault):
                    self.mock.control(every={"text": TEXT, "total_ms": 100, fault: 2000})
                    stream = self.stream(dialect)
                    done = self.assertBroken(stream)
                    self.assertTrue(TEXT.startswith(stream.text))
                    self.assertEqual(done["model"], model)
                    record = self.server.decision(done["requestId"])
                    self.assertEqual(self.classes(record), ["cut"])
                    self.assertEqual(record["attempts"][0]["settled"], "estimated")
                    self.assertEqual(record["outcome"], "upstream_failed")

    def test_a_degraded_answer_is_a_stream_of_one_delta(self):
        self.mock.control(every={"status": 500})
        stream = self.stream("anthropic")
        done = self.assertStreamed(stream)
        self.assertTrue(done["degraded"])
        self.assertEqual(done["reason"], "exhausted")
        self.assertEqual(len(stream.texts), 1)

    def test_a_refusal_is_an_error_with_its_status(self):
        reply = self.server.ask({"prompt": 7, "stream": True}, path="/api/openai/reply")
        self.assertError(reply, 400, "invalid_request", "prompt")

    def test_first_tokens_of_streams_are_counted_and_no_others(self):
        before = self.server.metrics().get("llm_ttft_ms_count", model="fast")
        self.server.ask("hello", path="/api/openai/reply")
        self.assertStreamed(self.stream("openai"), TEXT)
        after = procs.wait_for(
            lambda: self.server.metrics().get("llm_ttft_ms_count", model="fast") - before)
        self.assertEqual(after, 1)

    def test_nothing_is_under_way_when_all_is_over(self):
        self.mock.control(every={"text": TEXT})
        self.assertStreamed(self.stream("openai"), TEXT)
        time.sleep(0.05)
        self.assertEqual(self.server.metrics().get("llm_inflight"), 0)
        self.assertEqual(self.mock.calls()["open"], 0)


def case_key():
    import policies as sets
    return sets.env("NEAP_TEST_KEY")


if __name__ == "__main__":
    case.main()

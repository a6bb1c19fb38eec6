"""Clients that leave at each moment of a streamed answer, in both dialects: how soon the provider's call
ends, and what is booked beside what the provider would charge. Prices are the same for all tokens, so
bills are compared in tokens."""

import time

import case
import procs
import wire

# About 300 tokens, one every 10 ms.
TEXT = "word " * 240
PROMPT = "Tell me all of it, please: " + "context " * 1200
PRICE = {"input": 1.0, "output": 1.0}
FIRST_MS, TOTAL_MS = 100, 3100
# Leaves after so many deltas; None: at the given time, before the first.
MOMENTS = [("before the answer's head", None, 0.03), ("at the first delta", 1, 0),
           ("after 5 deltas", 5, 0), ("after 50 deltas", 50, 0), ("after 150 deltas", 150, 0),
           ("before its usage", 240, 0)]
WAYS = ("close", "reset", "half")


class Disconnect(case.Case):
    scenario = """
return { models = { ["*"] = { text = "%s", first_ms = %d, total_ms = %d } } }
""" % (TEXT, FIRST_MS, TOTAL_MS)
    workers = 1

    @classmethod
    def prepare(cls, policies):
        for dialect in ("openai", "anthropic"):
            policies.provider(dialect, dialect)
            policies.model(f"m-{dialect}", dialect, usd_per_million=PRICE)
            policies.model(f"new-{dialect}", dialect, usd_per_million=PRICE)
            policies.endpoint(dialect, [f"m-{dialect}"], deadline_ms=20000)
            policies.endpoint(f"{dialect}-new", [f"new-{dialect}"], deadline_ms=20000)
            policies.endpoint(f"{dialect}-drain", [f"m-{dialect}"], deadline_ms=20000,
                              on_disconnect="drain")

    def billed(self):
        billed = self.mock.calls()["billed"]
        return billed["prompt"] + billed["completion"]

    def leave(self, conn, way):
        if way == "close":
            conn.close()
        elif way == "reset":
            conn.reset()
        else:
            conn.socket.shutdown(1)
        return time.monotonic()

    def wait_until_closed(self, since):
        closed = procs.wait_for(lambda: self.mock.calls()["open"] == 0, 5, 0.002)
        self.assertTrue(closed, "the provider's call goes on")
        return (time.monotonic() - since) * 1000

    def one(self, endpoint, deltas, seconds, way, stream=True):
        """Asks and leaves: milliseconds until the provider's call was closed, and its bill."""
        before = self.billed()
        name = f"gone-{time.monotonic_ns()}"
        conn = self.server.conn()
        self.addCleanup(conn.close)
        headers = {"X-Request-Id": name}
        body = {"prompt": PROMPT, "maxTokens": 1024}
        path = f"/api/{endpoint}/reply"
        if stream and deltas:
            wire.Stream(conn, body, path, headers).follow(deltas)
        else:
            conn.send(wire.request("POST", path, {**body, "stream": stream}, headers))
            self.assertTrue(procs.wait_for(lambda: self.mock.calls()["open"] == 1, 5))
            time.sleep(seconds)
        ms = self.wait_until_closed(self.leave(conn, way))
        record = self.server.decision(name)
        return ms, self.billed() - before, record

    def test_leaving_a_stream_ends_its_call_and_is_paid_for(self):
        worst_ms, ratios = 0.0, []
        for dialect in ("openai", "anthropic"):
            for i, (moment, deltas, seconds) in enumerate(MOMENTS):
                way = WAYS[i % len(WAYS)]
                with self.subTest(dialect=dialect, moment=moment, way=way):
                    ms, billed, record = self.one(dialect, deltas, seconds, way)
                    attempt = record["attempts"][0]
                    tokens = attempt["tokens"]["prompt"] + attempt["tokens"]["completion"]
                    ratio = tokens / billed
                    case.say(f"{dialect}, {way} {moment}: closed after {ms:.0f} ms, booked "
                             f"{tokens} of {billed} tokens ({ratio:.3f}), {attempt['settled']}")
                    self.assertEqual(self.classes(record), ["cancelled"])
                    self.assertEqual(record["outcome"], "cancelled")
                    self.assertGreaterEqual(ratio, 1.0)
                    self.assertLess(ratio, 1.15)
                    worst_ms = max(worst_ms, ms)
                    ratios.append(ratio)
        case.say(f"closed after {worst_ms:.0f} ms at most; booked to billed {min(ratios):.3f} to "
                 f"{max(ratios):.3f}")
        self.assertLess(worst_ms, 2000)  # the goal is 100 ms, on a machine that is not loaded

    def test_leaving_at_any_delta_is_paid_for(self):
        worst_ms, ratios = 0.0, []
        for dialect in ("openai", "anthropic"):
            for deltas in range(15, 240, 45):
                with self.subTest(dialect=dialect, deltas=deltas):
                    ms, billed, record = self.one(dialect, deltas, 0, WAYS[deltas % 3])
                    attempt = record["attempts"][0]
                    self.assertEqual((attempt["class"], attempt["settled"]), ("cancelled", "estimated"))
                    ratios.append((attempt["tokens"]["prompt"] + attempt["tokens"]["completion"]) / billed)
                    worst_ms = max(worst_ms, ms)
        case.say(f"{len(ratios)} streams left in their midst: closed after {worst_ms:.0f} ms at most, booked to "
                 f"billed {min(ratios):.3f} to {max(ratios):.3f}")
        self.assertGreaterEqual(min(ratios), 1.0)
        self.assertLess(max(ratios), 1.15)
        self.assertLess(worst_ms, 2000)

    def leave_whole_answers(self, endpoint, most):
        """What is booked is what the provider charges, or up to so many times of it."""
        for way, seconds in zip(WAYS, (0.03, 0.2, 1.0)):
            with self.subTest(endpoint=endpoint, way=way, seconds=seconds):
                ms, billed, record = self.one(endpoint, None, seconds, way, stream=False)
                attempt = record["attempts"][0]
                booked = attempt["tokens"]["prompt"] + attempt["tokens"]["completion"]
                case.say(f"{endpoint}, whole, {way} after {seconds} s: closed after {ms:.0f} ms, booked "
                         f"{booked} of {billed} tokens ({booked / billed:.3f}), {attempt['settled']}")
                self.assertEqual(self.classes(record), ["cancelled"])
                self.assertEqual(attempt["settled"], "presumed")
                self.assertGreaterEqual(booked, billed)
                self.assertLess(booked, most * billed)
                self.assertLess(ms, 2000)

    def test_leaving_a_whole_answer_is_paid_for_as_the_models_answers_are_long(self):
        for dialect in ("openai", "anthropic"):
            self.mock.control(every={"text": TEXT, "first_ms": 1, "total_ms": 2})
            for _ in range(20):
                self.assertGood(self.server.ask("x", f"/api/{dialect}/reply"))
            self.mock.control()
            self.leave_whole_answers(dialect, 1.15)

    def test_leaving_a_whole_answer_of_an_unknown_model_is_paid_for_at_the_worst(self):
        for dialect in ("openai", "anthropic"):
            self.leave_whole_answers(f"{dialect}-new", 1.5)

    def test_a_drained_stream_is_booked_exactly(self):
        self.mock.control(every={"text": TEXT, "first_ms": 50, "total_ms": 600})
        self.addCleanup(self.mock.control)
        for dialect in ("openai", "anthropic"):
            for deltas in (None, 5):
                with self.subTest(dialect=dialect, deltas=deltas):
                    ms, billed, record = self.one(f"{dialect}-drain", deltas, 0.02, "close")
                    attempt = record["attempts"][0]
                    tokens = attempt["tokens"]["prompt"] + attempt["tokens"]["completion"]
                    self.assertEqual(attempt["settled"], "exact")
                    self.assertEqual(tokens, billed)
                    self.assertGreater(ms, 100)
                    self.assertEqual(record["outcome"], "cancelled")

    def test_a_drained_whole_answer_is_booked_exactly(self):
        self.mock.control(every={"text": TEXT, "first_ms": 300, "total_ms": 300})
        self.addCleanup(self.mock.control)
        for dialect in ("openai", "anthropic"):
            with self.subTest(dialect=dialect):
                _, billed, record = self.one(f"{dialect}-drain", None, 0.02, "close", stream=False)
                attempt = record["attempts"][0]
                self.assertEqual(attempt["settled"], "exact")
                self.assertEqual(attempt["tokens"]["prompt"] + attempt["tokens"]["completion"], billed)

    def test_no_more_than_32_calls_of_a_worker_are_read_on(self):
        self.mock.control(every={"text": TEXT, "first_ms": 50, "total_ms": 4000})
        self.addCleanup(self.mock.control)
        conns = [self.server.conn() for _ in range(40)]
        body = {"prompt": "x", "stream": True}
        for conn in conns:
            conn.send(wire.request("POST", "/api/openai-drain/reply", body))
        self.assertTrue(procs.wait_for(lambda: self.mock.calls()["open"] == 40, 5))
        for conn in conns:
            conn.close()
        self.assertTrue(procs.wait_for(lambda: self.mock.calls()["open"] <= 32, 5))
        time.sleep(0.3)
        self.assertEqual(self.mock.calls()["open"], 32)
        self.assertTrue(procs.wait_for(lambda: self.mock.calls()["open"] == 0, 15))


if __name__ == "__main__":
    case.main()

"""A second provider beside a slow first one, against two imitation providers: what it saves, what it costs,
who is ended.

ctest: timeout 300
ctest: serial"""

import statistics
import threading
import time

import case
import procs

SLOW_MS = 1500
ONE_IN = 17  # so many requests are slow: 5.9 %, more than may have a second
SCENARIO = """
return { models = {
  first = function(call)
    local slow = call.prompt:find("slow", 1, true)
    return { first_ms = slow and %d or 5, total_ms = slow and %d or 10, text = "from the first" }
  end,
  second = { first_ms = 5, total_ms = 20, text = "from the second, in several words" },
  sleepy = { first_ms = 5000, total_ms = 5000 },
} }
""" % (SLOW_MS, SLOW_MS + 5)
ASKED = 600
AT_ONCE = 6


def quantile(times, part):
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]


class Hedging(case.Case):
    scenario = SCENARIO
    workers = 1

    @classmethod
    def prepare(cls, policies):
        policies.provider("one")
        policies.provider("two", "anthropic")
        policies.provider("three")
        price = {"usd_per_million": {"input": 2.0, "output": 8.0}}
        policies.model("first", "one", **price)
        policies.model("second", "two", **price)
        policies.model("sleepy", "three", **price)
        policies.endpoint("alone", ["first", "second"], max_tokens=100)
        policies.endpoint("hedged", ["first", "second"], max_tokens=100, hedge_after_ms=100)
        policies.endpoint("measured", ["first", "second"], max_tokens=100, hedge_after_ms=100)
        policies.endpoint("leave", ["first", "sleepy"], max_tokens=100, hedge_after_ms=100)
        # Alone the first would be cut after 1,400 ms, that the other may have its turn.
        policies.endpoint("late", ["first", "sleepy"], max_tokens=100, hedge_after_ms=100, deadline_ms=2800)
        policies.endpoint("stream", ["first", "second"], max_tokens=100, hedge_after_ms=100)
        policies.budgets = [{"account": "global", "window": "none", "limit_usd": 1000}]

    def warm(self, name, requests=60):
        """So many quick requests, that one may have a second."""
        case.at_once(6, lambda i: [self.server.ask("quick", f"/api/{name}/reply")
                                   for _ in range(requests // 6)])

    def load(self, name):
        """What ASKED requests took in seconds, and their records."""
        path = f"/api/{name}/reply"

        def some(worker):
            made = []
            for i in range(worker, ASKED, AT_ONCE):
                began = time.monotonic()
                reply = self.server.ask("slow" if i % ONE_IN == ONE_IN - 1 else "quick", path)
                made.append((time.monotonic() - began, reply))
            return made

        replies = [pair for row in case.at_once(AT_ONCE, some) for pair in row]
        for _, reply in replies:
            self.assertGood(reply)
        return [took for took, _ in replies], [self.server.decision(reply) for _, reply in replies]

    def test_hedging_takes_the_slowest_away_for_little_money(self):
        plain, plain_records = self.load("alone")
        took, records = self.load("measured")
        second = [r for r in records if r.get("hedge") in ("won", "lost", "failed")]
        cost = [sum(r["costUsd"] for r in rows) for rows in (plain_records, records)]
        for words, times, usd in (("without", plain, cost[0]), ("with", took, cost[1])):
            case.say(f"{words} hedging: p50 {statistics.median(times) * 1000:.0f} ms, "
                     f"p95 {quantile(times, 0.95) * 1000:.0f} ms, p99 {quantile(times, 0.99) * 1000:.0f} ms, "
                     f"${usd:.6f}")
        case.say(f"hedged {len(second)} of {ASKED} ({100 * len(second) / ASKED:.1f} %), "
                 f"money {100 * (cost[1] / cost[0] - 1):+.1f} %")
        self.assertGreater(quantile(plain, 0.95), SLOW_MS / 1000)
        self.assertLess(quantile(took, 0.95), quantile(plain, 0.95) / 2)
        self.assertGreaterEqual(len(second), ASKED // 40)
        self.assertLessEqual(len(second), ASKED // 20)
        metrics = self.server.metrics()
        counted = sum(metrics.get("neap_hedges_total", endpoint="/api/measured/reply", result=result)
                      for result in ("won", "lost", "failed"))
        self.assertEqual(counted, len(second))

    def slow(self, name, body, tries=8):
        """The record of a slow request that got a second."""
        self.warm(name)
        for _ in range(tries):
            reply = self.server.ask(body, f"/api/{name}/reply")
            record = self.server.decision(reply)
            if record.get("hedge") in ("won", "lost"):
                return reply, record
        self.fail(f"never hedged: {record}")

    def test_a_record_shows_both_and_who_was_ended(self):
        reply, record = self.slow("hedged", "slow")
        self.assertEqual(reply.json()["model"], "second")
        lost, won = record["attempts"]
        self.assertEqual((lost["class"], lost.get("lost"), lost.get("hedge")), ("cancelled", True, None))
        self.assertEqual((won["class"], won.get("lost"), won.get("hedge")), ("ok", None, True))
        self.assertEqual((lost["settled"], won["settled"]), ("estimated", "exact"))
        self.assertGreater(lost["costUsd"], 0)
        self.assertAlmostEqual(record["costUsd"], lost["costUsd"] + won["costUsd"], 9)
        self.assertAlmostEqual(record["budget"]["reserved"], lost["reservedUsd"] + won["reservedUsd"], 9)

    def test_status_tells_how_many_were_asked_and_answered_first(self):
        self.slow("hedged", "slow")
        status, out, err = procs.run("status", "--admin", f"http://127.0.0.1:{self.server.admin_port}")
        self.assertEqual(status, 0, err)
        (at,) = [e for e in self.server.status()["endpoints"] if e["path"] == "/api/hedged/reply"]
        self.assertGreater(at["hedges"]["won"], 0)
        asked = sum(at["hedges"].values())
        self.assertIn(f"hedges    {asked} asked, {at['hedges']['won']} of them answered first\n", out)
        self.assertLessEqual(max(map(len, out.splitlines())), 80, out)

    def test_explain_tells_it(self):
        reply, record = self.slow("hedged", "slow")
        key = reply.get("X-Request-Id")
        status, out, err = procs.run("explain", key, "--admin", f"http://127.0.0.1:{self.server.admin_port}")
        self.assertEqual(status, 0, err)
        self.assertLessEqual(max(len(line) for line in out.splitlines()), 80, out)
        ended = record["attempts"][0]
        cost, tokens = f"{ended['costUsd']:.9f}".rstrip("0"), ended["tokens"]
        said = " ".join(out.split())
        for sentence in (
            f"ended, as the other had answered, {tokens['prompt']} tokens in and {tokens['completion']} out cost ${cost} of",
            "held (estimated, the provider did not say) attempt 2 second of two, beside attempt 1, begun at",
            "held (as the provider billed it) hedge a second provider was asked beside the first, and answered first; "
            f"the call that was ended cost ${cost} paid $",
        ):
            self.assertIn(sentence, said)

    def test_the_loser_is_ended_at_its_provider_at_once(self):
        before = self.mock.calls()["aborted"]
        self.slow("hedged", "slow")
        began = time.monotonic()
        self.assertTrue(procs.wait_for(lambda: self.mock.calls()["aborted"] > before, 1))
        case.say(f"the loser was gone {1000 * (time.monotonic() - began):.0f} ms after the reply")

    def test_a_first_is_not_cut_for_whom_runs_beside_it(self):
        reply, record = self.slow("late", "slow")
        self.assertEqual(reply.json()["model"], "first")
        self.assertEqual(self.classes(record), ["ok", "cancelled"])

    def test_of_two_streams_one_speaks(self):
        self.warm("stream")
        for _ in range(8):
            stream = self.server.stream("slow", "/api/stream/reply").follow()
            self.addCleanup(stream.conn.close)
            if "second" in "".join(stream.texts):
                break
        self.assertStreamed(stream, "from the second, in several words")
        self.assertEqual(stream.done["model"], "second")
        self.assertEqual(stream.done["attempts"], 2)

    def test_a_client_that_leaves_ends_both(self):
        self.warm("leave")
        before = self.mock.calls()
        conn = self.server.conn()
        body = b'{"prompt":"slow"}'
        conn.send(b"POST /api/leave/reply HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-Id: leaver\r\n"
                  b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.assertTrue(procs.wait_for(lambda: self.mock.calls("sleepy") > before["models"].get("sleepy", 0), 2))
        conn.close()
        self.assertTrue(procs.wait_for(lambda: self.mock.calls()["aborted"] >= before["aborted"] + 2, 1))
        record = self.server.decision("leaver")
        self.assertEqual(record["outcome"], "cancelled")
        self.assertEqual(self.classes(record), ["cancelled", "cancelled"])
        self.assertEqual(record["hedge"], "left")

    def test_nothing_is_left_over(self):
        threads = [threading.Thread(target=self.warm, args=("hedged", 30)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        metrics = self.server.metrics()
        for provider, model in (("one", "first"), ("two", "second"), ("three", "sleepy")):
            self.assertEqual(metrics.get("llm_inflight", provider=provider, model=model) or 0, 0)
        self.assertEqual(metrics.get("neap_budget_reserved_usd", account="global/none"), 0)


if __name__ == "__main__":
    case.main()

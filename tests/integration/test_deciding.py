"""What follows a failed attempt: again, next, or an end; the breaker, the limits in flight, the retry
budget and the deadline, which no policy lifts."""

import time

import case
import procs
import wire
from case import at_once

QUICK = {"first_ms": 1, "total_ms": 2}
BROKEN = {"status": 500, **QUICK}


class Deciding(case.Case):
    """Each test has a provider, models and an endpoint of its own."""

    @classmethod
    def prepare(cls, policies):
        breaker = {"failures": 5, "rate": 0, "open_ms": 60000}
        quick = {**breaker, "open_ms": 1500}  # long enough to be seen open on a busy machine
        cls.row("seed", 1)
        cls.row("three", 3)
        cls.row("waits", 1)
        cls.row("late", 2, {}, {"deadline_ms": 2000})
        cls.row("alone", 1, {}, {"deadline_ms": 2000})
        cls.row("trips", 1, {"breaker": breaker}, {"max_attempts": 1})
        cls.row("falls", 2, {"breaker": breaker}, {"max_attempts": 2})
        cls.row("probes", 1, {"breaker": quick}, {"max_attempts": 1})
        cls.row("again", 1, {"breaker": quick}, {"max_attempts": 1})
        cls.row("advised", 1, {"breaker": quick}, {"max_attempts": 1})
        cls.row("innocent", 1, {"breaker": quick}, {"max_attempts": 1})
        cls.row("busy", 1, {"max_inflight": 1})
        cls.row("spills", 1, {"max_inflight": 1})
        policies.endpoints["/api/spills/reply"]["models"].append(policies.model("free", "seed"))
        cls.row("stalls", 3, {}, {"deadline_ms": 600})
        cls.row("rescued", 2, {}, {"deadline_ms": 1000})
        cls.row("idle", 1, {"idle_timeout_ms": 150}, {"max_attempts": 1})
        cls.row("total", 1, {"timeout_ms": 200}, {"max_attempts": 1})
        cls.row("multiplied", 1, {}, {"max_attempts": 3})

    @classmethod
    def row(cls, name, models, provider=None, endpoint=None):
        cls.policies.provider(name, **(provider or {}))
        plan = [cls.policies.model(f"{name}.{i}", name) for i in range(1, models + 1)]
        cls.policies.endpoint(name, plan, **(endpoint or {}))

    def answers(self, **specs):
        """How the models of this test answer: seed_1 is the model seed.1."""
        self.mock.control(**{k.replace("_", "."): v for k, v in specs.items()})

    def ask(self, name, **kw):
        return self.server.ask("hello", f"/api/{name}/reply", **kw)

    def told(self, name):
        reply = self.ask(name)
        return reply, self.server.decision(reply)

    # -- again and next

    def test_the_first_repeat_waits_for_half_a_second_and_a_little_chance(self):
        self.answers(seed_1=[BROKEN, QUICK])
        reply, record = self.told("seed")
        self.assertGood(reply)
        self.assertEqual(self.classes(record), ["server_error", "ok"])
        wait = record["attempts"][0]["retryInMs"]
        case.say(f"the wait before the first repeat: {wait} ms")
        self.assertGreaterEqual(wait, 500)
        self.assertLessEqual(wait, 620)
        self.assertGreaterEqual(reply.ms, wait)

    def test_a_candidate_is_tried_twice_and_a_request_at_most_max_attempts_times(self):
        self.answers(three_1=BROKEN, three_2=BROKEN, three_3=QUICK)
        reply, record = self.told("three")
        self.assertDegraded(reply, "exhausted")
        self.assertEqual([a["model"] for a in record["attempts"]], ["three.1", "three.1", "three.2"])

    def test_retry_after_is_obeyed_where_it_fits(self):
        self.answers(waits_1=[{"status": 429, "retry_after_s": 1, **QUICK}, QUICK])
        reply, record = self.told("waits")
        self.assertGood(reply)
        self.assertEqual(self.classes(record), ["rate_limited", "ok"])
        self.assertEqual(record["attempts"][0]["retryInMs"], 1000)
        self.assertGreaterEqual(reply.ms, 1000)

    def test_where_retry_after_does_not_fit_the_next_answers_at_once(self):
        self.answers(late_1={"status": 429, "retry_after_s": 30, **QUICK}, late_2=QUICK)
        reply, record = self.told("late")
        self.assertGood(reply, model="late.2")
        self.assertEqual(self.classes(record), ["rate_limited", "ok"])
        self.assertLess(reply.ms, 400)

    def test_a_degraded_reply_passes_the_providers_retry_after_on(self):
        self.answers(alone_1={"status": 429, "retry_after_s": 30, **QUICK})
        reply, record = self.told("alone")
        self.assertDegraded(reply, "exhausted")
        self.assertEqual(reply.get("Retry-After"), "30")
        self.assertEqual(self.classes(record), ["rate_limited"])

    # -- the breaker

    def breaker(self, model):
        rows = self.server.admin("GET", "/api/breakers").json()["breakers"]
        return next(row for row in rows if row["model"] == model)

    def trip(self, name):
        self.answers(**{f"{name}_1": BROKEN})
        for _ in range(5):
            self.assertEqual(self.classes(self.told(name)[1]), ["server_error"])

    def test_after_five_failures_in_a_row_the_pair_is_not_called(self):
        self.trip("trips")
        calls = self.mock.calls("trips.1")
        reply, record = self.told("trips")
        self.assertDegraded(reply, "breaker")
        self.assertEqual(record["attempts"], [])
        self.assertEqual(case.skips(record), [{"model": "trips.1", "why": "breaker"}])
        self.assertEqual(self.mock.calls("trips.1"), calls)
        self.assertTrue(55 <= int(reply.get("Retry-After")) <= 61, reply)
        self.assertEqual(self.breaker("trips.1")["state"], "open")
        metrics = self.server.metrics()
        self.assertEqual(metrics.get("llm_breaker_state", model="trips.1"), 2)
        self.assertEqual(metrics.get("llm_skipped_total", model="trips.1", reason="breaker"), 1)

    def test_an_open_breaker_leaves_the_request_to_the_next(self):
        self.answers(falls_1=BROKEN, falls_2=QUICK)
        for _ in range(5):
            self.server.decision(self.ask("falls"))
            if self.breaker("falls.1")["state"] == "open":
                break
        reply, record = self.told("falls")
        self.assertGood(reply, model="falls.2")
        self.assertEqual(self.classes(record), ["ok"])
        self.assertEqual(case.skips(record), [{"model": "falls.1", "why": "breaker"}])

    def test_after_its_time_one_probe_at_a_time_passes_and_two_good_ones_close(self):
        self.trip("probes")
        self.assertDegraded(self.ask("probes"), "breaker")
        time.sleep(1.75)
        self.answers(probes_1={"first_ms": 1500, "total_ms": 1500})
        before = self.mock.calls("probes.1")
        replies = at_once(5, lambda i: self.ask("probes"))
        good = [r for r in replies if not r.json()["degraded"]]
        self.assertEqual(len(good), 1, replies)
        self.assertEqual(self.mock.calls("probes.1"), before + 1)
        self.assertEqual(self.breaker("probes.1")["state"], "half_open")
        self.assertGood(self.ask("probes"))
        self.assertEqual(self.breaker("probes.1")["state"], "closed")

    def test_a_failed_probe_opens_again(self):
        self.trip("again")
        time.sleep(1.75)
        self.assertEqual(self.classes(self.told("again")[1]), ["server_error"])
        self.assertDegraded(self.ask("again"), "breaker")
        self.assertEqual(self.breaker("again.1")["opened"], 2)

    def test_a_longer_retry_after_keeps_the_breaker_open_longer(self):
        self.answers(advised_1={"status": 429, "retry_after_s": 6, **QUICK})
        for _ in range(5):
            self.ask("advised")
        time.sleep(1.75)
        self.assertDegraded(self.ask("advised"), "breaker")
        self.assertGreater(self.breaker("advised.1")["waitMs"], 1000)

    def test_the_callers_faults_do_not_open_it(self):
        self.answers(innocent_1={"status": 400, **QUICK})
        for _ in range(8):
            self.assertEqual(self.ask("innocent").status, 400)
        self.assertEqual(self.breaker("innocent.1")["state"], "closed")

    # -- limits

    def during_a_call(self, name, model):
        """Asks while a call is under way, which is left afterwards."""
        before = self.mock.calls(model)
        with self.server.conn() as conn:
            conn.send(wire.request(path=f"/api/{name}/reply", body={"prompt": "a"}))
            self.assertTrue(procs.wait_for(lambda: self.mock.calls(model) > before))
            return self.told(name)

    def test_over_max_inflight_a_candidate_is_passed_over(self):
        self.answers(busy_1={"stall_at": 0})
        reply, record = self.during_a_call("busy", "busy.1")
        self.assertDegraded(reply, "shed")
        self.assertEqual(reply.get("Retry-After"), "1")
        self.assertEqual(case.skips(record), [{"model": "busy.1", "why": "busy"}])

    def test_over_max_inflight_the_next_provider_answers(self):
        self.answers(spills_1={"stall_at": 0}, free=QUICK)
        reply, record = self.during_a_call("spills", "spills.1")
        self.assertGood(reply, model="free")
        self.assertEqual(case.skips(record), [{"model": "spills.1", "why": "busy"}])

    def test_an_outage_is_not_multiplied(self):
        self.answers(multiplied_1=BROKEN)
        before = self.mock.calls("multiplied.1")
        replies = at_once(60, lambda i: self.ask("multiplied"))
        for reply in replies:
            self.assertEqual(reply.status, 200)
            self.assertTrue(reply.json()["degraded"])
        calls = self.mock.calls("multiplied.1") - before
        case.say(f"outage: {calls} calls for 60 requests ({calls / 60:.2f} each)")
        # Full at 10, none at 5 or below; 60 first attempts put at most 6 back.
        self.assertLessEqual(calls, 60 + 5 + 6)
        self.assertGreater(calls, 60)
        skipped = self.server.metrics().get("llm_skipped_total", model="multiplied.1", reason="busy")
        self.assertGreater(skipped, 0)

    # -- time

    def test_the_deadline_is_kept_whatever_providers_do(self):
        self.answers(stalls_1={"stall_at": 0}, stalls_2={"stall_at": 40}, stalls_3={"stall_at": 0})
        replies = at_once(20, lambda i: self.ask("stalls"))
        worst = 0.0
        for reply in replies:
            self.assertDegraded(reply, "deadline")
            worst = max(worst, reply.json()["latencyMs"] - 600)
        past = max(reply.ms for reply in replies) - 600
        case.say(f"past a deadline of 600 ms: {worst:.0f} ms by its own clock, {past:.0f} ms seen")
        self.assertLessEqual(worst, 50)
        record = self.server.decision(replies[0])
        self.assertGreater(len(record["attempts"]), 1)
        self.assertEqual(self.classes(record)[-1], "deadline")

    def test_an_attempt_is_cut_so_that_the_next_can_still_answer(self):
        self.answers(rescued_1={"stall_at": 0}, rescued_2=QUICK)
        reply, record = self.told("rescued")
        self.assertGood(reply, model="rescued.2")
        self.assertEqual(self.classes(record), ["timeout", "ok"])
        case.say(f"cut after {record['attempts'][0]['latencyMs']} ms of 1000")
        self.assertLessEqual(record["attempts"][0]["latencyMs"], 550)

    def test_a_reply_that_stops_midway_ends_in_the_idle_timeout(self):
        self.answers(idle_1={"stall_at": 200})
        reply, record = self.told("idle")
        self.assertDegraded(reply, "exhausted")
        self.assertEqual(self.classes(record), ["timeout"])
        self.assertLess(record["attempts"][0]["latencyMs"], 400)
        self.assertEqual(record["attempts"][0]["settled"], "presumed")

    def test_a_reply_that_takes_too_long_ends_in_the_total_timeout(self):
        self.answers(total_1={"stall_at": 0})
        reply, record = self.told("total")
        self.assertDegraded(reply, "exhausted")
        self.assertEqual(self.classes(record), ["timeout"])
        self.assertTrue(195 <= record["attempts"][0]["latencyMs"] <= 300, record)

    def test_a_retry_is_counted_with_the_status_before_it(self):
        self.answers(seed_1=[{"status": 502, **QUICK}, QUICK])
        self.assertGood(self.ask("seed"))
        metrics = self.server.metrics()
        self.assertEqual(metrics.get("llm_retry_total", model="seed.1", status=502, attempt=2), 1)


if __name__ == "__main__":
    case.main()

"""More requests than can be answered (T20): they come evenly at so many times the capacity, whatever the answers
do. What is answered well stays near the peak and quick, the rest is told soon, and all is well soon after.

The capacity is bound here by places in flight: neap's own (--max-inflight) and a provider's (max_inflight). By
CPU: see test_overload_long.py."""

import collections
import hashlib
import time

import case
import flood
import procs
import wire

PLACES = 12
DELAY_MS = 150
CAPACITY = PLACES * 1000 / DELAY_MS  # 80 a second
BODY = {"prompt": "How do I reset my token?"}


class Overload(case.Case):
    scenario = False
    workers = 1
    env = {**case.Case.env, "NEAP_MAX_WAIT_MS": "100"}

    @classmethod
    def setUpClass(cls):
        cls.tools = flood.Tools()
        cls.addClassCleanup(cls.tools.close)
        super().setUpClass()

    @classmethod
    def prepare(cls, policies):
        provider = flood.Provider(cls.tools, DELAY_MS)
        cls.addClassCleanup(provider.stop)
        policies.url = provider.url
        policies.provider("wide", max_inflight=10000)
        policies.provider("narrow", max_inflight=PLACES)
        policies.model("w", "wide")
        policies.model("n", "narrow")
        policies.endpoint("assistant", ["w"])
        policies.endpoint("narrow", ["n"])
        cls.flags = ("--max-inflight", str(PLACES))

    def flooded(self, server, path):
        client = flood.Flood(self.tools, server.port, BODY, path)
        self.addCleanup(client.stop)
        quiet, = client.run((CAPACITY / 4, 2))
        peak = 0
        got = {}
        for times in (1, 2, 3, 5):
            rate = CAPACITY * times
            _, full, after = client.run((rate, 1), (rate, 2.5), (CAPACITY / 2, 2))
            peak = max(peak, full["good"]["per_s"])
            got[times] = full, after
            case.say(f"{times} x: good {full['good']['per_s']:.0f}/s, p99 {full['good']['p99']:.0f} ms; "
                     f"refused {full['shed']['n']}, degraded {full['degraded']['n']}; quiet again after "
                     f"{after['quiet_s']} s")
        return quiet, peak, got

    def assertBends(self, quiet, peak, got, refusal):
        """refusal: the kind of answer that the surplus gets."""
        self.assertGreater(peak, 0.7 * CAPACITY)
        for times, (full, after) in got.items():
            self.assertEqual(full["broken"]["n"] + full["other"]["n"], 0, f"{times} x")
            self.assertGreaterEqual(full["good"]["per_s"], 0.8 * peak, f"{times} x")
            # A busy machine is slow alone, too; the wait of 100 ms comes on top.
            limit = 2 * max(quiet["good"]["p99"], DELAY_MS) + 100
            self.assertLess(full["good"]["p95"], limit, f"{times} x")
            self.assertTrue(0 <= after["quiet_s"] < 2, f"{times} x: not well again within 2 s")
        full = got[5][0]
        self.assertGreater(full[refusal]["n"], full["good"]["n"])
        case.say(f"at 5 x the surplus is told after {full[refusal]['p50_sent']:.1f} ms (p50), "
                 f"{full[refusal]['p95_sent']:.1f} ms (p95)")
        # Sooner than any provider could have answered, even where nothing else is quick.
        self.assertLess(full[refusal]["p50_sent"], 50)

    def test_more_than_may_be_under_way(self):
        self.assertBends(*self.flooded(self.server, wire.REPLY), "shed")
        self.assertGreater(self.server.metrics().get("neap_shed_total", cause="inflight"), 100)

    def test_more_than_a_provider_may_be_asked(self):
        server = self.own(self.serve(self.policies, flags=()))
        self.assertBends(*self.flooded(server, "/api/narrow/reply"), "degraded")
        self.assertGreater(server.metrics().get("neap_shed_total", cause="busy"), 100)


class Refusals(case.Case):
    """One place, which a slow answer takes."""

    scenario = 'return { models = { ["*"] = { text = "slow", first_ms = 600, total_ms = 600 } } }'
    workers = 1
    flags = ("--max-inflight", "1")
    env = {**case.Case.env, "NEAP_MAX_WAIT_MS": "50"}

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], deadline_ms=5000)

    def hold(self):
        """A request that takes the one place; its connection."""
        conn = self.server.conn()
        self.addCleanup(conn.close)
        conn.send(wire.request(body={"prompt": "slow"}))
        self.assertTrue(procs.wait_for(lambda: self.mock.calls("m") > self.before, 5))
        return conn

    def setUp(self):
        self.before = self.mock.calls("m")

    def test_who_waits_in_vain_gets_the_error_object_with_retry_after(self):
        conn = self.hold()
        reply = self.server.ask("a")
        self.assertError(reply, 503, "overloaded")
        self.assertEqual(reply.get("Retry-After"), "1")
        self.assertGreaterEqual(reply.ms, 45)
        record = self.server.decision(reply)
        self.assertEqual(record["outcome"], "overloaded")
        self.assertGood(conn.reply())

    def test_who_waits_a_moment_is_served(self):
        conn = self.hold()
        conn.close()  # its call ends at once, and the place is free
        self.assertGood(self.server.ask("a"))

    def test_a_client_that_leaves_the_line_takes_no_place(self):
        conn = self.hold()
        with self.server.conn() as waiting:
            waiting.send(wire.request(body={"prompt": "b"}))
        self.assertGood(conn.reply())
        self.assertGood(self.server.ask("a"))
        self.assertEqual(self.mock.calls("m"), self.before + 2)


class Late(case.Case):
    """Places that slow answers take, and an endpoint whose deadline is shorter than they are."""

    places = 24
    scenario = 'return { models = { ["*"] = { text = "slow", first_ms = 1200, total_ms = 1200 } } }'
    workers = 1
    flags = ("--max-inflight", str(places))
    env = {**case.Case.env, "NEAP_MAX_WAIT_MS": "500"}

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        policies.endpoint("late", ["m"], deadline_ms=1000)

    def hold_all(self):
        """Requests that take all places; their connections."""
        before = self.mock.calls("m")
        held = [self.server.conn() for _ in range(self.places)]
        for conn in held:
            self.addCleanup(conn.close)
            conn.send(wire.request(body={"prompt": "slow"}))
        self.assertTrue(procs.wait_for(lambda: self.mock.calls("m") == before + self.places, 5))
        return held

    def test_who_has_waited_and_has_too_little_time_left_is_refused(self):
        for conn in self.hold_all():
            self.assertGood(conn.reply())  # what an answer takes is known from here on
        message = ""
        for _ in range(8):
            held = self.hold_all()
            with self.server.conn() as waiting:
                waiting.send(wire.request("POST", "/api/late/reply", {"prompt": "x"}))
                time.sleep(0.01)
                held[0].close()
                reply = waiting.reply()
            for conn in held:
                conn.close()
            message = self.assertError(reply, 503, "overloaded")["message"]
            if "under way" not in message:
                break
            # This machine was too slow: its wait was over before there was a place.
        self.assertEqual(message, "the time that is left would not do")
        self.assertEqual(reply.get("Retry-After"), "1")
        self.assertEqual(self.server.metrics().get("neap_shed_total", cause="late"), 1)


class Keys(case.Case):
    """One place, which a slow answer takes, and more requests with a key than may wait."""

    scenario = 'return { models = { ["*"] = { text = "slow", first_ms = 4000, total_ms = 4000 } } }'
    workers = 1
    flags = ("--max-inflight", "1")
    env = {**case.Case.env, "NEAP_MAX_WAIT_MS": "400"}
    key = "key-of-somebody-0123456789"
    told = collections.Counter()  # statuses, over all crowds
    left = 0  # clients that did not wait for their answer

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], deadline_ms=5000)
        policies.tenants = {"acme": {"keys": ["sha256:" + hashlib.sha256(cls.key.encode()).hexdigest()]}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # One has waited and gone on: how quickly the line moves is known, so that heads are refused when it is full.
        first, second = cls.hold(1), cls.server.conn()
        second.send(cls.question(cls.key))
        time.sleep(0.05)
        first.close()
        procs.wait_for(lambda: cls.mock.calls("m") == 2, 5)
        second.close()
        Keys.left += 1

    @staticmethod
    def question(key):
        return wire.request(body={"prompt": "x"}, headers={"Authorization": f"Bearer {key}"})

    @classmethod
    def hold(cls, calls):
        """A request that takes the one place, as the call of this number; its connection."""
        conn = cls.server.conn()
        conn.send(cls.question(cls.key))
        if not procs.wait_for(lambda: cls.mock.calls("m") == calls, 5):
            raise procs.Failed("the place is not taken")
        Keys.left += 1
        return conn

    def ask_for(self, key, until):
        """What comes of asking again and again."""
        got = []
        with self.server.conn() as conn:
            while time.monotonic() < until:
                conn.send(self.question(key))
                got.append(conn.reply().status)
        return got

    def crowd(self, seconds):
        """While there is too much to do: how one without a key is answered, how often."""
        with self.hold(self.mock.calls("m") + 1):
            until = time.monotonic() + seconds
            keys = [self.key] * 8 + ["key-of-nobody-0123456789"]
            got = case.at_once(len(keys), lambda i: self.ask_for(keys[i], until))
        known = collections.Counter(status for statuses in got[:-1] for status in statuses)
        unknown = collections.Counter(got[-1])
        case.say(f"with a key: {dict(known)}, without: {dict(unknown)}")
        self.told.update(known + unknown)
        self.assertGreater(known[503], 20)
        return unknown

    def test_an_unknown_key_is_told_so_however_much_there_is_to_do(self):
        self.assertEqual(set(self.crowd(2)), {401})

    def test_who_is_refused_before_the_body_is_read_is_seen_over_time(self):
        def sums(name):
            return sum(self.server.admin("GET", "/api/series").json()["all"][name])

        self.crowd(0.5)
        # The ones that held the place have left.
        errors, client = self.told[503], self.told[401] + self.left
        found = procs.wait_for(lambda: (sums("errors"), sums("clientErrors")) == (errors, client), 15, 0.2)
        self.assertTrue(found, f"{sums('errors')} of {errors} errors, {sums('clientErrors')} of {client} clients'")


class Priorities(case.Case):
    """One place, and tenants that wait for it."""

    scenario = 'return { models = { ["*"] = { text = "slow", first_ms = 400, total_ms = 400 } } }'
    workers = 1
    flags = ("--max-inflight", "1")
    env = {**case.Case.env, "NEAP_MAX_WAIT_MS": "5000"}
    keys = {name: f"key-of-{name}-0123456789" for name in ("low", "high")}

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], deadline_ms=60000)
        policies.tenants = {
            name: {
                "keys": ["sha256:" + hashlib.sha256(key.encode()).hexdigest()],
                "priority": 9 if name == "high" else None,
            }
            for name, key in cls.keys.items()
        }

    def begin(self, name):
        conn = self.server.conn()
        self.addCleanup(conn.close)
        conn.send(wire.request(body={"prompt": name}, headers={"Authorization": f"Bearer {self.keys[name]}"}))
        return conn

    def test_a_tenant_of_higher_priority_goes_first(self):
        first = self.begin("low")
        self.assertTrue(procs.wait_for(lambda: self.mock.calls("m") == 1, 5))
        low = self.begin("low")
        time.sleep(0.1)
        high = self.begin("high")
        self.assertGood(first.reply())
        self.assertGood(high.reply())
        self.assertFalse(low.closes(0.05))
        self.assertEqual(low.buffer, b"", "it went before")
        self.assertGood(low.reply())


if __name__ == "__main__":
    case.main()

"""Outages of providers: neap does not make them worse (T17), and is back soon when they end (T18).

ctest: serial
"""

import collections
import concurrent.futures
import threading
import time

import case
import policies as sets
import procs
import wire

RATE = 20  # requests a second and endpoint
BROKEN = {"503": {"status": 503, "first_ms": 1, "total_ms": 1}, "429": {"status": 429, "first_ms": 1, "total_ms": 1},
          "timeout": {"stall_at": 0}}
QUICK = {"first_ms": 1, "total_ms": 2}


class Load:
    """Requests to some endpoints at a steady rate each, whatever becomes of them."""

    def __init__(self, port, names):
        self.port = port
        self.names = names
        self.local = threading.local()
        self.lock = threading.Lock()
        self.answers = collections.defaultdict(list)  # by endpoint: when it was asked, and whether it was good
        self.began = time.monotonic()

    def one(self, name):
        at = time.monotonic() - self.began
        conn = getattr(self.local, "conn", None)
        try:
            if conn is None:
                conn = self.local.conn = wire.Conn(self.port)
            reply = conn.ask("POST", f"/api/{name}/reply", {"prompt": "hello", "maxTokens": 20})
            good = reply.status == 200 and not reply.json()["degraded"]
        except (OSError, wire.Cut, ValueError):
            self.local.conn, good = None, None
        with self.lock:
            self.answers[name].append((at, good))

    def run(self, seconds, until=lambda: False):
        """Asks for so long, or until something holds; how long that took."""
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            n = 0
            while time.monotonic() - begin < seconds and not until():
                for name in self.names:
                    pool.submit(self.one, name)
                n += 1
                time.sleep(max(0, begin + n / RATE - time.monotonic()))
        return time.monotonic() - begin

    def lost(self):
        return sum(good is None for answers in self.answers.values() for _, good in answers)


class Amplification(case.Case):
    """Providers that fail every call, with one candidate (with a breaker, and without) and with three."""

    seconds = 8
    workers = 1

    @classmethod
    def prepare(cls, policies):
        cls.rows = {}
        specs = {}
        for kind, broken in BROKEN.items():
            for way, n, breaker in (("one", 1, None), ("bare", 1, sets.NO_BREAKER), ("three", 3, None)):
                name = f"{way}-{kind}"
                plan = [f"{name}-{i}" for i in range(n)]
                for model in plan:
                    policies.provider(model, breaker=breaker, first_token_timeout_ms=200, max_inflight=1000)
                    policies.model(model, model)
                    specs[model] = broken
                policies.endpoint(name, plan, deadline_ms=4000)
                cls.rows[name] = plan
        cls.mock.control(**specs)

    def test_an_outage_is_not_made_worse(self):
        load = Load(self.server.port, list(self.rows))
        took = load.run(self.seconds)
        counted = self.mock.calls()["models"]
        self.assertEqual(load.lost(), 0, "requests without an answer")
        for name, plan in self.rows.items():
            with self.subTest(name=name):
                asked = len(load.answers[name])
                calls = sum(counted.get(model, 0) for model in plan)
                # What a budget grants before it is used up weighs less the longer it goes on.
                start = 5 / asked
                case.say(f"{name}: {asked} requests in {took:.0f} s, {calls} calls: {calls / asked:.3f} each")
                self.assertFalse([good for _, good in load.answers[name] if good])
                self.assertGreater(calls, 0)
                bar = 1.2 if len(plan) > 1 else 1.11 if self.seconds >= 60 else 1.1 + start + 0.01
                self.assertLessEqual(calls / asked, bar)


class Recovery(case.Case):
    """An outage, and its end: while the breaker is open only its probes reach the provider."""

    outage_s = 5
    open_ms = 1500
    workers = 1

    @classmethod
    def prepare(cls, policies):
        policies.provider("p", breaker={"open_ms": cls.open_ms})
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], max_attempts=1)

    def breaker(self):
        return self.server.admin("GET", "/api/breakers").json()["breakers"][0]

    def test_it_ends_soon_after_the_outage_and_only_probes_were_sent_meanwhile(self):
        load = Load(self.server.port, ["assistant"])
        load.run(1)
        self.mock.control(m={"status": 503, **QUICK})
        before = self.mock.calls("m")
        outage = len(load.answers["assistant"])
        load.run(self.outage_s)
        opened = self.breaker()["opened"]
        calls = self.mock.calls("m") - before
        self.mock.control(m=QUICK)
        ended = time.monotonic() - load.began
        load.run(self.open_ms / 1000 + 14, lambda: self.healthy(load))
        self.assertEqual(load.lost(), 0)
        back = self.normal_since(load) - ended
        asked = len(load.answers["assistant"]) - outage
        case.say(f"an outage of {self.outage_s} s: {calls} calls for {asked} requests, the breaker opened {opened} "
                 f"times for {self.open_ms} ms; normal {back:.1f} s after its end")
        # Five failures open it, with whatever was under way by then; each later opening is a failed probe.
        self.assertGreaterEqual(opened, 1)
        self.assertLessEqual(calls - (opened - 1), 5 + 5)
        self.assertLessEqual(back, self.open_ms / 1000 + 12)

    def healthy(self, load):
        """Whether all was good for two seconds."""
        with load.lock:
            last = load.answers["assistant"][-2 * RATE:]
        return bool(last) and all(good for _, good in last)

    def normal_since(self, load):
        """When the first second began of which 99 % of the answers, and of those after it, were good."""
        answers = sorted(load.answers["assistant"])
        bad = [at for at, good in answers if not good]
        self.assertTrue(self.healthy(load), "it did not come back")
        return bad[-1]


if __name__ == "__main__":
    case.main()

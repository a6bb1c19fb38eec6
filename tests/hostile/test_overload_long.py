"""More requests than the CPU can answer (T20): a worker on one core, requests whose policy takes some CPU, at 1, 2,
3 and 5 times of what it can do, with the client and the provider on another core.

With build/release/neap where it is built: what is told at once is told by a binary that users run. Else with what
is tested, whose limits are wider where it is sanitized. A machine that is busy elsewhere takes the server's core away
from it for a part of the time: good answers are counted by its seconds of CPU, and times may be as much longer.

ctest: labels long
ctest: timeout 500
ctest: serial"""

import os

import case
import flood
import procs
import storm

RELEASE = os.path.join(procs.SOURCE, "build", "release", "neap")
TRIES = 3
DELAY_MS = 150
BODY = {"prompt": "How do I reset my token?"}
SECONDS = 5


class Limits:
    """What is wanted of a binary."""

    def __init__(self, sanitized):
        # Of the peak, at 3 and 5 times the capacity. The goal is 0.9 at 3.
        self.good = 0.5 if sanitized else 0.85
        self.good_at_5 = 0.4 if sanitized else 0.75
        # Milliseconds until a refusal at 3 times the capacity. The goal is 5.
        self.shed_p50 = 20 if sanitized else 3
        self.shed_p95 = 60 if sanitized else 7


def come_before_others(pid):
    try:
        os.setpriority(os.PRIO_PROCESS, pid, -19)
    except OSError:
        pass


class Cpu(case.Case):
    scenario = False
    workers = 1
    env = {**case.Case.env, "NEAP_MAX_WAIT_MS": "100"}
    flags = ("--max-connections", "8000", "--max-connections-per-address", "8000")

    @classmethod
    def setUpClass(cls):
        cls.tools = flood.Tools()
        cls.addClassCleanup(cls.tools.close)
        cls.addClassCleanup(setattr, procs, "NEAP", procs.NEAP)
        if os.path.exists(RELEASE):
            procs.NEAP = RELEASE
        cls.limits = Limits(storm.is_sanitized())
        super().setUpClass()

    @classmethod
    def serve(cls, policies, **kw):
        return super().serve(policies, prefix=("nice", "-n", "-19", "taskset", "-c", "0"), **kw)

    @classmethod
    def prepare(cls, policies):
        provider = flood.Provider(cls.tools, DELAY_MS)
        cls.addClassCleanup(provider.stop)
        os.sched_setaffinity(provider.process.pid, {os.cpu_count() - 1})
        come_before_others(provider.process.pid)
        policies.url = provider.url
        policies.provider("p", max_inflight=10000)
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        policies.hook("admit", "(req)\n  local x = 0\n  for i = 1, 60000 do x = x + i % 7 end\n  req.tags = { x = x }")

    def client(self):
        client = flood.Flood(self.tools, self.server.port, BODY, "/api/assistant/reply", connections=4000)
        self.addCleanup(client.stop)
        os.sched_setaffinity(client.process.pid, {os.cpu_count() - 1})
        come_before_others(client.process.pid)
        return client

    def cpu_s(self):
        with open(f"/proc/{self.server.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def at(self, client, rate, seconds):
        """What came of so many questions a second; `share` is how much of its core the server had, `good_per_cpu_s`
        what it made of it."""
        client.run((rate, 1))
        before = self.cpu_s()
        full, = client.run((rate, seconds))
        full["share"] = min(1, (self.cpu_s() - before) / seconds)
        full["good_per_cpu_s"] = full["good"]["per_s"] / full["share"]
        return full

    def capacity(self, client):
        """The most good answers that any rate brings, a second of the server's CPU; and its share at that."""
        rate = 100
        while True:
            full = self.at(client, rate, 2)
            if full["good"]["per_s"] < 0.9 * rate:
                return full["good_per_cpu_s"], full["share"]
            rate *= 1.3

    def test_goodput_stays_and_the_rest_is_told_at_once(self):
        for left in reversed(range(TRIES)):
            try:
                self.measure()
                return
            except self.failureException as fault:
                if left == 0:
                    raise
                case.say(f"once more: {fault}")

    def measure(self):
        client = self.client()
        quiet, = client.run((20, 5))
        capacity, share = self.capacity(client)
        case.say(f"capacity {capacity:.0f}/s; p99 alone {quiet['good']['p99']:.0f} ms")
        peak, got = 0, {}
        for times in (1, 2, 3, 5):
            # What it can do with as much of its core as it had a moment ago.
            full = self.at(client, capacity * share * times, SECONDS)
            share = full["share"]
            after, = client.run((capacity * share / 2, 3))
            got[times] = full, after
            peak = max(peak, full["good_per_cpu_s"])
            case.say(f"{times} x: of its core {full['share']:.2f}, good {full['good']['per_s']:.0f}/s, "
                     f"{full['good_per_cpu_s']:.0f} a second of CPU, p99 {full['good']['p99']:.0f} ms; refused "
                     f"{full['shed']['per_s']:.0f}/s after {full['shed']['p50_sent']:.1f} ms (p50), "
                     f"{full['shed']['p95_sent']:.1f} ms (p95); quiet again after {after['quiet_s']} s")
        for times, (full, after) in got.items():
            self.assertEqual(full["broken"]["n"] + full["other"]["n"], 0, f"{times} x")
            self.assertTrue(0 <= after["quiet_s"] < 2, f"{times} x")
            self.assertLess(full["good"]["p99"], 2 * quiet["good"]["p99"], f"{times} x")
        at_3, at_5 = got[3][0], got[5][0]
        self.assertGreaterEqual(at_3["good_per_cpu_s"], self.limits.good * peak)
        self.assertGreaterEqual(at_5["good_per_cpu_s"], self.limits.good_at_5 * peak)
        self.assertLess(at_3["shed"]["p50_sent"] * at_3["share"], self.limits.shed_p50)
        self.assertLess(at_3["shed"]["p95_sent"] * at_3["share"], self.limits.shed_p95)


if __name__ == "__main__":
    case.main()

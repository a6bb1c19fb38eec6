"""More requests than the CPU can answer (T20): a worker on one core, requests whose policy takes some CPU, at 1, 2,
3 and 5 times of what it can do, with the client and the provider on another core. Strict: for a quiet machine.

ctest: labels long
ctest: timeout 300
ctest: serial"""

import os

import case
import flood

DELAY_MS = 150
BODY = {"prompt": "How do I reset my token?"}
SECONDS = 5


class Cpu(case.Case):
    scenario = False
    workers = 1
    env = {**case.Case.env, "NEAP_MAX_WAIT_MS": "100"}
    flags = ("--max-connections", "8000", "--max-connections-per-address", "8000")

    @classmethod
    def setUpClass(cls):
        cls.tools = flood.Tools()
        cls.addClassCleanup(cls.tools.close)
        super().setUpClass()

    @classmethod
    def serve(cls, policies, **kw):
        return super().serve(policies, prefix=("taskset", "-c", "0"), **kw)

    @classmethod
    def prepare(cls, policies):
        provider = flood.Provider(cls.tools, DELAY_MS)
        cls.addClassCleanup(provider.stop)
        os.sched_setaffinity(provider.process.pid, {os.cpu_count() - 1})
        policies.url = provider.url
        policies.provider("p", max_inflight=10000)
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        policies.hook("admit", "(req)\n  local x = 0\n  for i = 1, 60000 do x = x + i % 7 end\n  req.tags = { x = x }")

    def client(self):
        client = flood.Flood(self.tools, self.server.port, BODY, "/api/assistant/reply", connections=4000)
        self.addCleanup(client.stop)
        os.sched_setaffinity(client.process.pid, {os.cpu_count() - 1})
        return client

    def capacity(self, client):
        """The most good answers a second that any rate brings."""
        rate, peak = 100, 0
        while True:
            _, full = client.run((rate, 1), (rate, 2))
            peak = max(peak, full["good"]["per_s"])
            if full["good"]["per_s"] < 0.9 * rate:
                return peak
            rate *= 1.3

    def test_goodput_stays_and_the_rest_is_told_at_once(self):
        client = self.client()
        quiet, = client.run((20, 5))
        capacity = self.capacity(client)
        case.say(f"capacity {capacity:.0f}/s; p99 alone {quiet['good']['p99']:.0f} ms")
        peak, got = 0, {}
        for times in (1, 2, 3, 5):
            rate = capacity * times
            _, full, after = client.run((rate, 1), (rate, SECONDS), (capacity / 2, 3))
            got[times] = full, after
            peak = max(peak, full["good"]["per_s"])
            case.say(f"{times} x: good {full['good']['per_s']:.0f}/s, p99 {full['good']['p99']:.0f} ms; refused "
                     f"{full['shed']['per_s']:.0f}/s after {full['shed']['p50_sent']:.1f} ms (p50), "
                     f"{full['shed']['p95_sent']:.1f} ms (p95); quiet again after {after['quiet_s']} s")
        for times, (full, after) in got.items():
            self.assertEqual(full["broken"]["n"] + full["other"]["n"], 0, f"{times} x")
            self.assertTrue(0 <= after["quiet_s"] < 2, f"{times} x")
            self.assertLess(full["good"]["p99"], 2 * quiet["good"]["p99"], f"{times} x")
        self.assertGreaterEqual(got[3][0]["good"]["per_s"], 0.9 * peak)
        self.assertGreaterEqual(got[5][0]["good"]["per_s"], 0.8 * peak)
        self.assertLess(got[3][0]["shed"]["p50_sent"], 5)


if __name__ == "__main__":
    case.main()

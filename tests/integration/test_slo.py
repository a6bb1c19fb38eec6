"""What an objective counts, and that everybody who asks hears the same figures."""

import json

import case
import procs

OBJECTIVES = ("p95_ms", "error_rate", "degraded_rate", "cost_usd")
WINDOWS = ("5m", "30m", "1h", "6h", "3d")
PATH = "/api/assistant/reply"
SEEN = """(req)
  local said = {}
  for _, objective in ipairs { "p95_ms", "error_rate", "degraded_rate", "cost_usd" } do
    said[objective] = {}
    for _, window in ipairs { "5m", "30m", "1h", "6h", "3d" } do
      said[objective][window] = stats.burn("/api/assistant/reply", objective, window)
    end
  end
  if req.endpoint == "/api/asks/reply" then
    return { "good" }, ("%.9g %.9g"):format(said.cost_usd["3d"], stats.burn("/api/assistant/reply"))
  end
  if req.endpoint == "/api/tells/reply" then shared.set("said", json.encode(said)) end"""


class Slo(case.Case):
    workers = 1

    @classmethod
    def prepare(cls, policies):
        policies.provider("p", breaker={"failures": 1000, "rate": 0})
        price = {"input": 1000, "output": 2000}
        for name in ("good", "slow", "bad"):
            policies.model(name, "p", usd_per_million=price)
        policies.endpoint(
            "assistant",
            ["good"],
            max_attempts=1,
            slo={"p95_ms": 1500, "error_rate": 0.01, "degraded_rate": 0.05, "cost_usd": 0.02},
        )
        for name in ("asks", "tells"):
            policies.endpoint(name, ["good"])
        policies.hook("route", SEEN)
        policies.hook("admit", '(req) if req.metadata and req.metadata.no then return { status = 403 } end')
        policies.hook("retry", '(req) if req.metadata and req.metadata.fail then return "fail" end')
        policies.hook("respond", '(req, reply) if req.endpoint == "/api/tells/reply" then return { text = shared.get("said") } end')

    def post(self, status, body):
        self.assertEqual(self.server.ask(body).status, status)

    def serve_all_kinds(self):
        """10 good replies, 2 slow ones, 3 degraded, 2 errors of neap's word, 4 of the caller's fault."""
        usage = {"usage": {"prompt": 10, "completion": 10}}
        self.mock.control(every={"first_ms": 1, "total_ms": 2, **usage})
        for _ in range(10):
            self.post(200, {"prompt": "hi"})
        self.mock.control(every={"first_ms": 1, "total_ms": 1700, **usage})
        for _ in range(2):
            self.post(200, {"prompt": "hi"})
        self.mock.control(every={"status": 500, "first_ms": 1, "total_ms": 2})
        for _ in range(3):
            self.post(200, {"prompt": "hi"})
        for _ in range(2):
            self.post(502, {"prompt": "hi", "metadata": {"fail": True}})
        for _ in range(3):
            self.post(403, {"prompt": "hi", "metadata": {"no": True}})
        self.post(400, {"promt": "hi"})
        self.mock.control(every={"first_ms": 1, "total_ms": 2, **usage})

    def test_the_contract_is_counted_and_all_figures_agree(self):
        self.serve_all_kinds()

        def slo():
            said = self.server.admin("GET", "/api/slo").json()["endpoints"]
            (one,) = [e for e in said if e["path"] == PATH]
            return one

        counted = procs.wait_for(lambda: slo()["windows"]["5m"]["replies"] == 21 and slo())
        self.assertTrue(counted, slo())
        for window in WINDOWS:
            got = counted["windows"][window]
            self.assertEqual(
                [got[k] for k in ("replies", "counted", "slow", "errors", "degraded")],
                [21, 17, 2, 2, 3],
                window,
            )
            self.assertAlmostEqual(got["meanCostUsd"], 12 * 0.03 / 21)
            self.assertAlmostEqual(got["burn"]["p95_ms"], 2 / 21 / 0.05)
            self.assertAlmostEqual(got["burn"]["error_rate"], 2 / 17 / 0.01)
            self.assertAlmostEqual(got["burn"]["degraded_rate"], 3 / 17 / 0.05)
            self.assertAlmostEqual(got["burn"]["cost_usd"], 12 * 0.03 / 21 / 0.02)
        self.assertEqual(
            counted["objectives"],
            {"p95_ms": 1500, "error_rate": 0.01, "degraded_rate": 0.05, "cost_usd": 0.02},
        )
        self.assert_everybody_says(counted)

    def assert_everybody_says(self, counted):
        metrics = self.server.metrics()
        policy = json.loads(self.server.ask("hi", "/api/tells/reply").json()["text"])
        status = next(e for e in self.server.status()["endpoints"] if e["path"] == PATH)
        for objective in OBJECTIVES:
            for window in WINDOWS:
                burn = counted["windows"][window]["burn"][objective]
                shown = metrics.get(
                    "neap_slo_burn_rate", endpoint=PATH, objective=objective, window=window
                )
                self.assertAlmostEqual(shown, burn, msg=f"{objective} {window} in the metrics")
                self.assertAlmostEqual(
                    policy[objective][window], burn, msg=f"{objective} {window} in policies"
                )
            burn = counted["windows"]["1h"]["burn"][objective]
            self.assertEqual(status["burn1h"][objective], burn)
            self.assertEqual(
                metrics.get("neap_slo_objective", endpoint=PATH, objective=objective),
                counted["objectives"][objective],
            )
        self.assertEqual(status["errorRate"], 2 / 17)
        worst = max(counted["windows"]["1h"]["burn"].values())
        record = self.server.decision(self.server.ask("hi", "/api/asks/reply"))
        why = next(h["why"] for h in record["hooks"] if h["name"] == "route").split()
        self.assertAlmostEqual(float(why[1]), worst, places=6)
        code, text, _ = procs.run("status", "--admin", f"http://127.0.0.1:{self.server.admin_port}")
        self.assertEqual(code, 0)
        for words, objective in (("p95", "p95_ms"), ("errors", "error_rate"), ("cost", "cost_usd")):
            burn = counted["windows"]["1h"]["burn"][objective]
            self.assertRegex(text, rf"(?m){words} .* {burn:.2f}$")


if __name__ == "__main__":
    case.main()

"""What operators hear of over days: a latency that jumps, the daily report, what was spent.

ctest: timeout 240
"""

import json
import time
from decimal import Decimal

import case
import kept
import procs
from kept import LOOK_S

TEN_MS = 371  # the bucket of a histogram that holds it
DOLLAR = 10**9


class Days(kept.Kept):

    @staticmethod
    def days(server):
        return json.loads(server.admin("GET", "/api/days").body, parse_float=Decimal)["days"]

    # --- latency

    def test_a_p95_of_twice_what_these_hours_had_on_the_days_before_is_told(self):
        self.files.alerts["p95_jump"] = 2
        now = int(time.time()) // 3600
        self.remember(
            *(
                f"E {now - 24 * day + hour} 200 0 0 0 0 0 {TEN_MS}:200 /api/assistant/reply"
                for day in range(1, 6)
                for hour in (0, 1)
            )
        )
        self.mock.control(every={"first_ms": 100, "total_ms": 100})
        server = self.begin()
        case.at_once(20, lambda _: [server.ask("hi") for _ in range(6)])

        def jumped():
            said = server.admin("GET", "/api/alerts").json()["alerts"]
            return [a for a in said if a["alert"] == "p95_jump"]

        (alert,) = procs.wait_for(jumped, LOOK_S)
        self.assertEqual(alert["subject"], "/api/assistant/reply")
        self.assertGreater(alert["value"], 5)
        self.assertRegex(alert["text"], r"p95 of \S+ is \d+ ms, [\d.]+ times the 10 ms that are usual")
        self.assertEqual(server.metrics().get("neap_alert_firing", alert="p95_jump"), 1)

    # --- the alert hook

    def test_failures_of_the_alert_hook_are_counted(self):
        self.files.hook("alert", "() error('no') ")
        server = self.begin()
        failed = {"hook": "alert", "kind": "error"}
        self.assertTrue(
            procs.wait_for(lambda: server.metrics().get("neap_hook_errors_total", **failed) > 1, LOOK_S)
        )
        self.assertGreater(server.metrics().get("neap_hook_duration_seconds_count", hook="alert"), 1)
        self.assertEqual(server.log().count("hook failed"), 1)

    # --- days and reports

    def test_a_day_agrees_with_the_metrics_to_the_nano_dollar(self):
        self.files.tenants = None
        self.files.model("dear", "p", usd_per_million={"input": 7777.7, "output": 3333.3})
        self.files.endpoint("other", ["dear"], max_attempts=1)
        server = self.begin()
        for _ in range(7):
            self.assertEqual(server.ask("hello there").status, 200)
        for _ in range(3):
            server.ask("hello there", "/api/other/reply")
        self.mock.control(every={"status": 500})
        server.ask("hello there", "/api/other/reply")
        server.ask({"promt": "x"}, "/api/other/reply")

        def known():
            today = self.days(server)[0]
            return today["requests"] == 12 and today

        today = procs.wait_for(known, LOOK_S)
        self.assertTrue(today, self.days(server))
        exact = [
            line.rsplit(" ", 1)
            for line in server.metrics().text.splitlines()
            if line.startswith("llm_cost_usd_total{")
        ]
        spent = {m["model"]: m["spentUsd"] for m in today["models"]}
        for labels, cost in exact:
            model = labels.split('model="')[1].split('"')[0]
            self.assertEqual(spent[model], Decimal(cost))
        total = sum(Decimal(cost) for _, cost in exact)
        self.assertGreater(total, 0)
        self.assertEqual(today["spentUsd"], total)
        for kind in ("endpoints", "tenants", "models"):
            self.assertEqual(sum(row["spentUsd"] for row in today[kind]), total, kind)
        other = next(e for e in today["endpoints"] if e["path"] == "/api/other/reply")
        self.assertEqual(
            [other[k] for k in ("requests", "errors", "degraded", "refused")], [5, 0, 1, 1]
        )
        case.say(f"12 requests: {total} dollars in the metrics and in each list of the day")

    def test_the_report_of_yesterday_goes_to_sinks_and_log_once_over_restarts(self):
        receiver = self.receiver()
        self.files.alerts["daily_report"] = "00:00"
        day = int(time.time()) // 86400
        counts = f"40 2 1 4 {3 * DOLLAR} {DOLLAR // 2}"
        self.remember(
            f"E {day * 24 - 5} {counts} {TEN_MS}:40 /api/assistant/reply",
            f"T {day - 1} {counts} acme",
            f"M {day - 1} {counts} p/m",
            f"B {day - 1} {3 * DOLLAR} {50 * DOLLAR} global/day",
            f"E {(day - 3) * 24 + 5} 7 0 0 0 {DOLLAR} 0 - /api/assistant/reply",
            f"R {day - 4}",
        )
        date = time.strftime("%Y-%m-%d", time.gmtime((day - 1) * 86400))
        server = self.begin()
        self.assertTrue(procs.wait_for(lambda: len(receiver.calls) == 2, LOOK_S), server.tail())
        missed, report = self.bodies(receiver)
        self.assertEqual((missed["requests"], missed["spentUsd"]), (7, 1))
        self.assertEqual((report["report"], report["day"], report["requests"]), ("daily", date, 40))
        self.assertEqual([report[k] for k in ("errors", "degraded", "refused")], [2, 4, 1])
        self.assertEqual((report["spentUsd"], report["meanCostUsd"]), (3, 0.075))
        self.assertAlmostEqual(report["presumedShare"], 1 / 6)
        self.assertEqual(
            report["budgets"], [{"account": "global/day", "limitUsd": 50, "spentUsd": 3}]
        )
        self.assertEqual([t["tenant"] for t in report["tenants"]], ["acme"])
        self.assertEqual([m["model"] for m in report["models"]], ["m"])
        self.assertIn("Spent $3.00, $0.075000 a reply", report["text"])
        self.assertRegex(server.log(), rf"info daily report day={date} requests=40 errors=2")
        server.stop()
        self.show_looks()
        server = self.begin()
        self.looks(server)
        self.assertNotIn("daily report", server.log())
        self.assertEqual(len([b for b in self.bodies(receiver) if "report" in b]), 2)
        yesterday = next(d for d in self.days(server) if d["day"] == date)
        self.assertEqual(yesterday["spentUsd"], 3)


if __name__ == "__main__":
    case.main()

"""Alerts as operators see them, and burn rates over a restart.

ctest: timeout 300
"""

import json
import os
import tempfile
import threading

import case
import policies as sets
import procs
import stub

LOOK_S = 25  # the monitor looks every ten seconds


class Alerts(case.Case):
    """Each test has a server and a set of its own."""

    def setUp(self):
        self.mock.control()
        self.files = sets.Policies(self.mock.url)
        self.files.provider("p", breaker={"failures": 2, "open_ms": 600000})
        self.files.model("m", "p")
        self.files.endpoint("assistant", ["m"], slo={"error_rate": 0.01, "cost_usd": 0.01})
        self.files.alerts = {"breaker": True, "reload": True, "burn": True}
        self.state = tempfile.mkdtemp(prefix="neap-alerts-")

    def begin(self, store="memory:"):
        server = self.serve(
            self.files, env={"NEAP_TEST_KEY": "k"}, flags=("--state", self.state), store=store
        )
        self.started = [server]
        self.addCleanup(server.stop)
        return server

    def alerts(self, server, name, seconds=LOOK_S):
        def find():
            said = server.admin("GET", "/api/alerts").json()
            return [a for a in said["alerts"] if a["alert"] == name]

        return procs.wait_for(find, seconds)

    def test_what_is_wrong_is_told_in_the_log_the_api_and_the_metrics(self):
        server = self.begin()
        self.assertEqual(server.admin("GET", "/api/alerts").json()["resolved"], [])
        self.assertFalse(server.metrics().has("neap_alert_firing"))
        self.mock.control(every={"status": 500})
        for _ in range(3):
            server.ask("hi")
        self.files.files["route.lua"] = "return function( end\n"
        self.files.write()
        self.assertEqual(server.reload().status, 422)
        (breaker,) = self.alerts(server, "breaker")
        self.assertEqual(
            (breaker["subject"], breaker["severity"], breaker["sentTo"]), ("p/m", "ticket", ["log"])
        )
        self.assertIn("the breaker of m at p is open", breaker["text"])
        self.assertRegex(breaker["since"], r"^20\d\d-\d\d-\d\dT")
        (rejected,) = self.alerts(server, "reload_rejected")
        self.assertIn("route.lua:1", rejected["text"])
        metrics = server.metrics()
        self.assertEqual(metrics.get("neap_alert_firing", alert="breaker", severity="ticket"), 1)
        self.assertEqual(metrics.get("neap_alert_firing", alert="reload_rejected"), 1)
        self.assertEqual(server.log().count("warn alert alert=breaker severity=ticket"), 1)
        status, text, _ = procs.run("status", "--admin", f"http://127.0.0.1:{server.admin_port}")
        self.assertEqual(status, 0)
        self.assertRegex(text, r"ticket +breaker +for \d+ s\n +the breaker of m at p is open\n")
        self.assertLessEqual(max(map(len, text.splitlines())), 80, text)
        self.assertRegex(text, r"ticket +reload_rejected +for \d+ s\n +policies were rejected: ")

    def test_the_alert_hook_adds_and_silences(self):
        self.files.hook(
            "alert",
            """(stats)
  if stats.burn("/api/assistant/reply") == nil then error("no figures") end
  return { { alert = "slow", subject = "m", severity = "page", text = "m is slow" },
    { alert = "breaker", silence = true } }""",
        )
        self.mock.control(every={"status": 500})
        server = self.begin()
        for _ in range(3):
            server.ask("hi")
        self.files.files["route.lua"] = "return function( end\n"
        self.files.write()
        self.assertEqual(server.reload().status, 422)
        self.assertTrue(self.alerts(server, "reload_rejected"))
        (slow,) = self.alerts(server, "slow")
        self.assertEqual((slow["subject"], slow["severity"]), ("m", "page"))
        self.assertEqual(self.alerts(server, "breaker", 0), [])
        self.assertNotIn("hook failed", server.log())

    def test_an_alert_hook_that_fails_is_told_once_and_the_rules_stay(self):
        self.files.hook("alert", "(stats)\n  return { { alert = 'x', severity = 'loud', text = 't' } }")
        self.mock.control(every={"status": 500})
        server = self.begin()
        for _ in range(3):
            server.ask("hi")
        self.assertTrue(self.alerts(server, "breaker"))
        self.assertEqual(server.log().count("hook failed"), 1)
        self.assertIn("alarm 1 needs a text and a severity", server.log())

    def receiver(self, answers):
        """A webhook that answers with these statuses in turn, the last one for ever; None: never."""
        left = list(answers)

        def handle(call):
            status = left.pop(0) if len(left) > 1 else left[0]
            if status is None:
                self.hang.wait(60)
                return None
            return b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status

        got = stub.Stub(handle)
        self.addCleanup(got.stop)
        return got

    def test_webhooks_get_each_alert_once_and_one_that_hangs_holds_nothing_up(self):
        self.hang = threading.Event()
        self.addCleanup(self.hang.set)
        hangs, plain, slack = map(self.receiver, ([None], [500, 200], [200]))
        self.files.alerts["sinks"] = [
            {"webhook": hangs.url + "/h"},
            {"webhook": plain.url + "/hook/secret-part"},
            {"webhook": slack.url + "/s", "format": "slack"},
        ]
        server = self.begin()
        self.mock.control(every={"status": 500})
        for _ in range(3):
            server.ask("hi")
        self.assertTrue(procs.wait_for(lambda: len(plain.calls) == 2 and slack.calls, LOOK_S))
        first, again = (json.loads(call.body) for call in plain.calls)
        self.assertEqual(first, again)
        self.assertEqual(
            [first[k] for k in ("alert", "subject", "severity", "state")],
            ["breaker", "p/m", "ticket", "firing"],
        )
        self.assertEqual(plain.calls[0].get("Content-Type"), "application/json")
        self.assertEqual(
            json.loads(slack.calls[0].body),
            {"text": "[ticket] *breaker*: the breaker of m at p is open"},
        )

        def sent():
            (alert,) = self.alerts(server, "breaker")
            return len(alert["sentTo"]) == 3 and sorted(alert["sentTo"])

        self.assertEqual(procs.wait_for(sent), ["log", "sinks[2]", "sinks[3]"])
        self.assertEqual(len(hangs.calls), 1)
        self.assertEqual(server.ask("hi", path="/healthz").status // 100, 4)
        self.assertNotIn("secret-part", server.log())
        self.assertEqual((len(plain.calls), len(slack.calls)), (2, 1))

    def test_a_budget_that_turns_requests_away_is_told_as_used_up(self):
        self.files.model("dear", "p", usd_per_million={"input": 1000, "output": 1000})
        self.files.endpoint("dear", ["dear"], max_tokens=64)
        self.files.budgets = [{"account": "global", "window": "month", "limit_usd": 0.5}]
        self.files.alerts = {"budget": [1.0]}
        server = self.begin()
        for _ in range(40):
            reply = server.ask("hi " * 20, "/api/dear/reply").json()
        self.assertEqual(reply["reason"], "budget")
        (told,) = self.alerts(server, "budget")
        self.assertEqual((told["subject"], told["severity"], told["threshold"]), ("global/month", "page", 1))
        self.assertIn("requests are turned away", told["text"])
        self.assertLess(told["value"], 1)
        record = server.decision(server.ask("hi " * 20, "/api/dear/reply"))
        self.assertEqual(record["skipped"][0]["account"], "global/month")
        told = procs.run("explain", record["requestId"], "--decisions", server.path("decisions"))[1]
        self.assertIn("skipped    dear: budget, the budget global/month has no room for it", told)

    def test_a_receiver_that_is_gone_takes_no_message_from_another_and_addresses_may_have_a_query(self):
        alarms = "for i = 1, 60 do list[i] = { alert = 'many', subject = 'n' .. i, severity = 'info', text = 'x' } end"
        self.files.hook("alert", f"(stats)\n  local list = {{}}\n  {alarms}\n  return list")
        self.hang = threading.Event()
        self.addCleanup(self.hang.set)
        hangs, good = self.receiver([None]), self.receiver([200])
        self.files.alerts = {"sinks": [{"webhook": hangs.url + "/h"}, {"webhook": good.url + "/v1?key=a%2Fb&token=c"}]}
        self.begin()
        self.assertTrue(procs.wait_for(lambda: len(good.calls) >= 60, 2 * LOOK_S), len(good.calls))
        self.assertEqual({json.loads(call.body)["subject"] for call in good.calls}, {f"n{i}" for i in range(1, 61)})
        self.assertEqual(good.calls[0].path, "/v1?key=a%2Fb&token=c")
        self.assertRegex(good.calls[0].get("User-Agent"), r"^neap/\d")
        self.assertEqual(len(hangs.calls), 1)

    def burns(self, server):
        return {
            window: server.metrics().get(
                "neap_slo_burn_rate", objective="cost_usd", window=window
            )
            for window in ("1h", "3d")
        }

    def test_burn_rates_survive_a_restart(self):
        server = self.begin(store="sqlite:neap.db")
        for _ in range(5):
            self.assertEqual(server.ask("hi").status, 200)
        before = procs.wait_for(lambda: self.burns(server)["1h"] > 0 and self.burns(server))
        server.stop()
        self.assertEqual(os.stat(os.path.join(self.state, "neap.slo")).st_mode & 0o777, 0o600)
        again = self.begin(store="sqlite:neap.db")
        self.assertEqual(self.burns(again), before)

    def test_a_ledger_in_memory_leaves_no_file(self):
        server = self.begin()
        self.assertEqual(server.ask("hi").status, 200)
        server.stop()
        self.assertEqual(os.listdir(self.state), [])


if __name__ == "__main__":
    case.main()

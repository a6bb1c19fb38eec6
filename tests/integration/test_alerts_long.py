"""Alerts that are told once, whatever happens to the process or to who hears of them.

ctest: labels long
ctest: timeout 240
"""

from pathlib import Path

import case
import kept
import procs
from kept import LOOK_S

SLOW_S = 60


class Restarts(kept.Kept):
    def spend(self):
        """A budget that one request spends in part."""
        self.files.budgets = [{"account": "global", "window": "day", "limit_usd": 1}]
        self.files.alerts["budget"] = [0.5]
        self.mock.control(every={"usage": {"prompt": 600, "completion": 1}})

    def budgets(self, receiver):
        return [b for b in self.bodies(receiver) if b["alert"] == "budget"]

    def test_an_alert_is_told_once_over_a_crash(self):
        receiver = self.receiver()
        self.spend()
        server = self.begin()
        server.ask("hi")
        self.assertTrue(procs.wait_for(lambda: self.budgets(receiver), LOOK_S), server.tail())
        self.assertEqual(self.budgets(receiver)[0]["subject"], "global/day")
        file = Path(self.state, "neap.alerts")
        self.assertTrue(procs.wait_for(lambda: "env:HOOK" in file.read_text(encoding="utf-8")))
        server.process.kill()
        server.process.wait()
        server.process = None
        self.show_looks()
        server = self.begin()
        self.looks(server)
        fires = server.admin("GET", "/api/alerts").json()["alerts"]
        self.assertEqual(
            [a["sentTo"] for a in fires if a["alert"] == "budget"], [["log", "env:HOOK"]]
        )
        self.assertNotIn("alert=budget", server.log())
        self.assertEqual(len(self.budgets(receiver)), 1)

    def test_an_alert_that_no_receiver_took_reaches_it_after_a_restart(self):
        receiver = self.receiver(status=500)
        self.spend()
        server = self.begin()
        server.ask("hi")
        self.assertTrue(procs.wait_for(lambda: self.budgets(receiver), LOOK_S), server.tail())
        server.stop()
        self.answer = 200
        self.show_looks()
        before = len(self.budgets(receiver))
        server = self.begin()
        self.assertTrue(procs.wait_for(lambda: len(self.budgets(receiver)) > before, SLOW_S))
        self.looks(server)
        self.assertEqual(len(self.budgets(receiver)), before + 1)
        self.assertNotIn("alert=budget", server.log())

    def test_what_is_over_is_told_once_more(self):
        receiver = self.receiver()
        self.files.alerts["sinks"].append({"webhook": receiver.url + "/slack", "format": "slack"})
        self.files.alerts["reload"] = True
        server = self.begin()
        self.files.put("route.lua", "return function( end\n")
        self.assertEqual(server.reload().status, 422)
        self.assertTrue(procs.wait_for(lambda: len(receiver.calls) == 2, LOOK_S), server.tail())
        self.files.remove("route.lua")
        self.assertEqual(server.reload().status, 200)
        self.assertTrue(procs.wait_for(lambda: len(receiver.calls) == 4, SLOW_S + LOOK_S))
        bodies = [b for b in self.bodies(receiver) if "state" in b]
        lines = [b["text"] for b in self.bodies(receiver) if "state" not in b]
        self.assertEqual([b["state"] for b in bodies], ["firing", "resolved"])
        self.assertGreater(bodies[1]["resolvedAt"], bodies[1]["since"])
        self.assertTrue(lines[0].startswith("[ticket] *reload_rejected*: policies were"), lines)
        self.assertTrue(lines[1].startswith("[resolved] *reload_rejected*: policies were"), lines)
        said = server.admin("GET", "/api/alerts").json()
        self.assertEqual(said["alerts"], [])
        self.assertEqual([a["alert"] for a in said["resolved"]], ["reload_rejected"])
        self.assertFalse(server.metrics().get("neap_alert_firing"))
        self.assertIn("info alert resolved alert=reload_rejected", server.log())


if __name__ == "__main__":
    case.main()

"""Which line of a policy decided: in the record of a live request, in what is told of it, and on the simulated
ground in the same words."""

import json
import re

import case
import procs

ROUTE = """-- Decides by tier.
local function order(first)
  local other = first == "a" and "b" or "a"
  return { first, other }
end

return function(req)
  local tier = req.metadata.tier
  if tier == "gold" then
    return order("a"), "gold goes to a"
  elseif tier == "odd" then
    return 7
  elseif tier == "broken" then
    error("no such tier")
  end
  return order(tier == "free" and "b" or "a")
end
"""
LIBRARY = "local M = {}\nfunction M.respond()\n  return nil\nend\nreturn M\n"


class Lines(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("a", "p")
        policies.model("b", "p")
        policies.endpoint("assistant", ["a", "b"])
        policies.hook("route", ROUTE)
        policies.files["lib/answers.lua"] = LIBRARY
        policies.files["respond.lua"] = 'return require("lib.answers").respond\n'

    def asked(self, tier):
        """The record of a request of this tier."""
        reply = self.server.ask({"prompt": "hi", "metadata": {"tier": tier}})
        self.assertEqual(reply.status, 200, reply)
        return self.server.decision(reply)

    def places(self, record):
        return {
            hook["name"]: f"{hook['name']}.lua:{hook['line']}" if "line" in hook else hook.get("at")
            for hook in record["hooks"]
        }

    def told(self, record):
        """What explain says of it, as one line."""
        status, text, _ = procs.run("explain", record["requestId"], "--decisions", self.server.path("decisions"))
        self.assertEqual(status, 0)
        return " ".join(text.split())

    def simulated(self, *lines):
        args = [piece for line in lines for piece in ("-e", line)]
        status, text, said = procs.run("repl", self.policies.path, *args)
        self.assertEqual(status, 0, said)
        return " ".join(text.split())

    def test_each_branch_is_told_at_its_own_return(self):
        for tier, line in (("gold", 10), ("free", 16)):
            record = self.asked(tier)
            self.assertEqual(self.places(record)["route"], f"route.lua:{line}")
            self.assertIn(f"(route.lua:{line})", self.told(record))
            kept = json.loads(self.server.admin("GET", f"/api/requests/{record['requestId']}").body)
            self.assertEqual(kept["hooks"], record["hooks"])

    def test_a_hook_that_stands_in_a_library_is_told_there(self):
        self.assertEqual(self.places(self.asked("free"))["respond"], "lib/answers.lua:3")

    def test_hooks_that_the_set_has_not_are_not_told(self):
        self.assertEqual(sorted(self.places(self.asked("free"))), ["respond", "route"])

    def test_a_wrong_answer_is_told_at_its_return_everywhere(self):
        record = self.asked("odd")
        self.assertEqual(self.places(record)["route"], "route.lua:12")
        self.assertIn("failed: type: route must return a list of candidates", self.told(record))
        self.assertIn("(route.lua:12)", self.told(record))
        self.assertIn("route.lua:12: route must return", self.assertLogged(f"hook failed .*{record['requestId']}"))

    def test_an_error_is_told_where_it_was_raised(self):
        record = self.asked("broken")
        self.assertEqual(self.places(record)["route"], "route.lua:14")
        self.assertIn("failed: error: no such tier (route.lua:14)", self.told(record))

    def test_the_simulated_ground_tells_the_same_places(self):
        for tier in ("gold", "free", "odd", "broken"):
            wanted = self.places(self.asked(tier))
            text = self.simulated(f'.load {{ prompt = "hi", metadata = {{ tier = "{tier}" }} }}', ".run", ".why")
            for hook, place in wanted.items():
                self.assertRegex(text, rf"{hook} +\d+ us .* {re.escape(place)}")
                self.assertIn(f"({place}).", text)

    def test_a_record_of_many_hooks_stays_short(self):
        record = self.asked("gold")
        self.assertLess(record["bytes"], 1000)

    def test_a_set_that_is_read_anew_has_its_own_lines(self):
        before = self.asked("gold")
        self.policies.hook("route", "-- one line\n-- and another\n" + ROUTE)
        self.policies.write()
        self.assertEqual(self.server.reload().status, 200)
        self.assertEqual(self.places(self.asked("gold"))["route"], "route.lua:12")
        self.policies.hook("route", ROUTE)
        self.policies.write()
        self.assertEqual(self.server.reload().status, 200)
        self.assertEqual(self.places(self.asked("gold")), self.places(before))


if __name__ == "__main__":
    case.main()

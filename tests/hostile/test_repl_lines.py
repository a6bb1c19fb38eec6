"""Lines that make no sense, long ones, and policies that do their worst under neap repl: each line is answered or
refused, and the session goes on to the last one."""

import random
import re

from case import main
from repl import ReplCase

COMMANDS = (
    ".load .set .mock .breaker .clock .seed .run .step .break .trace .why .cost .reload .diff .show .doc .undo .more "
    ".help .attach .test .edit"
).split()
WORDS = [
    "gpt-4.1", "openai", "429", "ok", '"Sure."', "}", '{prompt="hi"}', "timeout", "in", "900ms", "budget", "global/day", "5",
    "-1", "1e99", "open", "close", "+30s", "+40d", "9" * 40, "retry", "route", "route.lua:18", "if", "req.x", "on", "off",
    "--last", "3", "'", "\\", ",", "metadata.tier", "req_", "from", "\x01", "é…", "%s%n", "nil", "print(req)",
    "setmetatable({}, {__index = error})", "_", "hooks", "goto a", "::a::", "x" * 5000, "{[1]=1,[3]=3}", "json.null",
    "setmetatable({}, {__tostring = error, __len = error, __pairs = error})", "(function() return (\"x\"):rep(1e9) end)()",
]


class Lines(ReplCase):
    def nonsense(self, seed, n):
        chance = random.Random(seed)
        for _ in range(n):
            words = [chance.choice(WORDS) for _ in range(chance.randrange(6))]
            if chance.random() < 0.7:
                words.insert(0, chance.choice(COMMANDS))
            line = " ".join(words)
            # What would open a run's stepper, or text over several lines, would take the lines behind it.
            if not line.startswith(".step") and line.count("(") == line.count(")") and line.count('"') % 2 == 0:
                yield line

    def test_nonsense_ends_no_session(self):
        self.env["EDITOR"] = "true"
        for seed in (1, 2, 3):
            lines = [*self.nonsense(seed, 100), ".break off", ".trace off", "6 * 7"]
            status, out, err = self.session(*lines)
            self.assertEqual(status, 1, err[-2000:])
            self.assertTrue(out.endswith("42\n"), (seed, out[-2000:], err[-2000:]))

    def test_values_that_lie_about_themselves_are_shown_all_the_same(self):
        for value in (
            "setmetatable({}, {__tostring = error, __len = error, __pairs = error, __index = error})",
            "setmetatable({1}, {__len = function() return 1e9 end})",
            "(function() local t = {} t[1] = t return t end)()",
            "(function() local t = {} for i = 1, 200 do t = {t} end return t end)()",
        ):
            self.assertRegex(self.good(value, "1"), r"(?s)^\{.*\n1\n$")

    def test_a_hook_that_does_not_end_is_stopped_and_said(self):
        self.write("policies/route.lua", "-- Never ends.\nreturn function()\n  while true do end\nend\n")
        out = self.good(".run", ".step route", "c", ".trace on", ".run", "1")
        self.assertEqual(len(re.findall("^route .* stopped: it took more steps than a hook may", out, re.MULTILINE)), 3)
        self.assertIn("the rest of the run is not traced", out)
        self.assertLess(out.count("\n"), 2100)


if __name__ == "__main__":
    main()

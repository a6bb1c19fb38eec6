"""neap check: all problems at once, each with its place, in three formats, with the right exit status."""

import json
import os
import subprocess
import unittest

import case
import policies
import procs

LIB = "local M = {}\nfunction M.half(n) return n / 2 end\nreturn M\n"

# One problem a line, where it stands.
ROUTE = """local lib = require "lib.half"
local function long(r)
  return r.promt_tokens > 100
end
return function(req)
  if long(req) then seen = req.id end
  if req.tenant == 7 then return { "m" } end
  return { "m" }, tostring(lib.half(req.elapsed_ms))
end
"""


class Check(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.set = policies.Policies()
        self.set.provider("p", api_key=policies.env("NEAP_CHECK_KEY"))
        self.set.model("m", "p")
        self.set.endpoint("x", ["m"])
        self.set.files["lib/half.lua"] = LIB

    def check(self, *flags, env=None):
        return procs.run("check", self.set.write().path, *flags, env=env or ())

    def lines(self, *flags):
        """Exit status and all lines but the last, which sums up."""
        status, out, _ = self.check(*flags)
        return status, out.splitlines()[:-1]

    def test_a_good_set_says_its_version(self):
        self.set.files["route.lua"] = 'return function() return { "m" } end\n'
        status, out, _ = self.check("--deny-warnings")
        self.assertEqual(status, 0, out)
        self.assertRegex(out, r": version [0-9a-f]{12}, no errors\n$")

    def test_the_name_of_a_secret_is_a_text_and_no_number(self):
        self.set.provider("p", api_key=policies.Lua("env(5)"))
        status, lines = self.lines()
        self.assertEqual(status, 1)
        self.assertIn("string expected, got number", lines[0])

    def test_all_problems_are_told_at_once_and_in_order(self):
        self.set.files["route.lua"] = ROUTE
        self.set.files["retry.lua"] = "return function(req, attempt\n"
        self.set.files["budgets.lua"] = 'return { { account = "globl", window = "day", limit_usd = 1 } }\n'
        status, lines = self.lines()
        self.assertEqual(status, 1)
        places = [line.split(" ")[0] + " " + line.split(" ")[1] for line in lines]
        self.assertEqual(
            places,
            [
                "budgets.lua:1:12: N203",
                "retry.lua:2:1: N104",
                "route.lua:3:12: N304",
                "route.lua:6:21: N302",
                "route.lua:7:17: N310",
            ],
        )
        self.assertIn("did you mean prompt_tokens?", lines[2])

    def test_what_was_read_without_running_spares_the_run_s_own_words(self):
        self.set.files["budgets.lua"] = 'return { { account = "global", window = "day", limit_usd = fifty() } }\n'
        status, lines = self.lines()
        self.assertEqual(status, 1)
        self.assertEqual([line.split(" ")[1] for line in lines], ["N301"], lines)

    def test_json_has_every_problem_with_its_place(self):
        self.set.files["route.lua"] = ROUTE
        status, out, _ = self.check("--format", "json")
        said = json.loads(out)
        self.assertEqual(status, 1)
        self.assertIs(said["valid"], False)
        self.assertEqual((said["errors"], said["warnings"]), (2, 1))
        first = said["problems"][0]
        self.assertEqual((first["file"], first["line"], first["column"]), ("route.lua", 3, 12))
        self.assertEqual((first["code"], first["severity"]), ("N304", "error"))

    def test_github_gets_workflow_commands_with_paths(self):
        self.set.files["route.lua"] = ROUTE.replace("req.tenant == 7", 'req.tenant == ("%"):len()')
        status, out, _ = self.check("--format=github")
        self.assertEqual(status, 1)
        path = os.path.join(self.set.path, "route.lua")
        self.assertIn(f"::error file={path},line=3,col=12,title=N304::req has no field", out)
        for line in out.splitlines():
            self.assertRegex(line, r"^::(error|warning) file=[^:]+,line=\d+,col=\d+,title=N\d+::")

    def test_warnings_matter_only_when_they_are_denied(self):
        self.set.files["route.lua"] = 'return function()\n  local x = 1\n  return { "m" }\nend\n'
        self.assertEqual(self.check()[0], 0)
        self.assertEqual(self.check("--deny-warnings")[0], 1)

    def test_a_comment_allows_a_warning_of_its_line_or_the_next(self):
        for line in (
            "  local x = 1 -- neap: allow N313 kept for the debugger\n",
            "  -- neap: allow N313 kept for the debugger\n  local x = 1\n",
        ):
            self.set.files["route.lua"] = f'return function()\n{line}  return {{ "m" }}\nend\n'
            status, out, _ = self.check("--deny-warnings")
            self.assertEqual(status, 0, out)

    def test_what_allows_nothing_is_told(self):
        frame = 'return function(req)\n  {}\n  return {{ "m" }}\nend\n'
        for line, wanted in (
            ("local x = 1 -- neap: allow N313", ["N313", "N319"]),
            ("local _ = 1 -- neap: allow N313 why not", ["N319"]),
            ("local x = 1 -- neap: allow N311 the wrong one", ["N313", "N319"]),
            ("local _ = req.tenent -- neap: allow N304 errors stay", ["N304", "N319"]),
        ):
            self.set.files["route.lua"] = frame.format(line)
            codes = [problem.split(" ")[1] for problem in self.lines()[1]]
            self.assertEqual(codes, wanted, line)

    def test_a_wrong_kind_on_a_built_in_request_is_an_error(self):
        self.set.files["retry.lua"] = 'return function(_, attempt)\n  return attempt.class == "quota" and 7 or nil\nend\n'
        status, out, _ = self.check()
        self.assertEqual(status, 1)
        self.assertIn("retry.lua:2:3: N401 retry fails for models whose quota is used up", out)

    def test_a_hook_that_fails_on_a_built_in_request_is_a_warning_that_names_it(self):
        self.set.files["respond.lua"] = (
            'return function(_, reply)\n  if #reply.text > 50000 then error("too long for me") end\nend\n'
        )
        status, out, _ = self.check()
        self.assertEqual(status, 0, out)
        self.assertIn("respond.lua:2:3: N402 warning: respond fails for an answer of 100,000 bytes: too long for me", out)

    def test_the_hook_that_no_request_calls_is_tried_too(self):
        self.set.files["alert.lua"] = 'return function(stats)\n  error("no " .. type(stats))\nend\n'
        status, out, _ = self.check()
        self.assertEqual(status, 0, out)
        self.assertRegex(out, r"alert\.lua:2:3: N402 warning: alert fails for the statistics of a process that has "
                              r"just begun: no table")
        self.set.files["alert.lua"] = "return function()\n  return 7\nend\n"
        status, out, _ = self.check()
        self.assertEqual(status, 1, out)
        self.assertRegex(out, r"alert\.lua:2:3: N\d+ ")

    def test_a_hook_that_never_ends_is_told_and_the_check_ends(self):
        self.set.files["route.lua"] = "return function()\n  while true do end\nend\n"
        self.set.files["admit.lua"] = "return function()\n  local function f() return f() end\n  return f()\nend\n"
        _, out, _ = self.check()
        self.assertIn("admit.lua:2:3: N402 warning", out)

    def test_keys_print_as_their_names(self):
        self.set.files["budgets.lua"] = 'return { { account = env "NEAP_CHECK_KEY", window = "day", limit_usd = 1 } }\n'
        for format in ("text", "json", "github"):
            status, out, err = self.check("--format", format, env={"NEAP_CHECK_KEY": "sk-CANARY"})
            self.assertEqual(status, 1)
            self.assertNotIn("CANARY", out + err)
        self.set.files["budgets.lua"] = 'return { { account = "global", window = env "NEAP_CHECK_KEY", limit_usd = 1 } }\n'
        self.assertIn("env:NEAP_CHECK_KEY", self.check(env={"NEAP_CHECK_KEY": "sk-CANARY"})[1])

    def test_a_data_file_is_held_within_the_limits(self):
        for body in ("while true do end", 'return { ("x"):rep(1e9) }', 'return { ("a"):rep(40000):find(("a?"):rep(999)) }'):
            self.set.files["budgets.lua"] = body + "\n"
            status, out, _ = self.check()
            self.assertEqual(status, 1, body)
            self.assertIn("budgets.lua:1:", out)

    def test_a_file_with_thousands_of_problems_has_each_at_its_place(self):
        lines = ["  t%d = { kyes = 1 }," % i for i in range(1, 9001)]
        self.set.files["tenants.lua"] = "return {\n" + "\n".join(lines) + "\n}\n"
        status, out, err = self.check()
        self.assertEqual((status, err), (1, ""))
        told = out.splitlines()
        self.assertNotIn("N199", out)
        self.assertEqual(len(told), 1001)
        for line in told[:999]:
            self.assertRegex(line, r"^tenants\.lua:\d+:\d+: N2\d\d t\d+[ .]")
            self.assertEqual(int(line.split(":")[1]), int(line.split(" t")[1].split(".")[0].split(" ")[0]) + 1)
        self.assertRegex(told[-1], r"at least \d{4,} errors.*; 1,000 of them are shown")

    def test_a_byte_order_mark_is_no_part_of_the_code(self):
        self.set.files["route.lua"] = '\ufeffreturn function(req) return { req.promt } end\n'
        self.assertEqual(self.lines(), (1, ['route.lua:1:35: N304 req has no field "promt"; did you mean prompt_tokens?']))

    def test_models_that_route_returns_are_held_against_the_set_where_no_request_leads(self):
        self.set.files["route.lua"] = (
            'local CHEAP = { "n" }\n'
            "return function(req)\n"
            '  if req.tenant == "vip" then return { "m", { model = "mm", timeout_ms = 9 } } end\n'
            '  if req.tenant == "poor" then return CHEAP end\n'
            '  return { "m" }\n'
            "end\n"
        )
        self.assertEqual(
            self.lines(),
            (0, ['route.lua:1:17: N309 warning: models.lua has no "n"',
                 'route.lua:3:55: N309 warning: models.lua has no "mm"']),
        )

    def test_templates_are_held_against_the_code_that_fills_them(self):
        self.set.files["templates/closed.txt"] = "Back in {{hours}} hours.\n{{ tenant }}, {{hour}}!\n"
        self.set.files["templates/budget.txt"] = "{{requestid}} {{retryAfter}}\n"
        self.set.files["templates/bugdet.txt"] = "Unused.\n"
        uses = 'template("closed", { hours = 1 })'
        self.set.files["degrade.lua"] = "return function(_, reason)\n  return @\nend\n".replace("@", uses)
        unused = "templates/bugdet.txt:1:1: N321 warning: no hook uses it, and no reason of a degraded reply is called "
        unused += '"bugdet"; did you mean budget?'
        said = [
            "templates/budget.txt:1:1: N320 warning: nobody fills {{requestid}}: callers read it as it stands; "
            "did you mean requestId?",
            unused,
            "templates/closed.txt:2:15: N320 warning: nobody fills {{hour}}: callers read it as it stands; "
            "did you mean hours?",
        ]
        self.assertEqual(self.lines(), (0, said))

    def test_a_template_is_not_doubted_where_its_use_can_t_be_seen(self):
        self.set.files["templates/closed.txt"] = "Back in {{hours}} hours.\n"
        for uses, codes in (
            ('template("clo" .. "sed", { hours = 1 })', []),
            ('template("clo" .. "sed")', ["N320"]),
            ('template("closed", M.values)', []),
            ('M.fill("closed")', []),
            ('"closed"', ["N321"]),
        ):
            fill = "template" if "M.fill" in uses else "nil"
            self.set.files["degrade.lua"] = (
                f"local M = {{ values = {{ hours = 1 }}, fill = {fill} }}\n"
                f'return function(req)\n  if req.tenant == "nobody" and M then return {uses} end\nend\n'
            )
            self.assertEqual([line.split(" ")[1] for line in self.lines()[1]], codes, uses)

    def test_a_key_that_is_there_twice_is_a_warning(self):
        twice = policies.env("NEAP_CHECK_KEY")
        self.set.provider("p", api_key=None, api_keys=[twice, policies.env("NEAP_CHECK_KEY_2"), twice])
        status, lines = self.lines()
        self.assertEqual((status, len(lines)), (0, 1), lines)
        self.assertRegex(lines[0], r'N207 warning: p\.api_keys\[3\] is there twice: env:NEAP_CHECK_KEY$')

    def test_what_could_not_be_written_is_no_verdict(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run(
                [procs.NEAP, "check", self.set.write().path],
                stdout=full, stderr=subprocess.PIPE, timeout=30, check=False, env=procs.environment(()),
            )
        self.assertEqual(done.returncode, 3)
        self.assertIn(b"standard output could not be written", done.stderr)

    def test_a_wrong_command_is_no_answer(self):
        self.assertEqual(self.check("--format", "xml")[0], 2)
        status, _, err = procs.run("check", "--explain", "N999")[:3]
        self.assertEqual(status, 2)
        self.assertIn('there is no code "N999"', err)

    def test_explain_shows_what_is_wrong_and_what_is_right(self):
        status, out, _ = procs.run("check", "--explain", "N310")
        self.assertEqual(status, 0)
        self.assertIn('attempt.class == "rate_limit"', out)
        self.assertIn('attempt.class == "rate_limited"', out)


if __name__ == "__main__":
    case.main()

"""`neap test` as people and build servers use it: what each flag prints, writes and returns."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import case
import policies as sets
import procs


class Testing(case.Case):
    scenario = False

    def setUp(self):
        self.set = sets.Policies()
        shutil.copytree(os.path.join(procs.SOURCE, "policies"), self.set.path, dirs_exist_ok=True)
        for name in os.listdir(self.set.path):
            if name.endswith("_test.lua"):
                os.remove(os.path.join(self.set.path, name))

    def put(self, name, text):
        path = os.path.join(self.set.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write(text)
        return path

    def read(self, name):
        with open(os.path.join(self.set.path, name), encoding="utf-8") as f:
            return f.read()

    def run_tests(self, *flags, status=0):
        got, out, err = procs.run("test", self.set.path, *flags)
        self.assertEqual(got, status, out + err)
        self.assertEqual(err, "")
        return out

    # --- the run ------------------------------------------------------------------------------

    def test_a_failure_shows_place_line_difference_and_the_run(self):
        self.put("route.lua", "return function(req)\n  if req.tenant then\n"
                 "    return { 'gpt-4.1', 'gpt-4.1-mini' }, 'my reasons'\n  end\nend\n")
        self.put("a_test.lua", 'test("t", function()\n'
                 '  local run = play { request = { prompt = "hi" },\n'
                 '    providers = { ["gpt-4.1"] = { status = 429, retry_after = 2 } } }\n'
                 '  expect({ run.model, { run.status } }, { "gpt-4.1-mini", { 201 } })\n'
                 'end)\n')
        out = self.run_tests(status=1)
        for piece in (
            r"FAIL  a_test\.lua:1: t\n",
            r"  a_test\.lua:4:  expect\(\{ run\.model, \{ run\.status \} \}, .*\)\n",
            r'    got       \{ "gpt-4\.1-mini", \{ 200 \} \}\n',
            r'    expected  \{ "gpt-4\.1-mini", \{ 201 \} \}\n',
            r"    differs   at \[2\]\[1\]: got 200, expected 201\n",
            r"    route +\d+ us +\d+ steps  gpt-4\.1, gpt-4\.1-mini +route\.lua:3 +because my reasons\n",
            r"    attempt 1 gpt-4\.1 +openai 429 rate_limited  retry_after 2 s +300 ms ",
            r'    retry +\d+ us +\d+ steps  "next" +retry\.lua:\d+ +because it wants 2000 ms',
            r"    attempt 2 gpt-4\.1-mini +openai ok  \d+ tokens  \$0\.\d+ +300 ms\n",
            r"    ok  gpt-4\.1-mini  2 attempts  \$0\.\d+  600 ms\n",
        ):
            self.assertRegex(out, piece)

    def test_the_alert_hook_is_asked_and_its_failures_show_what_it_said(self):
        self.put("alert.lua", "return function(stats)\n"
                 "  if not stats.p95('gpt-4.1') then return end\n"
                 "  return { { alert = 'slow', subject = 'gpt-4.1', severity = 'ticket', text = 'it is slow' },\n"
                 "    { alert = 'breaker', silence = true } }, 'p95 is known'\nend\n")
        self.put("a_test.lua", 'test("asked", function()\n'
                 '  expect(alerts({}).returned, "nothing")\n'
                 '  for _ = 1, 30 do play { request = { prompt = "hi", model = "gpt-4.1" } } end\n'
                 '  local told = alerts { after_ms = 10000 }\n'
                 '  expect(told.alarms, { { alert = "slow", subject = "gpt-4.1", severity = "ticket",\n'
                 '    text = "it is slow" }, { alert = "breaker", silence = true } })\n'
                 '  expect(told.why, "p95 is unknown")\n'
                 'end)\n')
        out = self.run_tests("--coverage", status=1)
        for piece in (
            r'  a_test\.lua:7:  expect\(told\.why, "p95 is unknown"\)\n',
            r'    got       "p95 is known"\n',
            r"\n    alert +\d+ us +\d+ steps  alarms +alert\.lua:\d +because p95 is known\n"
            r"    alarm     ticket  slow  gpt-4\.1: it is slow\n    silenced  breaker  every subject\n",
            r"\n  alert     nothing 1, list 1\n",
        ):
            self.assertRegex(out, piece)

    def test_what_alerts_can_t_be_asked_with_is_said(self):
        asked = {"alerts {}": "alerts: the set has no alert.lua",
                 'alerts { request = { prompt = "x" } }': "alerts: the alert hook is asked without a request",
                 "alerts { after = 1 }": 'alerts: there is no field "after"; did you mean "after_ms"?',
                 "alerts()": "alerts{after_ms = …}: a table is wanted, got a no value"}
        for n, call in enumerate(asked):
            self.put(f"a{n}_test.lua", f'test("t{n}", function()\n  {call}\nend)\n')
        out = self.run_tests(status=1)
        for message in asked.values():
            self.assertIn(f"\n    {message}", out)

    def test_a_client_leaves_when_it_is_told_to(self):
        self.put("a_test.lua", 'test("t", function()\n'
                 '  local run = play { request = { prompt = "hi" }, leaves_after_ms = 200 }\n'
                 '  expect({ run.status, run.cancelled, run.latency_ms }, { 499, true, 200 })\n'
                 '  expect(run.attempts[1].class, "ok")\n'
                 'end)\n')
        out = self.run_tests(status=1)
        for piece in (r'    got       "cancelled"\n', r"    attempt 1 \S+ +\S+ cancelled +\d+ tokens +\$\S+ +200 ms\n",
                      r"    cancelled  the client left  1 attempt  \$\S+  200 ms\n"):
            self.assertRegex(out, piece)

    def test_the_words_of_a_hook_that_fails_are_in_the_run(self):
        self.put("respond.lua", "return function(_, reply)\n  local x\n  return x.text\nend\n")
        self.put("a_test.lua", 'test("t", function()\n'
                 '  expect(play({ request = { prompt = "hi" } }).text, "x")\nend)\n')
        self.assertRegex(
            self.run_tests(status=1),
            r"respond +\d+ us +\d+ steps  failed: error +respond\.lua:3 +attempt to index a nil value")

    def test_a_hook_that_never_ends_keeps_the_columns_of_the_run(self):
        self.put("route.lua", "return function() while true do end end\n")
        self.put("a_test.lua", 'test("t", function() expect(play({ request = { prompt = "hi" } }).text, "x") end)\n')
        self.assertRegex(self.run_tests(status=1), r"route +\d+ us +\d{7} steps  failed: time +route\.lua:1 +stopped")

    def test_verbose_tells_the_steps_of_each_hook_and_they_stay_the_same(self):
        self.put("a_test.lua",
                 'test("t", function() play { request = { prompt = "hi" } } end)\n')
        out = self.run_tests("-v")
        self.assertRegex(
            out, r"pass  a_test\.lua:1: t  \(steps: test \d+, admit \d+, route \d+, budget \d+, respond \d+\)\n")
        self.assertEqual(out, self.run_tests("-v"))

    def test_breakers_clock_and_money_carry_on_within_a_test(self):
        self.put("a_test.lua", """
test("after_five_faults_the_breaker_is_open_and_time_closes_it", function()
  for _ = 1, 5 do
    play { request = { prompt = "hi" }, providers = { ["gpt-4.1"] = { error = "server_error" } } }
  end
  local run = play { request = { prompt = "hi" } }
  expect(run.skipped, { { model = "gpt-4.1", why = "breaker" } })
  run = play { request = { prompt = "hi" }, after_ms = 60000 }
  expect(run.model, "gpt-4.1")
end)
test("a_test_begins_anew", function()
  expect(play({ request = { prompt = "hi" } }).model, "gpt-4.1")
end)
""")
        self.assertEqual(self.run_tests(), "2 passed, 0 failed\n")

    # --- JUnit --------------------------------------------------------------------------------

    def test_a_seed_repeats_chance_and_another_seed_has_another(self):
        self.put("route.lua", "return function()\n  return nil, tostring(math.random(1 << 40))\nend\n")
        self.put("a_test.lua", 'test("t", function()\n'
                 '  local function draw(seed)\n'
                 '    return play({ request = { prompt = "hi" }, seed = seed }).hooks.route[1].why\n'
                 '  end\n'
                 '  local first, one = draw(), draw(1)\n'
                 '  expect(one, first)\n'
                 '  expect(draw(7), draw(7))\n'
                 '  assert(draw(7) ~= draw(8) and draw() ~= draw())\nend)\n')
        self.run_tests()

    def test_junit_is_well_formed_whatever_a_test_is_called_or_says(self):
        bytes_ = "".join(f"\\{n}" for n in list(range(1, 32)) + [0x7F, 0x80, 0xC3, 0xFF])
        self.put("a_test.lua", f"""
local odd = "<a href=\\"x\\" b='y'>&amp; ]]> é 😀 {bytes_} \\u{{FFFE}} \\u{{FFFF}}"
test(odd, function() expect(odd, "x") end)
test("plain", function() end)
test("<!--", function() error(odd) end)
""")
        self.put("b_test.lua", 'test("plain", function()\n  play { rquest = {} }\nend)\n')
        file = os.path.join(self.set.path, "out.xml")
        out = self.run_tests("--junit", file, status=1)
        self.assertIn("1 passed, 3 failed", out)
        root = ElementTree.parse(file).getroot()
        self.assertEqual(root.tag, "testsuites")
        self.assertEqual((root.get("tests"), root.get("failures")), ("4", "3"))
        suites = {s.get("name"): s for s in root}
        self.assertEqual(list(suites), ["a_test.lua", "b_test.lua"])
        cases = suites["a_test.lua"].findall("testcase")
        self.assertEqual(len(cases), 3)
        self.assertTrue(cases[0].get("name").startswith("<a href=\"x\" b='y'>&amp; ]]> é 😀 \ufffd"))
        self.assertIn("\t\n", cases[0].get("name"))
        self.assertIn("expected  \"x\"", cases[0].find("failure").text)
        self.assertEqual(cases[1].get("line"), "4")
        self.assertIsNone(cases[1].find("failure"))
        self.assertGreaterEqual(float(cases[1].get("time")), 0)
        self.assertIn("b_test.lua:2:  play { rquest = {} }",
                      suites["b_test.lua"].find("testcase/failure").text)

    def test_junit_says_so_when_the_set_does_not_load(self):
        self.put("route.lua", "return {")
        file = os.path.join(self.set.path, "out.xml")
        self.run_tests("--junit", file, status=1)
        failure = ElementTree.parse(file).getroot().find("testsuite/testcase/failure")
        self.assertIn("route.lua:1", failure.text)

    def test_a_junit_file_that_cannot_be_written_is_a_failure(self):
        self.put("a_test.lua", 'test("t", function() end)\n')
        where = os.path.join(self.set.path, "no/where.xml")
        status, out, err = procs.run("test", self.set.path, "--junit", where)
        self.assertEqual((status, out), (3, "1 passed, 0 failed\n"))
        self.assertIn("No such file or directory", err)

    def test_a_thousand_tests_run_and_the_time_is_printed(self):
        """With the release binary where there is one: the others are built to find faults."""
        release = os.path.join(procs.SOURCE, "build", "release", "neap")
        binary = release if os.access(release, os.X_OK) else procs.NEAP
        self.put("a_test.lua", "".join(
            f'test("t{i}", function()\n'
            f'  local run = play {{ request = {{ prompt = "hi {i}" }},\n'
            '    providers = { ["gpt-4.1"] = { 429, { text = "Sure.", after_ms = 300 } } } }\n'
            '  expect(run.model, "gpt-4.1")\n'
            '  expect(run.attempts[1].class, "rate_limited")\nend)\n' for i in range(1000)))
        begin = time.monotonic()
        done = subprocess.run([binary, "test", self.set.path], env=procs.environment(),
                              capture_output=True, text=True, timeout=100, check=False)
        took = time.monotonic() - begin
        self.assertEqual(done.stdout, "1000 passed, 0 failed\n", done.stderr)
        kind = "release" if binary == release else "this"
        case.say(f"1,000 tests, 2 attempts each: {took:.2f} s with the {kind} binary")

    # --- coverage -----------------------------------------------------------------------------

    def test_coverage_counts_lines_and_outcomes(self):
        self.put("retry.lua", """-- Decides.
return function(_, attempt)
  if attempt.class == "timeout" then
    return "next"
  end
  if attempt.class == "quota" then
    local why = "quota"
    return "degrade",
      why
  end
  return nil
end
""")
        self.put("a_test.lua", 'test("t", function()\n'
                 '  play { request = { prompt = "hi" }, providers = { openai = { { error = "timeout" } } } }\n'
                 'end)\n')
        out = self.run_tests("--coverage")
        # Lines 3, 4, 6 to 9, 11 and 12 (the function itself) have code; of them 3, 4 and 12 ran.
        self.assertRegex(out, r"\n  retry\.lua +3 of +8   37 %  missed 6-11\n")
        self.assertRegex(out, r'\n  retry     "next" \d+  never: nothing, {retry_in_ms=}, "degrade", "fail"\n')
        self.assertRegex(out, r"\n  lib/plan\.lua ")
        self.assertRegex(out, r"\n  admit     nothing 1  never: refusal\n")
        self.assertNotIn("models.lua", out)
        percent = int(re.search(r"\n  all +\d+ of +\d+ +(\d+) %", out).group(1))
        self.run_tests("--coverage-min", str(percent))
        out = self.run_tests("--coverage-min", str(percent + 1), status=1)
        self.assertIn(f"{percent} % of the lines ran, --coverage-min asks for {percent + 1} %", out)

    def test_the_shipped_set_has_all_its_lines_but_few_covered(self):
        status, out, _ = procs.run(
            "test", os.path.join(procs.SOURCE, "policies"), "--coverage-min", "95")
        self.assertEqual(status, 0, out)

    # --- bench --------------------------------------------------------------------------------

    def test_bench_tells_the_change_since_the_last_time(self):
        self.put("a_test.lua",
                 'test("t", function() play { request = { prompt = "hi" } } end)\n')
        self.put("route.lua", "return function() return { 'gpt-4.1' } end\n")
        first = self.run_tests("--bench")
        self.assertRegex(first, r"bench route +1 calls +\d+ steps \(new\) +\d+ ns \(new\)")
        self.put("route.lua", "return function() for _ = 1, 500 do end return { 'gpt-4.1' } end\n")
        second = self.run_tests("--bench")
        was = re.search(r"bench route +1 calls +(\d+) steps", first).group(1)
        self.assertRegex(second, rf"bench route +1 calls +5\d\d steps \(was {was}, \+\d+ %\)")
        self.assertRegex(second, r"bench admit +1 calls +\d+ steps \(as before\)")
        self.assertRegex(second, r" ns \((was \d+, [+-]\d+ %|as before)\)")
        self.assertRegex(self.read(".neap/bench"), r"(?m)^route 5\d\d \d+$")
        case.say(re.search(r"bench route.*", second).group(0))

    # --- recorded cases -----------------------------------------------------------------------

    CASE = """{
  "request": { "prompt": "hi", "metadata": { "tier": "bronze" } },
  "providers": { "openai": [429, { "text": "Sure." }] },
  "expect": %s
}
"""

    def test_a_recorded_case_is_compared_by_the_members_that_it_names(self):
        self.put("a_test.lua", 'recorded("cases/*.json")\n')
        self.put("cases/one.json", self.CASE % '{ "status": 200, "attempts": [{}, {"class": "ok"}] }')
        self.put("cases/two.json", self.CASE % '{\n    "attempts": [{}, {"class": "timeout"}] }')
        out = self.run_tests("-v", status=1)
        self.assertIn("pass  a_test.lua:1: cases/one.json", out)
        self.assertIn("FAIL  a_test.lua:1: cases/two.json\n  cases/two.json:4:  \"expect\": {\n", out)
        self.assertIn('differs   at .attempts[2].class: got "ok", expected "timeout"', out)
        self.assertIn("the last run:", out)

    def test_update_rewrites_what_a_case_expects_and_shows_the_difference(self):
        self.put("a_test.lua", 'recorded("cases/*.json")\n')
        self.put("cases/old.json", self.CASE % '{ "model": "gpt-4.1", "degraded": true, "reason": "budget" }')
        self.put("cases/new.json", '{ "request": { "prompt": "hi" } }')
        self.put("cases/good.json", self.CASE % '{"status":200}')
        good = self.read("cases/good.json")
        self.assertIn("neap test --update records it", self.run_tests(status=1))
        out = self.run_tests("--update")
        self.assertIn('wrote cases/old.json\n    expect.degraded: was true, is false\n'
                      '    expect.model: was "gpt-4.1", is "gpt-4.1-mini"\n'
                      '    expect.reason: was "budget", is nil\n', out)
        self.assertIn("wrote cases/new.json\n    expect: recorded\n", out)
        self.assertNotIn("cases/good.json", out)
        self.assertEqual(self.read("cases/good.json"), good)
        old = self.read("cases/old.json")
        self.assertTrue(old.startswith(self.CASE.split("%s")[0]), old)
        self.assertEqual(json.loads(old)["expect"], {"model": "gpt-4.1-mini", "degraded": False})
        new = json.loads(self.read("cases/new.json"))
        self.assertEqual(new["expect"]["plan"][0], "gpt-4.1")
        self.assertEqual(new["expect"]["dropped"], [])
        self.assertEqual(self.run_tests(), "3 passed, 0 failed\n")
        self.assertEqual(self.run_tests("--update"), "3 passed, 0 failed\n")

    def test_a_case_that_cannot_be_written_is_said_with_the_reason(self):
        def no_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))

        self.put("a_test.lua", 'recorded("cases/*.json")\n')
        self.put("cases/a.json", '{ "request": { "prompt": "hi" } }')
        status, out, err = procs.run("test", self.set.path, "--update", preexec_fn=no_files)
        self.assertEqual((status, err), (1, ""), out)
        self.assertRegex(out, r"cases/a\.json can't be written: \S+/cases/a\.json: File too large")

    def test_cases_that_are_none_are_said_to_be(self):
        self.put("a_test.lua", 'recorded("cases/*.json")\n')
        for text, why in (
            ('{\n "request": {,}\n}', "  cases/a.json:2:  \"request\": {,}\n    cases/a.json is no JSON: a key in double quotes or } "
             "expected at line 2, column 14"),
            ("[1]", 'a case is {"request": {…}, …, "expect": {…}}'),
            ('{"request": {}, "expect": 3}', "expect must be an object"),
            ('{"expct": {}, "request": {}}', 'there is no field "expct"'),
        ):
            self.put("cases/a.json", text)
            self.assertIn(why, self.run_tests(status=1))
            self.assertIn(why, self.run_tests("--update", status=1))
            self.assertEqual(self.read("cases/a.json"), text)
        os.remove(os.path.join(self.set.path, "cases/a.json"))
        self.assertIn("recorded: no file of the set is called cases/*.json", self.run_tests(status=1))

    # --- what comes back ------------------------------------------------------------------------

    def test_a_mistyped_field_of_what_came_back_is_named(self):
        self.put("alert.lua", 'return function() return { { alert = "a", severity = "info", text = "b" } } end\n')
        play = 'local run, told = play { request = { prompt = "hi" } }, alerts {}'
        for asked, said in (
            ("run.modle", 'run has no field "modle"; did you mean model?'),
            ("run.attempts[1].clas", 'run_attempt has no field "clas"; did you mean class?'),
            ("run.calls[1].hok", 'run_call has no field "hok"; did you mean hook?'),
            ("run.hooks.rout", 'run.hooks has no field "rout"; did you mean route?'),
            ("run.hooks.route[1].wy", 'run_hook has no field "wy"; did you mean why?'),
            ("told.alarm", 'told has no field "alarm"; did you mean alarms?'),
            ("told.alarms[1].subjet", 'alarm has no field "subjet"; did you mean subject?'),
        ):
            self.put("a_test.lua", f'test("t", function()\n  {play}\n  expect({asked}, nil)\nend)\n')
            self.assertIn(f"  a_test.lua:3:  expect({asked}, nil)\n    {said}\n", self.run_tests(status=1))
        self.put("a_test.lua", f'test("t", function()\n  {play}\n  expect({{ run.reason, run.error, run[1] }}, {{}})\n'
                 '  expect(#json.encode(run) > 500 and type(run), "table")\n'
                 '  for key, value in pairs(run) do expect(rawequal(run[key], value), true) end\nend)\n')
        self.run_tests()

    # --- watch --------------------------------------------------------------------------------

    def watch(self, stdout):
        return subprocess.Popen(
            [procs.NEAP, "test", self.set.path, "--watch"], env=procs.environment(),
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT)

    def follow(self, process, fd):
        """Changes a file twice, once by an editor's rename; what was printed, and the end's
        status."""
        text = ""

        def until(what):
            nonlocal text
            for _ in range(1000):
                if re.search(what, text):
                    return
                try:
                    got = os.read(fd, 65536)
                except OSError:
                    got = b""
                if not got:
                    break
                text += got.decode()
            self.fail(f"no {what} in {text}")

        until(r"1 passed, 0 failed\r?\n\r?\nwatching ")
        self.put("a_test.lua", 'test("t", function() expect(1, 2) end)\n')
        until(r"changed: a_test\.lua\r?\n(.*\r?\n)*0 passed, 1 failed\r?\n\r?\nwatching ")
        self.put(".b.swp", 'test("t", function() end)\ntest("u", function() end)\n')
        os.rename(os.path.join(self.set.path, ".b.swp"), os.path.join(self.set.path, "a_test.lua"))
        until(r"2 passed, 0 failed\r?\n\r?\nwatching ")
        self.put("a_test.lua", 'test("t", function() expect(1, 2) end)\n')
        until(r"(?s)2 passed.*0 passed, 1 failed\r?\n\r?\nwatching ")
        process.send_signal(signal.SIGINT)
        return process.wait(20)

    def test_watch_follows_changes_through_a_pipe(self):
        self.put("a_test.lua", 'test("t", function() end)\n')
        process = self.watch(subprocess.PIPE)
        try:
            self.assertEqual(self.follow(process, process.stdout.fileno()), 1)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_watch_waits_for_a_folder_that_is_away(self):
        self.put("a_test.lua", 'test("t", function() end)\n')
        process = self.watch(subprocess.PIPE)
        try:
            self.until(process.stdout, "watching ")
            os.rename(self.set.path, self.set.path + ".away")
            self.until(process.stdout, "waiting for ")
            os.rename(self.set.path + ".away", self.set.path)
            self.until(process.stdout, "1 passed, 0 failed")
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(20), 0)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def until(self, lines, what):
        for _ in range(100):
            line = lines.readline().decode()
            if line == "" or what in line:
                break
        self.assertIn(what, line)

    def test_watch_follows_changes_on_a_terminal(self):
        self.put("a_test.lua", 'test("t", function() end)\n')
        master, slave = os.openpty()
        process = self.watch(slave)
        os.close(slave)
        try:
            self.assertEqual(self.follow(process, master), 1)
        finally:
            process.kill()
            process.wait()
            os.close(master)


if __name__ == "__main__":
    case.main()

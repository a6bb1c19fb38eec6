"""neap repl: holding runs, editing the set, comparing two sets on recorded requests, writing tests."""

import json
import os
import subprocess

from case import main
from repl import ReplCase

MINI_FIRST = "s/local PREMIUM = { \"gpt-4.1\" }/local PREMIUM = { \"gpt-4.1-mini\" }/"


def record(number, model="gpt-4.1", **fields):
    """A decision record as neap serve writes it."""
    return {
        "requestId": f"req_{number:026d}",
        "at": f"2026-11-24T18:{number // 60:02d}:{number % 60:02d}.000Z",
        "endpoint": "/api/assistant/reply",
        "tenant": "anonymous",
        "policy": "3fa9c1e20b7d",
        "estimate": {"promptTokens": 40, "maxTokens": 400, "costUsd": 0.002, "worstUsd": 0.003},
        "attempts": [{
            "provider": "openai", "model": model, "class": "ok", "status": 200, "ttftMs": 200, "latencyMs": 700,
            "tokens": {"prompt": 40, "completion": 50}, "costUsd": 0.00048, "settled": "exact",
        }],
        "outcome": "ok",
        **fields,
    }


class Sets(ReplCase):
    def records(self, *records):
        return self.write("decisions.jsonl", "".join(json.dumps(r) + "\n" for r in records))

    def editor(self, sed):
        """$EDITOR becomes a script that edits by sed."""
        path = self.write("editor", f"#!/bin/sh\nexec sed -i '{sed}' \"$1\"\n")
        os.chmod(path, 0o755)
        self.env["EDITOR"] = path

    def git(self, *words):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *words],
            cwd=self.policies, check=True, capture_output=True,
        )

    # -- the stepper

    def test_a_run_is_held_where_a_hook_begins(self):
        out = self.good(".mock openai 500", ".step retry", "p attempt.class", "l", "w", "n", "c")
        self.assertIn("retry.lua:6    if attempt.number > 1 then return end\n", out)
        self.assertIn('\n"server_error"\n', out)
        self.assertIn('attempt = {\n', out)
        self.assertIn("retry.lua:6  (the hook)", out)
        self.assertIn("retry.lua:7 ", out)
        self.assertIn("attempt 1 gpt-4.1", out)

    def test_a_run_that_never_came_to_the_hook_says_so(self):
        self.assertIn("this run never came to retry\n", self.good(".step retry"))
        self.assertNotIn("never came", self.good(".mock openai 500", ".step retry", "c"))

    def test_a_breakpoint_holds_a_run_when_its_condition_is_true(self):
        out = self.good(".break route:25 if req.tenant == 'nobody'", ".run")
        self.assertNotIn("route.lua:25    return", out)
        out = self.good(".break route:25 if req.tenant == 'anonymous'", ".run", "PREMIUM", "c", "1 + 1")
        self.assertIn("route.lua:25    return", out)
        self.assertIn('{ "gpt-4.1" }\n', out)
        self.assertTrue(out.endswith("2\n"))

    def test_the_stepper_goes_into_functions_and_out_of_them(self):
        out = self.good(".break route:16", ".run", "s", "w", "o", "q")
        self.assertIn("route.lua:11 ", out)
        self.assertIn("route.lua:11  low  ", out)
        self.assertIn("route.lua:16  (the hook)", out)

    def test_what_is_wrong_while_a_run_is_held_is_said_and_it_goes_on(self):
        out = self.good(".step route", ".run", "p nosuch.field", "p while", "b nowhere.lua:1", "b route.lua:999", "h", "c")
        for said in ("commands wait until the run is over", "nil value", "unexpected symbol", "no file nowhere.lua", "route.lua has 26 lines", "n next line"):
            self.assertIn(said, out)
        self.assertIn("ok  gpt-4.1", out)

    def test_a_runaway_expression_ends_by_its_steps_and_the_run_goes_on(self):
        out = self.good(".step route", "p (function() while true do end end)()", "c")
        self.assertIn("more than 1000000 steps", out)
        self.assertIn("ok  gpt-4.1", out)

    def test_the_end_of_the_lines_lets_a_held_run_go_on(self):
        self.assertIn("ok  gpt-4.1", self.good(".step"))

    def test_a_trace_says_each_line_and_what_has_changed(self):
        out = self.good(".trace on", ".run")
        self.assertRegex(out, r'route\.lua:12 .*-- left = 50\.0, spent = 0\.0')
        self.assertIn('account = "global/day"', out)

    def test_names_of_hooks_are_told_with_a_guess(self):
        self.assertIn('did you mean "retry"', self.bad(".step rety"))

    # -- the set

    def test_an_edit_is_reloaded_and_run_again_and_what_changed_is_said(self):
        self.editor(MINI_FIRST)
        out = self.good(".run", ".edit route", "_.plan[1].model", ".undo", "_.plan[1].model")
        self.assertIn("~ route     gpt-4.1-mini, claude-haiku-4-5   (was gpt-4.1, gpt-4.1-mini, claude-haiku-4-5)\n", out)
        self.assertIn("~ attempts  gpt-4.1-mini ok   (was gpt-4.1 ok)\n", out)
        self.assertTrue(out.endswith('"gpt-4.1-mini"\nundone: .edit route\n"gpt-4.1"\n'), out)

    def test_without_a_terminal_no_editor_is_started_that_was_not_chosen(self):
        self.env = {key: value for key, value in self.env.items() if key not in ("EDITOR", "VISUAL")}
        said = self.bad(".edit route")
        self.assertIn("an editor needs a terminal: change the file, then .reload", said)
        self.assertIn("route.lua was not edited", said)

    def test_an_editor_does_not_read_the_lines_of_the_session(self):
        path = self.write("reader", "#!/bin/sh\nexec cat\n")
        os.chmod(path, 0o755)
        self.env["EDITOR"] = path
        self.assertTrue(self.good(text=".edit route\n1 + 1\n").endswith("\n2\n"))

    def test_variables_of_lines_outlive_a_reload_and_libraries_are_new(self):
        self.editor("s/^-- Decides/-- It decides/")
        out = self.good("x = 7", ".edit route", "x", 'require("lib.plan").join({"a"}, {}), hooks.route(req)')
        self.assertIn('7\n{ "a" }\n{ "gpt-4.1"', out)

    def test_an_edit_that_is_wrong_is_told_with_its_line_and_changes_nothing(self):
        self.editor("s/return plan.join(PREMIUM/retrun plan.join(PREMIUM/")
        status, out, err = self.session(".edit route", ".run")
        self.assertEqual(status, 1)
        self.assertRegex(err, r"(?s)route\.lua:25.* stays in force")
        self.assertIn("ok  gpt-4.1", out)

    def test_an_edit_that_the_gate_would_refuse_is_told_and_can_be_tried(self):
        self.editor("s/return plan.join(PREMIUM, ECONOMY)/return plan.join(PREMUM, ECONOMY)/")
        out = self.good(".edit route", ".run")
        self.assertRegex(out, r"route\.lua:25:\d+: N301 .*PREMUM.*\n")
        self.assertIn("neap serve would refuse this set for that\n", out)
        self.assertRegex(out, r"route .* failed: ")

    def test_a_reload_of_the_same_set_says_so(self):
        self.assertIn("nothing has changed", self.good(".reload"))

    # -- tests

    def test_what_was_run_is_written_as_a_test_that_passes(self):
        out = self.good(
            '.load {prompt = "hi", metadata = {tier = "bronze"}}', ".breaker open gpt-4.1-mini",
            ".mock anthropic 500", ".run", '.test "bronze_goes_up_when_all_else_fails" route',
        )
        self.assertRegex(out, r"wrote route_test\.lua:\d+, passes\n$")
        written = self.read("policies/route_test.lua")
        self.assertIn('test("bronze_goes_up_when_all_else_fails", function()', written)
        self.assertIn('breakers = { ["gpt-4.1-mini"] = "open" }', written)
        self.assertIn('expect(run.model, "gpt-4.1")', written)
        done = subprocess.run(
            [os.environ["NEAP_BIN"], "test", self.policies, "--filter", "bronze_goes_up"], capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_a_second_test_of_a_name_is_refused_before_anything_is_written(self):
        before = self.read("policies/route_test.lua")
        err = self.bad('.load {prompt = "hi"}', ".run", '.test "premium_answers_first" route')
        self.assertRegex(err, r'route_test\.lua:\d+ has a test "premium_answers_first" already')
        self.assertEqual(self.read("policies/route_test.lua"), before)

    def test_a_saved_session_that_wrote_a_test_runs_again_and_writes_nothing(self):
        self.good('.load {prompt = "hi"}', ".run", '.test "hi_is_answered" route', f".save {self.home}/saved")
        before = self.read("policies/route_test.lua")
        self.assertEqual(before.count("hi_is_answered"), 1)
        self.assertRegex(self.good(text=self.read("saved")), r"route_test\.lua:\d+ has this very test already\n$")
        self.assertEqual(self.read("policies/route_test.lua"), before)

    def test_earlier_runs_stand_in_a_test_where_they_matter(self):
        fails = [".mock gpt-4.1 500"] + [".run"] * 3 + [".mock gpt-4.1 off", ".run"]
        out = self.good(*fails, '.test "a_model_that_failed_often_is_left_alone" route')
        self.assertIn("passes", out)
        self.assertEqual(self.read("policies/route_test.lua").count("play {\n    request = { prompt = \"How do"), 4)

    # -- records

    def test_a_recorded_request_is_run_as_it_went(self):
        path = self.records(
            record(1),
            record(2, request={"prompt": "hi", "metadata": {"tier": "gold"}}, reply="Sure.", outcome="degraded", reason="budget"),
        )
        out = self.good(f".load req_{2:026d}", ".run", "_.reply", flags=("--decisions", path))
        self.assertIn("tier gold", out)
        self.assertIn("was: degraded (budget) 18:00:02 under 3fa9c1e20b7d", out)
        self.assertRegex(out, r"attempt 1 gpt-4.1 .*700 ms")
        self.assertTrue(out.endswith('"Sure."\n'), out)
        self.assertIn("its text was not recorded", self.good(f".load req_{1:026d} from {path}"))
        theirs = self.records(record(3, requestId="from-a-client"))
        self.assertIn("was: ok", self.good(".load from-a", flags=("--decisions", theirs)))
        self.assertIn("was: ok", self.good(f".load from-a from {theirs}"))
        path = self.records(record(1))
        self.assertIn("its last one is", self.bad(".load req_9", flags=("--decisions", path)))

    def test_two_sets_are_compared_on_recorded_requests(self):
        path = self.records(*[record(n) for n in range(19)], record(19, "gpt-4.1-mini"))
        self.git("init", "-q")
        self.git("add", ".")
        self.git("commit", "-qm", "one")
        self.editor(MINI_FIRST)
        out = self.good(".edit route", ".diff HEAD --last 10", ".show 1", flags=("--decisions", path))
        self.assertRegex(out, r"10 requests: 0 same, 10 differ   cost -\$0\.00384 \(-80 %\)   degraded 0 -> 0   p95 \+0 ms")
        self.assertRegex(out, r"(?s)1 of 10: req_0+10\nbefore:.*attempt 1 gpt-4.1 .*now:.*attempt 1 gpt-4.1-mini")

    def test_a_set_compared_with_itself_is_the_same(self):
        path = self.records(*[record(n) for n in range(5)])
        out = self.good(f".diff {self.policies} {path}")
        self.assertIn("5 requests: 5 same, 0 differ", out)

    def test_what_never_reached_a_hook_is_left_out_of_a_comparison_and_told(self):
        refused = {"requestId": "req_404", "at": "2026-11-24T18:00:05.000Z", "attempts": [], "outcome": "not_found"}
        elsewhere = record(7, endpoint="/api/gone")
        out = self.good(f".diff {self.policies} {self.records(record(1), refused, refused, elsewhere)}")
        self.assertIn("1 requests: 1 same, 0 differ", out)
        self.assertIn("1 of them were recorded without their text", out)
        self.assertIn("2 were left out: they were refused before a hook was asked", out)
        self.assertIn("1 were left out: their tenant or endpoint is in no set", out)

    def test_what_diff_lacks_is_told(self):
        path = self.records(record(1))
        self.assertIn("which decision records", self.bad(f".diff {self.policies}"))
        self.assertIn("in no repository", self.bad(".diff HEAD~1", flags=("--decisions", path)))
        self.assertIn("no decision records", self.bad(f".diff {self.policies} {self.write('empty', 'x')}"))


if __name__ == "__main__":
    main()

"""neap repl without a terminal: -e and standard input, each command, and what a wrong line is told."""

import os

from case import main
from repl import ReplCase


class Repl(ReplCase):
    # -- Lua

    def test_an_expression_shows_its_values_and_a_statement_nothing(self):
        self.assertEqual(self.good("1 + 1"), "2\n")
        self.assertEqual(self.good('"a\\n", nil'), '"a\\n"\nnil\n')
        self.assertEqual(self.good("x = 1"), "")

    def test_no_text_obeys_the_terminal_whatever_bytes_it_has(self):
        self.assertEqual(self.good('"\\255é"', '{ "\\u{9b}31m" }'), '"\\xffé"\n{ "\\xc2\\x9b31m" }\n')
        self.assertEqual(self.good('("\\255"):rep(3)', 'print("\\255\\27[m\\0\\u{9b}é")'),
                         '"\\xff\\xff\\xff"\n\\xff\\x1b[m\\x00\\xc2\\x9bé\n')
        self.assertIn("a\\x1b[31m\\xc2\\x9b", self.bad('error("a\\27[31m\\u{9b}")'))
        self.assertIn("\\xc2\\x9b31m", self.good('.load {prompt = "hi", metadata = {tier = "\\u{9b}31m"}}', ".run"))

    def test_what_a_line_sets_is_there_for_the_next_one_locals_too(self):
        self.assertEqual(self.good("x = 2", "local y = x * 3", "x + y"), "8\n")
        self.assertEqual(self.good("function twice(n) return 2 * n end", "twice(4)"), "8\n")

    def test_tables_are_shown_sorted_and_cut_at_20_lines(self):
        self.assertEqual(self.good("{ b = 1, a = { 2 }, 7 }"), "{ 7, a = { 2 }, b = 1 }\n")
        lines = self.good("local t = {} for i = 1, 100 do t[i] = { i, i } end return t").split("\n")
        self.assertEqual(lines[0], "{")
        self.assertEqual(lines[20], "… 82 more lines: .more")
        self.assertEqual(len(lines), 22)
        more = self.good("local t = {} for i = 1, 30 do t[i] = { i, i } end return t", ".more").split("\n")
        self.assertEqual(more[21], "  { 20, 20 },")
        self.assertEqual(more[-2:], ["}", ""])

    def test_a_line_sees_the_world_of_policies_and_the_request(self):
        self.assertEqual(self.good("req.prompt_tokens > 0"), "true\n")
        self.assertEqual(self.good('breaker.state("gpt-4.1")'), '"closed"\n')
        self.assertEqual(self.good('require("lib.plan").join({"a"}, {"a", "b"})'), '{ "a", "b" }\n')
        self.assertEqual(
            self.good("hooks.route(req)"),
            '{ "gpt-4.1", "gpt-4.1-mini", "claude-haiku-4-5" }\n"premium first"\n',
        )

    def test_a_mistyped_field_is_named_with_a_guess(self):
        self.assertIn('did you mean "prompt_tokens"', self.bad("req.promt_tokens"))

    def test_a_runaway_line_ends_by_its_steps_and_the_session_goes_on(self):
        status, out, err = self.session("while true do end", "1 + 1")
        self.assertEqual((status, out), (1, "2\n"))
        self.assertIn("more steps", err)

    def test_an_unfinished_line_goes_on_in_the_next_one(self):
        self.assertEqual(self.good(text="for i = 1, 2 do\n  print(i)\nend\n{\n  1,\n}\n"), "1\n2\n{ 1 }\n")
        self.assertIn("unfinished", self.bad("for i = 1, 2 do"))
        self.assertIn("unfinished", self.bad(text="for i = 1, 2 do\n"))

    # -- requests

    def test_a_session_can_run_at_once_and_its_record_is_underscore(self):
        self.assertIn("route ", self.good(".run"))
        self.assertTrue(self.good(".run", "_.plan[1].model").endswith('"gpt-4.1"\n'))
        self.assertTrue(self.good(".run", "_.outcome").endswith('"ok"\n'))

    def test_a_request_is_loaded_from_a_table_or_a_file(self):
        out = self.good('.load {prompt = "hi", metadata = {tier = "bronze"}}', ".run", "_.plan[1].model")
        self.assertIn("tier bronze", out)
        self.assertTrue(out.endswith('"gpt-4.1-mini"\n'))
        for name, text in (("r.json", '{"prompt": "hi"}'), ("r.lua", 'return { prompt = "hi" }')):
            path = os.path.join(self.home, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            self.assertIn("req  anonymous /api/assistant/reply", self.good(f".load {path}"))

    def test_a_request_that_is_wrong_leaves_the_old_one(self):
        status, out, err = self.session('.load {promt = "hi"}', "req.messages[1].content")
        self.assertEqual((status, out), (1, '"How do I reset my VPN token?"\n'))
        self.assertIn("prompt", err)
        self.assertIn("anonymous", self.bad('.load {prompt = "hi", tenant = "anonymos"}'))

    def test_undo_takes_the_last_change_back(self):
        out = self.good('.load {prompt = "a"}', '.load {prompt = "b"}', ".undo", "req.messages[1].content")
        self.assertTrue(out.endswith('"a"\n'))
        self.assertIn("nothing to undo", self.bad(".undo"))

    # -- the world

    def test_money_that_is_spent_changes_the_plan(self):
        out = self.good(".set budget tenant:anonymous/day 4.5", ".run", "_.plan[1].model", ".set budget")
        self.assertIn('"gpt-4.1-mini"\n', out)
        self.assertRegex(out, r"tenant:anonymous/day +\$4\.50\d+ of \$5 spent")

    def test_less_money_spent_than_before_begins_a_new_ground(self):
        out = self.good(".set budget global/day 45", ".run", ".set budget global/day 1", ".run", "_.plan[1].model")
        self.assertIn("the ground began anew", out)
        self.assertTrue(out.endswith('"gpt-4.1"\n'))

    def test_names_that_lead_nowhere_are_told_with_a_guess(self):
        self.assertIn('did you mean "openai"', self.bad(".mock opnai 429"))
        self.assertIn('did you mean "gpt-4.1"', self.bad(".breaker open gpt-41"))
        self.assertIn('did you mean "global/day"', self.bad(".set budget globl/day 1"))
        self.assertIn('did you mean "network"', self.bad(".mock openai netwrok"))
        self.assertIn('did you mean "metadata"', self.bad('.set metdata {tier = "gold"}'))
        self.assertIn('did you mean "budget"', self.bad(".set bugdet global/day 1"))

    def test_mocks_answer_in_turn_and_the_last_one_repeats(self):
        out = self.good('.mock gpt-4.1 429, ok "Sure." in 900ms', ".run", "#_.attempts", "_.reply", "_.attempts[2].latencyMs")
        self.assertTrue(out.endswith('2\n"Sure."\n900\n'), out)
        out = self.good(".mock openai timeout", ".mock openai off", ".mock")
        self.assertIn("nothing is mocked", out)

    def test_a_mock_of_a_provider_replaces_those_of_its_models(self):
        out = self.good(".mock gpt-4.1 500", '.mock openai "hi"', ".run", "_.reply")
        self.assertTrue(out.endswith('"hi"\n'), out)

    def test_a_breaker_opens_and_closes(self):
        out = self.good(".breaker open gpt-4.1", 'breaker.state("gpt-4.1")', ".breaker close gpt-4.1", 'breaker.state("gpt-4.1")')
        self.assertRegex(out, '(?s)"open".*"closed"')

    def test_time_passes_when_it_is_told_to(self):
        out = self.good("local a = now_ms()", ".clock +30s", "now_ms() - a")
        self.assertTrue(out.endswith("30000\n"), out)
        out = self.good(".breaker open gpt-4.1", ".clock +61s", 'breaker.state("gpt-4.1")')
        self.assertTrue(out.endswith('"half_open"\n'), out)

    def test_a_field_of_the_request_can_be_set_and_undone(self):
        out = self.good('.set metadata.tier "bronze"', "req.metadata.tier", ".undo", "req.metadata.tier")
        self.assertTrue(out.endswith('"bronze"\nundone: .set metadata.tier "bronze"\nnil\n'), out)

    def test_undo_brings_the_ground_back_too(self):
        out = self.good("x = stats.cost_usd('global/day')", ".run", ".undo", "stats.cost_usd('global/day') == x")
        self.assertTrue(out.endswith("true\n"), out)

    def test_a_seed_begins_a_new_ground_and_the_world_stays(self):
        out = self.good(".breaker open gpt-4.1", ".run", ".seed 9", 'breaker.state("gpt-4.1")', "stats.cost_usd('global/day')")
        self.assertTrue(out.endswith('"open"\n0.0\n'), out)

    # -- commands

    def test_doc_says_what_a_name_is(self):
        self.assertIn("prompt", self.good(".doc req.prompt_tokens"))
        self.assertIn("did you mean", self.bad(".doc rety"))

    def test_doc_knows_tables_by_the_names_that_the_guide_gives_them(self):
        for name, said in (("usage", "completion_tokens"), ("context_item", "pinned"), ("refusal", "retry_after_s")):
            self.assertRegex(self.good(f".doc {name}"), rf"^{name} \(a table\)\n(.*\n)*    {said} +\S")
        self.assertIn("message.role: neap.role", self.good(".doc message.role"))
        self.assertRegex(self.good(".doc play"), r"(?s)^play\(.*\nplay \(a table\)\n")

    def test_a_mistyped_command_is_told_with_a_guess(self):
        self.assertIn("did you mean .load", self.bad(".laod x"))

    def test_quit_and_exit_end_a_session(self):
        for word in (".quit", ".exit"):
            self.assertEqual(self.good("1", word, "2"), "1\n")
            self.assertEqual(self.good(text=f"1\n{word}\n2\n"), "1\n")

    def test_help_lists_the_commands_and_says_more_of_each(self):
        listed = self.good(".help")
        self.assertIn(".load", listed)
        for line in listed.split("\n"):
            self.assertLessEqual(len(line), 80, line)
        self.assertIn("example", self.good(".help run"))

    def test_a_saved_session_does_it_all_again(self):
        path = os.path.join(self.home, "saved")
        self.good("x = 20", '.load {prompt = "hi"}', f".save {path}")
        with open(path, encoding="utf-8") as f:
            self.assertEqual(f.read(), 'x = 20\n.load {prompt = "hi"}\n')

    def test_a_set_that_does_not_load_is_told_with_file_and_line(self):
        with open(os.path.join(self.policies, "route.lua"), "a", encoding="utf-8") as f:
            f.write("end end\n")
        status, out, err = self.session("1")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("route.lua:", err)


if __name__ == "__main__":
    main()

"""Policies that change while neap runs: all or nothing, in force within a second, nothing dropped."""

import os
import signal
import time

import case
import policies as sets
import procs
import stub
import wire

RESPOND = """
return function(_, reply)
  return {{ text = "{word}: " .. reply.text }}
end
"""


class Reload(case.Case):
    """Each test has a server and a set of its own, whose respond hook says a word."""

    def setUp(self):
        self.mock.control()
        self.files = sets.Policies(self.mock.url)
        self.files.provider("p", timeout_ms=30000)
        self.files.model("m", "p")
        self.files.endpoint("assistant", ["m"])
        self.edit("one")
        self.server = self.serve(self.files, env={"NEAP_TEST_KEY": "k"})
        self.addCleanup(self.server.stop)
        self.started = [self.server]
        self.first = self.running()

    def edit(self, word):
        self.files.files["respond.lua"] = RESPOND.format(word=word)
        self.files.write()

    def running(self):
        return self.server.status()["policy"]

    def word(self):
        return self.assertGood(self.server.ask("hello"))["text"].split(":")[0]

    def reloads(self, result):
        return self.server.metrics().get("neap_policy_reloads_total", result=result)

    # -- good edits

    def test_an_edited_file_is_in_force_within_a_second(self):
        self.assertEqual(self.word(), "one")
        worst = 0.0
        for i in range(5):
            began = time.monotonic()
            self.edit(f"edit{i}")
            self.assertTrue(procs.wait_for(lambda i=i: self.word() == f"edit{i}", 3))
            worst = max(worst, time.monotonic() - began)
        case.say(f"an edit was in force after {worst * 1000:.0f} ms at most")
        self.assertLess(worst, 1.0)
        self.assertNotEqual(self.running(), self.first)
        self.assertEqual(self.server.metrics().get("neap_policy_info", version=self.running()), 1)

    def test_an_edit_in_place_by_an_editor_that_truncates_is_taken_too(self):
        with open(os.path.join(self.files.path, "respond.lua"), "w", encoding="utf-8") as f:
            f.write(RESPOND.format(word="in place"))
        self.assertTrue(procs.wait_for(lambda: self.word() == "in place", 3))

    def test_a_new_library_and_a_removed_hook_are_taken(self):
        self.files.put("lib/words.lua", 'return { word = "shared" }\n')
        self.files.files["respond.lua"] = (
            'local words = require "lib.words"\n'
            "return function() return { text = words.word } end\n"
        )
        self.files.write()
        self.assertTrue(procs.wait_for(lambda: self.word() == "shared", 3))
        self.files.put("lib/words.lua", 'return { word = "changed" }\n')
        self.assertTrue(procs.wait_for(lambda: self.word() == "changed", 3))
        self.files.remove("respond.lua")
        self.assertTrue(procs.wait_for(lambda: self.word() == "this is m", 3))

    def test_the_admin_call_waits_and_says_what_came_of_it(self):
        self.edit("two")
        reply = self.server.reload()
        self.assertEqual(reply.status, 200)
        got = reply.json()
        self.assertIn(got["result"], ("ok", "unchanged"))
        self.assertEqual(got["version"], self.running())
        self.assertEqual(self.word(), "two")
        again = self.server.reload().json()
        self.assertEqual(
            (again["result"], again["version"], again["problems"]),
            ("unchanged", got["version"], []),
        )

    def test_sighup_reloads(self):
        before = self.reloads("unchanged")
        self.server.signal(signal.SIGHUP)
        self.assertTrue(procs.wait_for(lambda: self.reloads("unchanged") > before))
        self.assertTrue(self.server.running)

    def test_the_version_is_of_the_content_and_nothing_else(self):
        self.edit("two")
        self.server.reload()
        self.assertNotEqual(self.running(), self.first)
        self.edit("one")
        self.server.reload()
        self.assertEqual(self.running(), self.first)

    def test_editors_temporary_files_are_no_part_of_the_set(self):
        for name in (".respond.lua.swp", "respond.lua~", "4913", "#respond.lua#", "x.tmp"):
            self.files.put(name, "not lua at all (")
        self.assertEqual(self.server.reload().json()["result"], "unchanged")

    # -- bad edits

    def check_rejected(self, file, line, words):
        reply = self.server.reload()
        self.assertEqual(reply.status, 422, reply)
        got = reply.json()
        self.assertEqual(got["result"], "rejected")
        self.assertEqual(got["version"], self.first)
        problem = next(p for p in got["problems"] if p["severity"] == "error")
        self.assertEqual((problem["file"], problem["line"]), (file, line), got)
        self.assertIn(words, problem["text"])
        self.assertRegex(problem["code"], r"^N\d{3}$")
        self.assertEqual(self.running(), self.first)
        self.assertEqual(self.word(), "one")
        self.assertGreater(self.reloads("rejected"), 0)
        self.assertLogged(rf"error policies rejected.*{file}:{line}: ")
        states = self.server.admin("GET", "/api/policies").json()["generations"]
        rejected = next(g for g in states if g["state"] == "rejected")
        self.assertIn(f"{file}:{line}", rejected["error"])
        self.assertEqual(self.server.admin("GET", "/readyz").status, 200)

    def test_a_syntax_error_leaves_the_old_set_running(self):
        self.files.put("respond.lua", "return function()\n  return {\nend\n")
        self.check_rejected("respond.lua", 3, "near 'end'")

    def test_a_hook_that_is_no_function_leaves_the_old_set_running(self):
        self.files.put("respond.lua", "return 7\n")
        reply = self.server.reload()
        self.assertEqual(reply.status, 422)
        self.assertEqual(reply.json()["problems"][0]["file"], "respond.lua")
        self.assertEqual(self.word(), "one")

    def test_a_name_that_leads_nowhere_is_told_with_a_guess(self):
        self.files.put(
            "endpoints.lua",
            'return {\n  ["/api/assistant/reply"] = {\n    models = { "mm" },\n  },\n}\n',
        )
        self.check_rejected("endpoints.lua", 3, "mm")

    def test_an_unknown_key_is_told_with_a_guess(self):
        self.files.put(
            "endpoints.lua",
            'return {\n  ["/api/assistant/reply"] = {\n    models = { "m" },\n'
            "    deadline_sm = 100,\n  },\n}\n",
        )
        self.check_rejected("endpoints.lua", 4, "deadline_ms")

    def test_an_unknown_file_is_an_error(self):
        self.files.put("responde.lua", "return function() end\n")
        reply = self.server.reload()
        self.assertEqual(reply.status, 422)
        self.assertEqual(reply.json()["problems"][0]["file"], "responde.lua")

    def test_a_missing_key_is_an_error_by_name(self):
        self.files.providers["p"]["api_key"] = sets.env("NEAP_NO_SUCH_KEY")
        self.files.write()
        reply = self.server.reload()
        self.assertEqual(reply.status, 422)
        self.assertIn("NEAP_NO_SUCH_KEY", reply.json()["problems"][0]["text"])

    def test_a_set_that_was_put_right_is_taken(self):
        self.files.put("respond.lua", "return {\n")
        self.assertEqual(self.server.reload().status, 422)
        self.edit("right")
        self.assertEqual(self.server.reload().status, 200)
        self.assertEqual(self.word(), "right")
        states = [g["state"] for g in self.generations()]
        self.assertNotIn("rejected", states)

    def generations(self):
        return self.server.admin("GET", "/api/policies").json()["generations"]

    # -- tests of the set

    def test_a_set_whose_test_fails_is_rejected_at_the_place_of_the_failure(self):
        self.files.files["respond.lua"] = RESPOND.format(word="two")
        self.files.files["respond_test.lua"] = (
            'test("the_word_is_one", function()\n'
            '  local run = play { request = { prompt = "hi" }, providers = { m = "x" } }\n'
            '  expect(run.text, "one: x")\n'
            "end)\n"
        )
        self.files.write()
        self.check_rejected("respond_test.lua", 3, 'the test "the_word_is_one" fails')
        self.edit("one")
        self.assertEqual(self.server.reload().json()["result"], "ok")
        self.assertEqual(self.word(), "one")

    def test_an_endless_test_is_stopped_and_the_next_reload_is_served(self):
        self.files.put("x_test.lua", 'test("endless", function()\n  while true do end\nend)\n')
        self.check_rejected("x_test.lua", 2, 'the test "endless" fails')
        self.files.put("x_test.lua", 'test("short", function() expect(1, 1) end)\n')
        self.assertEqual(self.server.reload().status, 200)

    # -- generations

    def test_a_request_in_flight_finishes_on_its_generation(self):
        self.mock.control(m={"first_ms": 700, "total_ms": 700, "text": "slow"})
        with self.server.conn() as conn:
            conn.send(wire.request(body={"prompt": "a"}))
            self.assertTrue(procs.wait_for(lambda: self.mock.calls()["open"] > 0))
            self.edit("two")
            self.assertEqual(self.server.reload().status, 200)
            self.assertNotEqual(self.running(), self.first)
            got = self.assertGood(conn.reply(), text="one: slow")
        self.assertEqual(got["policy"], self.first)
        self.assertEqual(self.server.decision(got["requestId"])["policy"], self.first)
        self.mock.control()
        self.assertEqual(self.word(), "two")

    def test_the_last_five_generations_are_kept(self):
        for i in range(6):
            self.edit(f"g{i}")
            self.assertEqual(self.server.reload().status, 200)
        rows = self.generations()
        self.assertEqual([g["state"] for g in rows], ["running"] + ["kept"] * 4)
        self.assertEqual(rows[0]["version"], self.running())
        self.assertTrue(all(g["loadedAt"].endswith("Z") and g["error"] is None for g in rows))

    def rollback(self):
        return self.server.admin("POST", "/api/policies/rollback")

    def test_an_operator_rolls_back(self):
        self.edit("two")
        self.server.reload()
        second = self.running()
        reply = self.rollback()
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.json()["result"], "rolled_back")
        self.assertEqual(reply.json()["version"], self.first)
        self.assertEqual(self.word(), "one")
        self.assertEqual(self.reloads("rolled_back"), 1)
        self.assertEqual(self.server.reload().status, 422)
        self.assertEqual((self.word(), self.running()), ("one", self.first))
        self.edit("three")
        self.assertEqual(self.server.reload().status, 200)
        self.assertNotIn(self.running(), (self.first, second))
        self.assertEqual(self.word(), "three")

    def test_there_may_be_nothing_to_go_back_to(self):
        reply = self.rollback()
        self.assertEqual(reply.status, 422)
        self.assertEqual(self.word(), "one")

    # -- what a reload keeps

    def test_breakers_and_budgets_carry_on(self):
        self.files.providers["p"]["breaker"] = {"failures": 2, "rate": 0}
        self.files.endpoints[wire.REPLY]["max_attempts"] = 1
        self.files.budgets = [{"account": "global", "window": "none", "limit_usd": 5}]
        self.files.write()
        self.assertEqual(self.server.reload().status, 200)
        self.word()
        spent = self.server.admin("GET", "/api/budgets").json()["budgets"][0]["spentUsd"]
        self.assertGreater(spent, 0)
        self.mock.control(m={"status": 500, "first_ms": 1, "total_ms": 1})
        for _ in range(2):
            self.server.ask("hello")
        self.assertDegraded(self.server.ask("hello"), "breaker")
        self.edit("two")
        self.server.reload()
        self.assertDegraded(self.server.ask("hello"), "breaker")
        budgets = self.server.admin("GET", "/api/budgets").json()["budgets"]
        self.assertEqual(budgets[0]["spentUsd"], spent)

    def test_a_key_in_a_file_is_read_again_at_each_reload(self):
        provider = stub.Stub(lambda call: stub.reply(stub.openai("x")))
        self.addCleanup(provider.stop)
        self.files.put(".key", "sk-old-0123456789\n")
        self.files.providers["p"].update(
            base_url=provider.url, api_key=sets.file(os.path.join(self.files.path, ".key"))
        )
        self.files.write()
        self.assertEqual(self.server.reload().status, 200)
        self.word()
        self.files.put(".key", "sk-new-0123456789\n")
        self.assertEqual(self.server.reload().status, 200)
        self.word()
        keys = [call.get("Authorization") for call in provider.calls]
        self.assertEqual(keys, ["Bearer sk-old-0123456789", "Bearer sk-new-0123456789"])

    def test_tenants_that_appear_need_keys_and_open_the_gate(self):
        self.assertEqual(self.server.ask("a", host="app.example").status, 403)
        self.files.tenants = {"acme": {"keys": ["sha256:" + "ab" * 32]}}
        self.files.write()
        self.assertEqual(self.server.reload().status, 200)
        self.assertError(self.server.ask("a"), 401, "unauthorized")
        self.assertError(self.server.ask("a", host="app.example"), 401, "unauthorized")


if __name__ == "__main__":
    case.main()

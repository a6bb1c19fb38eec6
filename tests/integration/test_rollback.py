"""Policies that are taken back: by an operator, or by themselves when their hooks err; and what the
list of generations says of it."""

import hashlib
import os

import case
import policies as sets
import procs
import stub
import wire

GOOD = 'return function() return {{ "m" }}, "{word}" end\n'
BAD = 'return function(req) error("broken: {word}") end\n'
# Errs for prompts that say so.
SOME = 'return function(req) if req.messages[1].content == "bad" then error("{word}") end end\n'


class Rollback(case.Case):
    """Each test has a server and a set of its own, whose route hook says a word as its why."""

    def setUp(self):
        self.mock.control()
        self.files = sets.Policies(self.mock.url)
        self.files.provider("p")
        self.files.model("m", "p")
        self.files.endpoint("assistant", ["m"])
        self.edit("one")
        self.server = self.serve(self.files, env={"NEAP_TEST_KEY": "k"})
        self.addCleanup(self.server.stop)
        self.started = [self.server]
        self.first = self.running()

    def edit(self, word, text=GOOD):
        self.files.files["route.lua"] = text.format(word=word)
        self.files.write()

    def put(self, word, text=GOOD):
        """Edits, and has it taken; its version."""
        self.edit(word, text)
        reply = self.server.reload()
        self.assertEqual(reply.status, 200, reply)
        return reply.json()["version"]

    def running(self):
        return self.server.status()["policy"]

    def why(self):
        """What the route hook gave as its why."""
        record = self.server.decision(self.server.ask("hello"))
        return next(h.get("why") for h in record["hooks"] if h["name"] == "route")

    def ask(self, n, prompt="hello"):
        with self.server.conn() as conn:
            for _ in range(n):
                self.assertEqual(conn.ask(body={"prompt": prompt}).status, 200)

    def generations(self):
        return self.server.admin("GET", "/api/policies").json()["generations"]

    def generation(self, state):
        return next((g for g in self.generations() if g["state"] == state), None)

    def reloads(self, result):
        return self.server.metrics().get("neap_policy_reloads_total", result=result)

    def await_first(self):
        self.assertTrue(procs.wait_for(lambda: self.running() == self.first, 10))

    # -- by itself

    def test_hooks_that_err_are_taken_back_and_not_tried_again_until_they_change(self):
        self.ask(20)
        bad = self.put("two", BAD)
        self.ask(250)
        self.await_first()
        self.assertEqual(self.reloads("rolled_back"), 1)
        line = self.assertLogged(f"error policies rolled back from={bad} to={self.first}")
        self.assertRegex(line, r"hooks failed in 2\d\d of 2\d\d calls, 2\d\d of them route")
        back = self.generation("rolled_back")
        self.assertEqual((back["version"], back["trigger"]), (bad, "errors"))
        self.assertIn("hooks failed in", back["error"])
        self.assertEqual(self.why(), "one")
        again = self.server.reload()
        self.assertEqual(again.status, 422)
        self.assertEqual(again.json()["problems"][0]["code"], "N151")
        self.ask(250)
        self.assertEqual(self.running(), self.first)
        self.put("three")
        self.assertEqual(self.why(), "three")

    def test_few_errors_few_calls_or_errors_as_before_change_nothing(self):
        self.put("two", SOME)
        self.ask(1, "bad")
        self.ask(210)
        few = self.put("three", BAD)
        self.ask(150)
        procs.wait_for(lambda: False, 1.5)
        self.assertEqual(self.running(), few)
        as_before = self.put("four", BAD)
        self.ask(250)
        procs.wait_for(lambda: False, 1.5)
        self.assertEqual(self.running(), as_before)
        self.assertEqual(self.reloads("rolled_back"), 0)

    def test_a_change_of_keys_does_not_end_the_trial(self):
        key = os.path.join(self.files.path, ".key")
        self.files.put(".key", "sk-old-0123456789\n")
        self.files.providers["p"]["api_key"] = sets.file(key)
        good = self.put("with a key")
        self.ask(10)
        bad = self.put("two", BAD)
        self.ask(100)
        self.files.put(".key", "sk-new-0123456789\n")
        self.assertEqual(self.server.reload().json()["result"], "ok")
        self.assertEqual(self.running(), bad)
        self.ask(150)
        self.assertTrue(procs.wait_for(lambda: self.running() == good, 10))

    # -- by an operator

    def rollback(self):
        return self.server.admin("POST", "/api/policies/rollback")

    def test_each_version_that_was_taken_back_stays_away(self):
        second = self.put("two")
        self.put("three")
        self.assertEqual(self.rollback().json()["version"], second)
        self.edit("two")
        self.assertEqual(self.server.reload().json()["result"], "unchanged")
        self.assertEqual(self.rollback().json()["version"], self.first)
        for word in ("two", "three"):
            self.edit(word)
            self.assertEqual(self.server.reload().json()["problems"][0]["code"], "N151")
        self.put("four")
        self.put("three")

    def test_the_generation_that_comes_back_has_the_keys_of_now(self):
        provider = stub.Stub(lambda call: stub.reply(stub.openai("x")))
        self.addCleanup(provider.stop)
        key = os.path.join(self.files.path, ".key")
        self.files.put(".key", "sk-old-0123456789\n")
        self.files.providers["p"].update(base_url=provider.url, api_key=sets.file(key))
        self.put("with a key")
        self.ask(1)
        self.files.put(".key", "sk-new-0123456789\n")
        self.put("next")
        self.assertEqual(self.rollback().status, 200)
        self.ask(1)
        keys = [call.get("Authorization") for call in provider.calls]
        self.assertEqual(keys, ["Bearer sk-old-0123456789", "Bearer sk-new-0123456789"])

    # -- what is told

    def test_the_list_tells_what_came_of_each_generation(self):
        self.ask(3)
        self.put("two", SOME)
        self.ask(2, "bad")
        self.ask(5)
        self.files.put("route.lua", "return 7\n")
        self.assertEqual(self.server.reload().status, 422)
        rejected, running, kept = self.generations()
        self.assertEqual([rejected["state"], running["state"], kept["state"]],
                         ["rejected", "running", "kept"])
        self.assertEqual((kept["number"], kept["trigger"], kept["requests"]), (1, "start", 3))
        self.assertEqual(kept["hooks"], {"route": {"calls": 3, "errors": 0}})
        self.assertEqual((running["number"], running["requests"]), (2, 7))
        self.assertIn(running["trigger"], ("operator", "folder"))
        self.assertEqual(running["hooks"], {"route": {"calls": 7, "errors": 2}})
        self.assertIn("route.lua:1: a hook's file returns one function", rejected["error"])
        self.assertEqual(rejected["requests"], 0)

    def test_a_set_whose_tests_fail_at_the_start_runs_and_says_so(self):
        self.files.put("x_test.lua", 'test("never", function() expect(1, 2) end)\n')
        server = self.serve(self.files)
        self.addCleanup(server.stop)
        self.assertEqual(server.ask("hello").status, 200)

        def fault():
            rows = server.admin("GET", "/api/policies").json()["generations"]
            return rows[0]["error"]

        self.assertIn('the test "never" fails', procs.wait_for(fault) or "")
        self.assertIn("error tests of the running policies fail", server.log())


class Keys(case.Case):
    """Tenants' keys: in force at the next reload, and nobody is dropped."""

    OLD, NEW = "neap_old_key_0123456789", "neap_new_key_0123456789"

    @staticmethod
    def hash(key):
        return "sha256:" + hashlib.sha256(key.encode()).hexdigest()

    @classmethod
    def prepare(cls, policies):
        policies.provider("p", timeout_ms=30000)
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        policies.tenants = {"acme": {"keys": [cls.hash(cls.OLD)]}}

    def bearer(self, key):
        return [("Authorization", f"Bearer {key}")]

    def ask(self, key):
        return self.server.ask("hello", headers=self.bearer(key)).status

    def test_a_key_that_comes_or_goes_is_in_force_at_the_next_reload_and_nobody_is_dropped(self):
        self.assertEqual((self.ask(self.OLD), self.ask(self.NEW)), (200, 401))
        self.mock.control(m={"first_ms": 700, "total_ms": 700, "text": "slow"})
        with self.server.conn() as conn:
            conn.send(wire.request(body={"prompt": "a"}, headers=self.bearer(self.OLD)))
            self.assertTrue(procs.wait_for(lambda: self.mock.calls()["open"] > 0))
            self.policies.tenants["acme"]["keys"] = [self.hash(self.NEW)]
            self.policies.write()
            self.assertEqual(self.server.reload().json()["result"], "ok")
            self.mock.control()
            self.assertEqual((self.ask(self.OLD), self.ask(self.NEW)), (401, 200))
            self.assertGood(conn.reply(), text="slow")
            # The connection lives on; its next request needs the new key.
            self.assertEqual(conn.ask(body={"prompt": "a"}, headers=self.bearer(self.OLD)).status, 401)
            self.assertEqual(conn.ask(body={"prompt": "a"}, headers=self.bearer(self.NEW)).status, 200)


if __name__ == "__main__":
    case.main()

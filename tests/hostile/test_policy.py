"""Policies that do their worst (T25): the default decides, the process lives, and other requests hardly
notice.

ctest: serial"""

import time

import attacks
import case
import wire


class Hostile(attacks.Attacked):
    def test_every_attack_is_stopped_and_the_default_decides(self):
        hooks = attacks.HOOKS
        self.check_all([(kind, name, hooks[i % len(hooks)])
                        for i, (kind, name) in enumerate(attacks.ATTACKS)])

    def test_attacks_at_once_leave_the_process_alive(self):
        names = ("a loop", "rep in a loop", "gsub that calls C", "a cache of the file's")
        metadata = [{"hook": "admit", "kind": "endless", "attack": name} for name in names]
        replies = case.at_once(24, lambda i: self.server.ask(
            {"prompt": "a", "metadata": metadata[i % 4]}, timeout=30))
        self.assertEqual({reply.status for reply in replies}, {200})
        self.assertGreaterEqual(self.errors("admit"), 24)


class Load(case.Case):
    """Sets that do harm while they are loaded."""

    scenario = False

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    def test_a_file_that_never_ends_is_refused_and_the_old_set_goes_on(self):
        bodies = {
            "route.lua": "while true do end",
            "lib/x.lua": "while true do end",
            "models.lua": "while true do end",
            "endpoints.lua": 'local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end return t',
            "budgets.lua": "\x1bLua",
            "tenants.lua": "return " + "{" * 100000,
            "admit.lua": "return function() " + "x = 1 " * 100000 + " end",
        }
        for name, body in bodies.items():
            with self.subTest(name=name):
                old = self.policies.data().get(name)
                self.policies.put(name, body)
                if name.startswith("lib/"):
                    self.policies.put("route.lua", 'require "lib.x" return function() end')
                began = time.monotonic()
                reply = self.server.reload()
                took = time.monotonic() - began
                self.assertIn(reply.status, (200, 422) if name == "admit.lua" else (422,), reply)
                self.assertLess(took, 5)
                for changed in (name, "route.lua" if name.startswith("lib/") else None):
                    if changed and old is None:
                        self.policies.remove(changed)
                if old is not None:
                    self.policies.put(name, old)
                self.assertEqual(self.server.reload().status, 200)
        self.assertEqual(wire.ask(self.server.port, body={"prompt": "a"}).status, 200)


if __name__ == "__main__":
    case.main()

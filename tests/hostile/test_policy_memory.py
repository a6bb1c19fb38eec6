"""Hooks that run out of memory are alone with that: whoever comes next has a state of its own size."""

import os
import shutil
import tempfile
import threading

import attacks
import case
import procs
import stub

FILL = """
local kept = {}
return function(req)
  for _ = 1, req.metadata.fill or 0 do kept[#kept + 1] = ("x"):rep(350000) end
  for _ = 1, req.metadata.garbage or 0 do local _ = ("x"):rep(3900000) end
end
"""
ROUTE = 'return function(req) return { "good" }, ("y"):rep(100) end'

# What `neap test` says of the same.
TEST = """
test("the_next_hook_has_memory", function()
  local run
  for _ = 1, 12 do run = play({ request = { prompt = "hi", metadata = { fill = 4 } } }) end
  expect(run.hooks.admit[1].returned, "failed: memory")
  expect(run.hooks.route[1].returned, "good")
  expect(run.hooks.respond[1].returned, "nothing")
end)
"""

# Tests that keep the thread of reloads busy.
SLOW = """
test.each("spins", (function() local t = {} for i = 1, 300 do t[i] = i end return t end)(), function()
  for _ = 1, 900000 do end
end)
"""


class Filled(case.Case):
    scenario = False
    workers = 1

    @classmethod
    def prepare(cls, policies):
        policies.url = cls.own(stub.Stub(lambda call: stub.reply(stub.openai("the answer")))).url
        policies.provider("p")
        policies.model("good", "p")
        policies.endpoint("assistant", ["good"])
        policies.files["admit.lua"] = FILL
        policies.files["route.lua"] = ROUTE
        policies.files["respond.lua"] = "return function(req) return nil, #req.messages .. ' bytes' end"

    def failed(self):
        """Hooks that ran out of memory."""
        return self.server.metrics().get("neap_hook_errors_total", kind="memory")

    def memory(self, name):
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

    def ask(self, **metadata):
        return self.server.decision(self.server.ask({"prompt": "hi", "metadata": metadata}))


class Memory(Filled):
    def test_the_next_hook_of_the_request_has_memory_again(self):
        # Little by little, as a sanitizer makes it slow; with what is kept and 0.7 MB more it is full.
        for _ in range(80):
            returned = {hook["name"]: hook["returned"] for hook in self.ask(fill=1)["hooks"]}
            if returned["admit"] == "failed: memory":
                break
        self.assertEqual(returned, {"admit": "failed: memory", "route": "good", "respond": "nothing"})

    def test_it_is_the_same_in_a_test(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copytree(self.policies.path, os.path.join(folder, "set"))
            with open(os.path.join(copy, "memory_test.lua"), "w", encoding="utf-8") as file:
                file.write(TEST)
            status, out, err = procs.run("test", copy)
        self.assertEqual(status, 0, out + err)


class Dead(Filled):
    """While the thread that frees dead states has other work."""

    def reload(self):
        while not self.done.is_set():
            self.server.reload()

    def test_states_that_die_during_reloads_do_not_pile_up(self):
        self.policies.put("slow_test.lua", SLOW)
        self.done = threading.Event()
        reload = threading.Thread(target=self.reload)
        died, before = self.failed(), self.memory("VmRSS")
        reload.start()
        for _ in range(150):
            self.server.ask({"prompt": "hi", "metadata": {"garbage": 9}})
        died, most = self.failed() - died, self.memory("VmHWM") - before
        self.done.set()
        reload.join()
        case.say(f"{died:.0f} states died during reloads; memory grew by {most >> 20} MiB at most")
        if not attacks.SANITIZED:  # there most hooks run out of time first
            self.assertGreater(died, 50)
        self.assertLess(most, 700 << 20)


if __name__ == "__main__":
    case.main()

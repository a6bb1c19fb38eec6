"""The library of attacks (attacks.lua, attacks_c.lua) and the server that they are let loose on: a policy set whose
hooks each do what the request's metadata says, one worker, other requests going on all the time."""

import os
import re
import threading
import time

import case
import procs
import stub

HERE = os.path.dirname(os.path.abspath(__file__))

SOURCES = {}
for name in ("attacks", "attacks_c"):
    with open(os.path.join(HERE, f"{name}.lua"), encoding="utf-8") as file:
        SOURCES[f"lib/{name}.lua"] = file.read()

# With ASan each level that an error unwinds costs a pass over the whole stack: deep ones end late there,
# and there alone.
with open(procs.NEAP, "rb") as file:
    SANITIZED = b"__asan_init" in file.read()

# (kind, name) of each, in the order of the files.
ATTACKS = re.findall(r'^(endless|refused|harmless)\["(.+?)"\] = ', "\n".join(SOURCES.values()), re.MULTILINE)

HOOKS = ("admit", "route", "truncate", "budget", "retry", "respond", "degrade")

HOOK = """
local some, more = require "lib.attacks", require "lib.attacks_c"
return function(req, it)
  local m = req.metadata
  if m.hook == "%s" then return (some[m.kind][m.attack] or more[m.kind][m.attack])(req, it) end
end
"""

# What a request needs so that a hook is called.
CONTEXT = [{"id": f"k{i}", "text": "one two three four five " * 12, "priority": i} for i in range(6)]
NEEDS = {
    "truncate": ({"context": CONTEXT}, "cramped"),
    "retry": ({}, "stumbles"),
    "degrade": ({}, "gone"),
}

# How a hook's note in the decision record must end.
ENDS = {
    "endless": ("failed: time", "failed: memory"),
    "refused": ("failed: error", "failed: type", "failed: memory", "failed: time"),
    "harmless": ("nothing",),
}


class Attacked(case.Case):
    scenario = False
    workers = 1

    @classmethod
    def prepare(cls, policies):
        cls.stub = cls.own(stub.Stub(cls.handle))
        policies.url = cls.stub.url
        policies.provider("p")
        for model in ("good", "bad", "gone"):
            policies.model(model, "p")
        policies.model("small", "p", context=300)
        policies.endpoint("assistant", ["good", "bad"], max_tokens=64)
        policies.endpoint("cramped", ["small"], max_tokens=64)
        policies.endpoint("stumbles", ["gone", "good"], max_tokens=64)
        policies.endpoint("gone", ["gone"], max_tokens=64)
        policies.files.update(SOURCES)
        policies.files["templates/policy.txt"] = "{{reason}} for {{tenant}}\n"
        for hook in HOOKS:
            policies.hook(hook, HOOK % hook)

    @staticmethod
    def handle(call):
        if call.json()["model"] == "gone":
            return stub.reply({"error": {"message": "no such model", "type": "x"}}, 404)
        return stub.reply(stub.openai("the answer"))

    # -- one attack in one hook

    def attack(self, kind, name, hook):
        """Lets it loose. What was wrong with what came of it, or None; and the time that the hook took."""
        body, path = NEEDS.get(hook, ({}, "assistant"))
        metadata = {"hook": hook, "kind": kind, "attack": name}
        body = {"prompt": "%b" + "x" * 50, "metadata": metadata, **body}
        before, late = self.errors(hook), self.stalls()
        reply = self.server.ask(body, f"/api/{path}/reply", timeout=30)
        record = self.server.decision(reply)
        note = next(n for n in record["hooks"] if n["name"] == hook)
        fault = self.fault(kind, hook, reply, note["returned"], self.errors(hook) - before)
        if self.stalls() > late:
            self.late.append(f"{name} in {hook}")
            if not SANITIZED:
                fault = f"was stopped more than 20 ms late; {fault}"
        return fault, note["us"] / 1000

    def errors(self, hook):
        return self.server.metrics().get("neap_hook_errors_total", hook=hook)

    def stalls(self):
        """Hooks that were stopped late, by CPU time: it holds on a busy machine too."""
        return self.server.metrics().get("neap_hook_stall_total")

    @staticmethod
    def fault(kind, hook, reply, returned, errors):
        if returned not in ENDS[kind]:
            return f"ended with {returned!r}"
        if errors != (0 if kind == "harmless" else 1):
            return f"{errors} errors were counted"
        if reply.status != 200:
            return f"the reply is {reply.status}: {reply.body[:200]}"
        got = reply.json()
        if hook == "degrade":
            good = got["degraded"] and got["reason"] == "exhausted"
        else:
            good = got["text"] == "the answer" and not got["degraded"]
        return None if good else f"the default did not decide: {got}"

    def check_all(self, runs):
        """Every (kind, name, hook) of runs, while others ask."""
        faults, slowest, kinds = [], (0.0, ""), set()
        self.late = []
        others = Others(self.server)
        for kind, name, hook in runs:
            others.name = f"{name} in {hook}"
            fault, ms = self.attack(kind, name, hook)
            kinds.add((kind, name))
            if not self.server.running:
                self.fail(f"the process ended: {name} in {hook}")
            if fault:
                faults.append(f"{name} in {hook}: {fault}")
            slowest = max(slowest, (ms, f"{name} in {hook}"))
        others.end()
        metrics = self.server.metrics()
        case.say(f"{len(kinds)} attacks in {len(runs)} runs; the longest hook took {slowest[0]:.1f} ms "
                 f"({slowest[1]})")
        case.say(f"{len(others.waits)} other requests: {others.text()}")
        case.say(f"stopped more than 20 ms late: {len(self.late)} {self.late}")
        self.assertEqual(faults, [], "\n".join(faults))
        self.assertLessEqual(len(self.late), len(runs) // 20)
        self.assertEqual(others.faults, [])
        self.assertEqual(metrics.get("neap_budget_reserved_usd"), 0)
        self.assertEqual(self.server.status()["inflight"], 0)


class Others:
    """Requests that have nothing to do with the attacks, on two connections."""

    def __init__(self, server):
        self.server = server
        self.name = ""
        self.waits, self.faults = [], []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(2)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        with self.server.conn() as conn:
            while not self.stop.is_set():
                reply = conn.ask(body={"prompt": "hello", "metadata": {}})
                self.waits.append((reply.ms, self.name))
                if reply.status != 200 or reply.json()["text"] != "the answer":
                    self.faults.append(f"{self.name}: {reply}")
                time.sleep(0.003)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.waits.sort()

    def text(self):
        ms = [w for w, _ in self.waits]
        return (f"p50 {ms[len(ms) // 2]:.1f} ms, p99 {ms[len(ms) * 99 // 100]:.1f} ms, "
                f"most {ms[-1]:.1f} ms ({self.waits[-1][1]})")

"""The library of attacks (attacks.lua, attacks_c.lua) and the server that they are let loose on: a policy set whose
hooks each do what the request's metadata says, one worker, other requests going on all the time. How long the
worker keeps them waiting is told by pulse.c; unit.script.attacks tells how long each hook takes by its CPU clock."""

import os
import re
import subprocess
import tempfile
import threading
import time

import case
import procs
import stub
import wire

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

# No other request may have to wait longer for the worker; where a sanitizer is at work it is only told.
LATE_MS = 20

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

    def let_loose(self, runs, others=None):
        """What was wrong with every (kind, name, hook) of runs, the longest hook, and who kept the worker from
        others for how long: [(ms, name)], the longest first."""
        faults, slowest, windows = [], (0.0, ""), []
        pulse = Pulse(self.server)
        for kind, name, hook in runs:
            title = f"{name} in {hook}"
            if others:
                others.name = title
            began = time.time()
            fault, ms = self.attack(kind, name, hook)
            windows.append((began, time.time(), (kind, name, hook)))
            if not self.server.running:
                self.fail(f"the process ended: {title}")
            if fault:
                faults.append(f"{title}: {fault}")
            slowest = max(slowest, (ms, title))
        return faults, slowest, pulse.end(windows)

    def check_all(self, runs):
        """Every (kind, name, hook) of runs, while others ask."""
        self.late = []
        others = Others(self.server)
        faults, slowest, waits = self.let_loose(runs, others)
        others.end()
        metrics = self.server.metrics()
        case.say(f"{len({run[:2] for run in runs})} attacks in {len(runs)} runs; the longest hook took "
                 f"{slowest[0]:.1f} ms on a clock that goes on while others run ({slowest[1]})")
        case.say(f"{len(others.waits)} other requests, this client's own time included: {others.text()}")
        case.say("longest times in which the worker kept others waiting: " +
                 ", ".join(f"{ms:.1f} ms ({name} in {hook})" for ms, (_, name, hook) in waits[:4]))
        case.say(f"stopped more than 20 ms late: {len(self.late)} {self.late}")
        self.assertEqual(faults, [], "\n".join(faults))
        self.assertLessEqual(len(self.late), len(runs) // 20)
        self.assertEqual(others.faults, [])
        self.assertEqual(metrics.get("neap_budget_reserved_usd"), 0)
        self.assertEqual(self.server.status()["inflight"], 0)
        self.check_late({run for ms, run in waits if ms > LATE_MS})

    def check_late(self, runs):
        """Whoever kept the worker too long does so again and again, unless it was the machine."""
        for _ in range(2):
            if runs and not SANITIZED:
                _, _, waits = self.let_loose(sorted(runs))
                runs = {run for ms, run in waits if ms > LATE_MS}
                case.say(f"once more too long: {sorted(runs)}")
        self.assertTrue(SANITIZED or not runs, f"keep the worker too long: {sorted(runs)}")


class Pulse:
    """pulse.c at work on the server's only worker."""

    def __init__(self, server):
        self.folder = tempfile.TemporaryDirectory(prefix="neap-pulse-")
        program = os.path.join(self.folder.name, "pulse")
        source = os.path.join(HERE, "pulse.c")
        subprocess.run(["cc", "-std=c17", "-O2", "-o", program, source], check=True)
        pid = server.process.pid
        args = [program, str(server.port), str(pid), self.worker(pid, server.port)]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout))
        self.reader.start()

    @staticmethod
    def worker(pid, port):
        """The thread that answers is the one that runs meanwhile."""

        def ran():
            got = {}
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                    got[thread] = int(file.read().split()[0])
            return got

        before = ran()
        with wire.Conn(port) as conn:
            for _ in range(200):
                conn.ask("GET", "/nothing")
        after = ran()
        return max(after, key=lambda thread: after[thread] - before.get(thread, 0))

    def end(self, windows):
        """[(ms, what)] of all pulses of more than 1 ms, the longest first; windows: (begin, end, what)."""
        self.process.terminate()
        self.reader.join()
        self.process.stdout.close()
        status = self.process.wait()
        self.folder.cleanup()
        if status != 0 or int(self.lines[-1]) < len(windows):
            raise procs.Failed(f"pulse ended with status {status}: {self.lines[-3:]}")
        waits, at = [], 0
        for line in self.lines[:-1]:
            sent, ms, _ = map(float, line.split())
            while at < len(windows) - 1 and windows[at][1] < sent:
                at += 1
            waits.append((ms, windows[at][2]))
        return sorted(waits, reverse=True)


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

"""Canaries in thousands of requests (T36): the keys of clients, of a provider and of operators, what is asked
and answered, what else stands in the environment. Providers err in every way and quote what they were sent,
clients leave, policies fail to load, receivers refuse, the process is killed and crashes; nobody finds one.

ctest: labels long
ctest: timeout 600
"""

import glob
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import case
import policies as sets
import procs
import stub
import wire

CLIENT_KEY = "neap_CANARY_client_0123456789abcdef"
PROVIDER_KEY = "sk-CANARY-provider-0123456789abcdef"
ADMIN_TOKEN = "CANARY-admin-0123456789abcdef"
ENVIRONMENT = "CANARY-environment-0123456789abcdef"
PROMPT = "CANARY-prompt: my password is hunter2, said nobody"
REPLY = "CANARY-reply: the vault opens at noon, said somebody"
HOOK_PATH = "CANARY-webhook-0123456789abcdef"
COLLECTOR_KEY = "CANARY-collector-0123456789abcdef"
NAMES = {
    "the client's key": CLIENT_KEY,
    "the provider's key": PROVIDER_KEY,
    "the admin token": ADMIN_TOKEN,
    "the environment": ENVIRONMENT,
    "the prompt": PROMPT,
    "the reply": REPLY,
    "the webhook's path": HOOK_PATH,
    "the collector's key": COLLECTOR_KEY,
}
REQUESTS = 2700
NOBODY = 65534
CLIENTS = 8
PAGES = ("/metrics", "/", "/api/status", "/api/breakers", "/api/budgets", "/api/policies", "/api/alerts", "/api/slo",
         "/api/days", "/api/series", "/api/requests?limit=1000", "/healthz", "/readyz")
STATUSES = (200, 200, 200, 200, 400, 404, 413, 422, 429, 500, 503, 529, 302)
HELD = (401, 402, 403)  # after which a key is left alone: each by a provider of its own


def quoting(call):
    """An error that quotes all that it was sent."""
    key = call.get("Authorization") or call.get("x-api-key")
    return {"message": f"can't serve {key}: {call.body.decode(errors='replace')[:400]} ({PROMPT})", "type": "x"}


def stream_of(call):
    """A stream that ends well, breaks off, or ends in an error that quotes."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    piece = {"choices": [{"index": 0, "delta": {"content": REPLY}, "finish_reason": None}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    kind = call.nth % 3
    events = [piece, {"error": quoting(call)} if kind == 1 else end]
    text = "".join(f"data: {json.dumps(e)}\n\n" for e in events[: 1 if kind == 2 else 2])
    return head + (text + ("data: [DONE]\n\n" if kind == 0 else "")).encode()


def provider(call):
    model = call.json()["model"]
    if model.startswith("held"):
        return stub.reply({"error": quoting(call)}, int(model[4:]))
    if call.json().get("stream"):
        return stream_of(call)
    what = call.nth % (len(STATUSES) + 3)
    if what == len(STATUSES):
        return None
    if what == len(STATUSES) + 1:
        return stub.Stub.RESET
    if what == len(STATUSES) + 2:
        return stub.reply(f"{PROMPT} {call.get('Authorization')}".encode(), 200, content_type="text/html")
    status = STATUSES[what]
    return stub.reply(stub.openai(REPLY) if status == 200 else {"error": quoting(call)}, status)


class Secrets(case.Case):
    scenario = False

    @classmethod
    def prepare(cls, policies):
        cls.provider = cls.own(stub.Stub(provider))
        cls.webhook = cls.own(stub.Stub(lambda call: stub.reply({}, (200, 500)[call.nth % 2])))
        cls.collector = cls.own(stub.Stub(lambda call: stub.reply({}, (200, 200, 503)[call.nth % 3])))
        policies.url = cls.provider.url
        policies.provider("p", api_key=sets.env("CANARY_KEY"), breaker={"failures": 400, "open_ms": 200})
        policies.model("m", "p")
        policies.model("n", "p")
        policies.endpoint("assistant", ["m", "n"], max_attempts=3, deadline_ms=4000, slo={"error_rate": 0.001})
        policies.endpoint("once", ["m"], max_attempts=1, deadline_ms=4000)
        for status in HELD:
            policies.provider(f"held{status}", api_key=sets.env(f"CANARY_KEY_{status}"))
            policies.model(f"held{status}", f"held{status}")
            policies.endpoint(f"held{status}", [f"held{status}"])
        digest = hashlib.sha256(CLIENT_KEY.encode()).hexdigest()
        policies.tenants = {"acme": {"keys": ["sha256:" + digest]}}
        policies.budgets = [{"account": "tenant", "window": "day", "limit_usd": 5}]
        policies.alerts = {"sinks": [{"webhook": sets.env("CANARY_HOOK")}], "budget": [0.01], "burn": True,
                           "breaker": True, "reload": True, "p95_jump": 2.0, "daily_report": "00:00"}
        policies.hook("retry", "(req, attempt) return nil, 'it was ' .. attempt.class")
        policies.hook("respond", "(req, reply) if #req.attempts > 1 then error('respond failed') end")
        cls.state = tempfile.mkdtemp(prefix="neap-secrets-")
        cls.env = {"NEAP_ADMIN_TOKEN": ADMIN_TOKEN, "CANARY_KEY": PROVIDER_KEY, "CANARY_OTHER": ENVIRONMENT,
                   **{f"CANARY_KEY_{status}": PROVIDER_KEY for status in HELD},
                   "CANARY_HOOK": cls.webhook.url + "/" + HOOK_PATH,
                   "OTEL_EXPORTER_OTLP_ENDPOINT": cls.collector.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
                   "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={COLLECTOR_KEY}", "OTEL_BSP_SCHEDULE_DELAY": "300"}
        cls.flags = ("--state", cls.state)

    @classmethod
    def serve(cls, policies, **kw):
        return super().serve(policies, store="sqlite:neap.db", **kw)

    # --- asking

    def one(self, chance, n):
        """One request of one of many kinds; what its client read."""
        own = {"Authorization": f"Bearer {CLIENT_KEY}", "X-Request-Id": f"r{n}-{chance.random():.9f}"}
        path = chance.choice(("/api/assistant/reply", "/api/once/reply"))
        body = {"prompt": PROMPT, "metadata": {"note": PROMPT}, "system": PROMPT}
        kind = chance.randrange(12)
        if kind == 0:
            return self.server.ask(body, path, {"Authorization": f"Bearer {CLIENT_KEY}-not"})
        if kind == 1:
            return self.server.ask({**body, "promt": PROMPT}, path, own)
        if kind == 2:
            return self.server.ask(f'{{"prompt": "{PROMPT}", }}'.encode(), path, own)
        if kind == 3:
            return self.server.admin("GET", "/api/status", {"Authorization": f"Bearer {CLIENT_KEY}"}, token=False)
        if kind == 4:
            conn = self.server.conn()
            conn.send(wire.request(path=path, body=body, headers=own))
            conn.reset() if n % 2 else conn.close()
            return None
        if kind in (5, 6):
            conn = self.server.conn()
            stream = self.server.stream(body, path, own, conn=conn)
            if stream.get("Content-Type") == "text/event-stream":
                stream.follow(deltas=1 if kind == 6 else None)
            conn.close()
            return stream.head
        return self.server.ask(body, path, own)

    def ask_many(self, n, seed):
        """n requests from some clients at once; hits in what they read."""

        def client(number):
            chance = random.Random(seed * 100 + number)
            hits = []
            for i in range(n // CLIENTS):
                try:
                    reply = self.one(chance, number * 10000 + i)
                except (OSError, wire.Cut):
                    continue
                text = repr(reply)
                hits += [(name, "a reply") for name, canary in NAMES.items()
                         if canary in text and name not in ("the prompt", "the reply")]
            return hits

        return sum(case.at_once(CLIENTS, client), [])

    # --- looking

    def written(self):
        """All that this life of the server has said and left behind."""
        said = {name: self.server.read(name) for name in ("neap.log", "decisions", "stderr", "stdout")}
        for path in PAGES:
            said[path] = self.server.admin("GET", path).body.decode(errors="replace")
        said["without a token"] = repr(self.server.admin("GET", "/metrics", token=False).body)
        admin = ("--admin", f"127.0.0.1:{self.server.admin_port}")
        for command in (("status",), ("status", "--json"), ("explain", "r1000")):
            said[" ".join(command)] = repr(procs.run(*command, *admin, env={"NEAP_ADMIN_TOKEN": ADMIN_TOKEN}))
        said["webhooks"] = repr([call.body for call in self.webhook.calls])
        said["the collector"] = repr([call.body for call in self.collector.calls])
        said["/proc"] = Path(f"/proc/{self.server.process.pid}/cmdline").read_text(encoding="utf-8")
        return said

    def kept(self):
        said = {}
        for path in glob.glob(os.path.join(self.state, "**"), recursive=True):
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    said[path] = f.read().decode(errors="replace")
        return said

    @staticmethod
    def hits(said):
        return [(name, place) for place, text in said.items() for name, canary in NAMES.items() if canary in text]

    # --- the test

    def life(self, n, seed, end):
        """One life of the server; hits in it."""
        hits = self.ask_many(n, seed)
        for status in HELD:
            own = {"Authorization": f"Bearer {CLIENT_KEY}"}
            self.server.ask({"prompt": PROMPT}, f"/api/held{status}/reply", own)
        self.server.policies.put("broken.lua", f"-- {PROMPT}\nreturn {{\n")
        self.server.reload()
        self.server.policies.remove("broken.lua")
        self.server.reload()
        self.assertTrue(procs.wait_for(lambda: self.webhook.calls and self.collector.calls, 25), "nothing was sent")
        said = self.written()
        self.served += said["neap.log"].count(" info request ")
        hits += self.hits(said)
        if end:
            self.server.signal(end)
            self.server.process.wait()
            hits += self.hits({"stderr at the end": self.server.read("stderr")})
            self.server.process = None
        return hits + self.hits(self.kept())

    def test_nobody_finds_a_canary(self):
        self.served, hits = 0, []
        for number, end in enumerate((signal.SIGKILL, signal.SIGABRT, None)):
            if number:
                type(self).server = self.own(self.serve(self.policies))
            hits += self.life(REQUESTS // 3, number, end)
        case.say(f"{self.served} requests, {len(NAMES)} canaries, 3 lives: {len(hits)} hits")
        self.assertEqual(sorted(set(hits)), [])
        self.assertGreater(self.served, 2000)
        self.assertIn("****", self.server.read("decisions"))  # where a provider quoted
        self.assertIn(COLLECTOR_KEY, {call.get("x-key") for call in self.collector.calls})


class Core(case.Case):
    scenario = False

    def crash(self, folder, *args, env=()):
        """Starts a program that may leave cores, in a folder; gives it, running."""

        def unlimited():
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        out = open(os.path.join(folder, "out"), "wb")
        self.addCleanup(out.close)
        return subprocess.Popen(args, cwd=folder, env=procs.environment(env), stdout=out, stderr=out,
                                preexec_fn=unlimited)

    @staticmethod
    def cores(folder):
        return [name for name in os.listdir(folder) if name.startswith("core")]

    def running(self, user=None):
        """neap with a key, where it may leave a core; and that folder. By root: as another user."""
        folder = tempfile.mkdtemp()
        files = sets.Policies()
        files.provider("p", api_key=sets.env("CANARY_KEY"))
        files.model("m", "p")
        files.endpoint("assistant", ["m"])
        # The sanitizers' own handlers would end it by other means.
        env = {"CANARY_KEY": PROVIDER_KEY, "ASAN_OPTIONS": "handle_segv=0:handle_abort=0:disable_coredump=0"}
        program, policies = procs.NEAP, files.write().path
        if user is not None and os.geteuid() == 0:
            program = shutil.copy(program, folder)
            policies = shutil.copytree(policies, os.path.join(folder, "policies"))
            for path in (folder, *glob.glob(os.path.join(folder, "**"), recursive=True)):
                os.chown(path, user, user)
            program = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", program]
        process = self.crash(folder, *([program] if isinstance(program, str) else program), "serve", "--policies",
                             policies, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log", "log", env=env)
        log = Path(folder, "log")
        self.assertTrue(procs.wait_for(lambda: log.exists() and "info started" in log.read_text(encoding="utf-8"), 20))
        return process, folder

    def control(self, number):
        """Whether another program that dies so leaves a core here: else the tests prove little."""
        folder = tempfile.mkdtemp()
        code = f"import os; os.kill(os.getpid(), {int(number)})"
        self.assertEqual(self.crash(folder, sys.executable, "-c", code).wait(20), -number)
        return len(self.cores(folder))

    def test_a_crash_leaves_no_core_file(self):
        for number in (signal.SIGABRT, signal.SIGSEGV):
            process, folder = self.running()
            limits = Path(f"/proc/{process.pid}/limits").read_text(encoding="utf-8")
            self.assertRegex(limits, r"Max core file size +0 +0 ")
            process.send_signal(number)
            self.assertEqual(process.wait(20), -number)
            self.assertEqual(self.cores(folder), [])
            case.say(f"{number.name}: the control left {self.control(number)} core files here, neap none")

    def test_nor_may_a_program_that_cores_are_piped_to_have_one(self):
        """No limit holds such a one back, but that the process is not dumpable: then what is its own user's in
        /proc belongs to root."""
        control = subprocess.Popen(["sleep", "60"], user=NOBODY if os.geteuid() == 0 else None)
        self.addCleanup(control.wait)
        self.addCleanup(control.kill)
        process, _ = self.running(NOBODY)
        user = NOBODY if os.geteuid() == 0 else os.geteuid()
        owners = [os.stat(f"/proc/{one.pid}/environ").st_uid for one in (control, process)]
        process.send_signal(signal.SIGSEGV)
        self.assertEqual(process.wait(20), -signal.SIGSEGV)
        self.assertEqual(owners, [user, 0])


if __name__ == "__main__":
    case.main()

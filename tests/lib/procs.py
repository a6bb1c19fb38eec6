"""The processes that tests start: `neap serve` and `neap mock`, on ports of their own."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import wire

SOURCE = os.environ.get("NEAP_SOURCE") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "..")
)
NEAP = os.environ.get("NEAP_BIN") or os.path.join(SOURCE, "build", "dev", "neap")

# What a sanitizer says when it has found something.
REPORTS = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|LeakSanitizer")
START_S = 20
STOP_S = 20


class Failed(Exception):
    """A process did not do what every process must."""


def environment(extra=()):
    """What a process gets: nothing of the caller's but what programs need to run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "TMPDIR", "LANG", "LC_ALL") or name.endswith("SAN_OPTIONS")
    }
    kept["NEAP_STORE"] = "memory:"  # no test leaves a ledger in the folder that it runs in
    # Where a sanitizer runs on a busy machine, more than a moment is no overload.
    kept["NEAP_MAX_WAIT_MS"] = "5000"
    kept.update(dict(extra))
    return {name: value for name, value in kept.items() if value is not None}


def run(*args, env=(), timeout=30, **kw):
    """A neap command that ends by itself: (exit status, standard output, standard error)."""
    done = subprocess.run(
        [NEAP, *args],
        env=environment(env),
        capture_output=True,
        timeout=timeout,
        text=True,
        check=False,
        **kw,
    )
    return done.returncode, done.stdout, done.stderr


def wait_for(what, seconds=20.0, pause=0.01):
    """Calls what until it gives something true; that, or the last thing it gave."""
    end = time.monotonic() + seconds
    while True:
        got = what()
        if got or time.monotonic() > end:
            return got
        time.sleep(pause)


class Process:
    """A running neap. Its output is kept in files of a folder of its own."""

    name = "neap"
    prefix = ()  # a command that becomes it

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="neap-test-")
        self.process = None

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def launch(self, args, env):
        with open(self.path("stdout"), "wb") as out, open(self.path("stderr"), "wb") as err:
            self.process = subprocess.Popen(
                [*self.prefix, NEAP, *args],
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def begin(self, args, env):
        """Launches it and waits until started() finds what it says then; it is gone when that
        fails."""
        self.launch(args, env)
        try:
            found = wait_for(self.started, START_S)
            if not found:
                raise Failed(f"{self.name} did not start\n{self.tail()}")
            return found
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def started(self):
        """A match of what tells that it runs; None while it does not."""
        raise NotImplementedError

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=STOP_S):
        """Its exit status; it is killed, and that is a failure, when it does not end."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"{self.name} did not end within {seconds} s\n{self.tail()}") from None

    def stop(self):
        """Ends it with SIGTERM; checks that it ended well and that no sanitizer complained."""
        if self.process is None:
            return
        try:
            if self.running:
                self.signal(signal.SIGTERM)
            status = self.wait()
            text = self.read("stderr") + self.read("stdout")
            if status != 0 or REPORTS.search(text):
                raise Failed(f"{self.name} ended with status {status}\n{self.tail(20000)}")
        finally:
            self.process = None
            shutil.rmtree(self.folder, ignore_errors=True)

    def tail(self, n=3000):
        parts = []
        for name in ("stdout", "stderr", "neap.log"):
            text = self.read(name)
            if text:
                parts.append(f"--- {self.name}: {name}\n{text[-n:]}")
        return "\n".join(parts)


class Mock(Process):
    """`neap mock`: the imitation providers."""

    name = "mock"

    def __init__(self, scenario=None):
        super().__init__()
        args = ["mock", "--listen", "127.0.0.1:0"]
        if scenario is not None:
            with open(self.path("scenario.lua"), "w", encoding="utf-8") as f:
                f.write(scenario)
            args += ["--scenario", self.path("scenario.lua")]
        found = self.begin(args, {})
        self.port = int(found.group(1))
        self.url = f"http://127.0.0.1:{self.port}"

    def started(self):
        if not self.running:
            raise Failed(f"mock ended at once\n{self.tail()}")
        return re.search(r"on port (\d+)", self.read("stdout"))

    def control(self, **models):
        """How models answer from now on; `every` stands for all. Replaces what was said before."""
        if "every" in models:
            models["*"] = models.pop("every")
        reply = wire.ask(self.port, "POST", "/control", {"models": models})
        if reply.status != 200:
            raise Failed(f"the mock refused: {reply}")

    def calls(self, model=None):
        """The counters, or one model's calls."""
        counters = wire.ask(self.port, "GET", "/calls").json()
        return counters["models"].get(model, 0) if model else counters

    def bill(self, *models):
        """What these models, or all, have charged in whole nano-dollars, at the scenario's prices."""
        bills = self.calls()["bills"]
        return sum(bill["nusd"] for name, bill in bills.items() if not models or name in models)


class Serve(Process):
    """`neap serve` on a policy folder."""

    name = "serve"

    def __init__(self, policies, env=(), flags=(), workers=2, ready=True, store="memory:", prefix=()):
        super().__init__()
        self.prefix = prefix
        self.policies = policies
        self.records = {}
        self.read_to = 0
        args = [
            *("serve", "--policies", policies.write().path),
            *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
            *("--workers", str(workers), "--store", store),
            *("--log", self.path("neap.log"), "--decisions", self.path("decisions")),
            *flags,
        ]
        self.token = dict(env).get("NEAP_ADMIN_TOKEN")
        found = self.begin(args, env)
        self.port, self.admin_port = int(found.group(1)), int(found.group(2))
        if ready and wait_for(lambda: self.admin("GET", "/readyz").status == 200) is not True:
            raise Failed("serve does not become ready")

    def started(self):
        if not self.running:
            raise Failed(f"serve ended at once\n{self.tail()}")
        log = self.read("neap.log") + self.read("stderr")
        return re.search(r"info started port=(\d+) admin_port=(\d+)", log)

    # -- asking

    def ask(self, body, path=wire.REPLY, headers=(), **kw):
        if isinstance(body, str):
            body = {"prompt": body}
        return wire.ask(self.port, "POST", path, body, headers, **kw)

    def stream(self, body, path=wire.REPLY, headers=(), conn=None):
        """A streamed answer, its head read; follow() reads on. Its connection ends with the caller's
        use of it."""
        if isinstance(body, str):
            body = {"prompt": body}
        return wire.Stream(conn or self.conn(), body, path, headers)

    def conn(self, **kw):
        return wire.Conn(self.port, **kw)

    def admin(self, method, path, headers=(), body=None, token=True):
        given = dict(headers)
        if method == "POST":
            given.setdefault("X-Neap-Admin", "1")
        if token and self.token:
            given.setdefault("Authorization", f"Bearer {self.token}")
        return wire.ask(self.admin_port, method, path, body, given)

    def status(self):
        return self.admin("GET", "/api/status").json()

    def metrics(self):
        return Metrics(self.admin("GET", "/metrics").body.decode())

    def reload(self):
        return self.admin("POST", "/api/policies/reload")

    # -- what it leaves behind

    def log(self):
        return self.read("neap.log")

    def decision(self, reply, seconds=20.0):
        """The decision record of a reply, or of a request id."""
        key = reply if isinstance(reply, str) else reply.get("X-Request-Id")
        record = wait_for(lambda: self.read_records().get(key), seconds)
        if record is None:
            raise Failed(f"there is no decision record of {key}")
        return record

    def read_records(self):
        with open(self.path("decisions"), "rb") as f:
            f.seek(self.read_to)
            data = f.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.read_to += len(whole)
        for line in whole.splitlines():
            record = json.loads(line)
            record["bytes"] = len(line) + 1
            self.records[record["requestId"]] = record
        return self.records


SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:\\.|[^"\\])*)"')


class Metrics:
    """What /metrics said."""

    def __init__(self, text):
        self.text = text
        self.samples = []
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, labels, value = SAMPLE.match(line).groups()
                self.samples.append((name, dict(LABEL.findall(labels or "")), float(value)))

    def get(self, name, **labels):
        """The sum of the samples of this name that have these labels."""
        wanted = {key: str(value) for key, value in labels.items()}.items()
        return sum(value for n, have, value in self.samples if n == name and wanted <= have.items())

    def has(self, name):
        return any(n == name for n, _, _ in self.samples)

"""The processes of the benchmark: the provider, the peers between it and the client, and the client.

Every process is pinned, gets the signal to end when this program dies, and is ended by its own id.
A peer that can't be had on this machine raises Missing; one that is there and does not work, Failed.
"""

import ctypes
import grp
import http.client
import json
import os
import pwd
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROVIDER_PATH = "/v1/chat/completions"
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


class Missing(Exception):
    """Not on this machine, or not able to do what the profile asks."""


class Failed(Exception):
    """There, but it did not start or did not answer right."""


class Cpus:
    """Where processes run: the measured server alone on one core, the rest on the others."""

    def __init__(self):
        free = sorted(os.sched_getaffinity(0))
        self.server = {free[0]}
        self.provider = {free[1]} if len(free) > 1 else {free[0]}
        self.client = {free[2]} if len(free) > 2 else self.provider
        self.shared = len(free) < 2

    def describe(self):
        if self.shared:
            return "one core only: server, client and provider share it"
        return "server on core %d, provider on core %d, client on core %d" % tuple(
            min(one) for one in (self.server, self.provider, self.client))


def start(command, cpus, log, env=None, pipes=False):
    """Starts a pinned process; its output goes to the file `log`, or stdin and stdout to pipes."""
    def prepare():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, cpus)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    with open(log, "ab") as out:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else out, stderr=out, bufsize=0, env=env,
            preexec_fn=prepare, start_new_session=True)


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def tail(log):
    with open(log, "rb") as file:
        return file.read()[-1500:].decode("utf-8", "replace").strip()


def wait_for_port(process, port, log):
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Failed("ended with status %d: %s" % (process.returncode, tail(log)))
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failed("does not listen after 10 s: " + tail(log))


def cpu_ns(pid):
    """CPU time of all threads that live. schedstat counts nanoseconds; stat, the fallback, ticks."""
    total = 0
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as file:
                total += int(file.read().split()[0])
    except FileNotFoundError:
        total = 0
    if total:
        return total
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 10**9 // os.sysconf("SC_CLK_TCK")


def rss_kb(pid):
    with open("/proc/%d/status" % pid) as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


class Provider:
    """upstream.c: answers at once, or after a delay; streams with so many chunks and such a gap."""

    def __init__(self, tools, temp, cpus, delay_ms, path=PROVIDER_PATH, stream=()):
        self.port = free_port()
        self.tools = tools
        log = os.path.join(temp, "provider-%d.log" % self.port)
        self.process = start(
            [os.path.join(tools, "upstream"), str(self.port), path,
             os.path.join(HERE, "data", "reply.json"), str(delay_ms), *map(str, stream)],
            cpus.provider, log)
        self.pid = self.process.pid
        wait_for_port(self.process, self.port, log)

    def stop(self):
        stop(self.process)


class Direct:
    """No server between client and provider: what the others' latency is measured against."""
    name = "direct"
    helpers = ()

    def __init__(self, _temp, _cpus, provider, profile):
        self.port, self.pid, self.speaks, self.path = provider.port, provider.pid, "openai", PROVIDER_PATH

    def stop(self):
        pass


class Nginx:
    """One nginx with one worker, which is the process that is measured."""
    name, what = "nginx", "proxy"
    helpers = ()

    def __init__(self, temp, cpus, provider, profile):
        self.port = free_port()
        self.path, self.speaks = PROVIDER_PATH, "openai"
        if profile == "streams":
            self.what = "stream"
        self.temp = os.path.join(temp, "%s-%d" % (self.name, self.port))
        os.mkdir(self.temp)
        nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if nginx is None:
            raise Missing("nginx is not installed")
        self.write_config(nginx, provider)
        log = os.path.join(self.temp, "log")
        self.process = start([nginx, "-e", "stderr", "-p", self.temp, "-c",
                              os.path.join(self.temp, "nginx.conf")], cpus.server, log)
        try:
            wait_for_port(self.process, self.port, log)
            self.pid = self.worker()
        except Failed:
            self.stop()
            raise

    def worker(self):
        pid = self.process.pid
        until = time.monotonic() + 5
        while time.monotonic() < until:
            with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
                children = file.read().split()
            if children:
                return int(children[0])
            time.sleep(0.02)
        raise Failed("has no worker process")

    def modules(self, _nginx):
        return ""

    def write_config(self, nginx, provider):
        me = pwd.getpwuid(os.getuid()).pw_name
        group = grp.getgrgid(os.getgid()).gr_name
        values = {
            "WHAT": self.what, "PORT": self.port, "UPSTREAM": provider.port, "TEMP": self.temp,
            "HERE": self.temp, "MODULES": self.modules(nginx),
            "USER": "user %s %s;" % (me, group) if os.geteuid() == 0 else "",
            "FILES": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        }
        for source, name in (("nginx.conf.in", "nginx.conf"), (self.what + ".inc",) * 2):
            with open(os.path.join(HERE, "nginx", source)) as file:
                text = re.sub(r"@([A-Z]+)@", lambda match: str(values[match.group(1)]), file.read())
            with open(os.path.join(self.temp, name), "w") as file:
                file.write(text)

    def stop(self):
        stop(self.process)


class NginxLua(Nginx):
    """nginx with lua-nginx-module, which makes neap's four decisions in gateway.lua."""
    name, what = "nginx-lua", "gateway"

    def __init__(self, temp, cpus, provider, profile):
        super().__init__(temp, cpus, provider, profile)
        if profile == "reply":
            self.path, self.speaks = "/api/assistant/reply", "neap"

    def modules(self, nginx):
        told = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=False).stderr
        found = re.search(r"--modules-path=(\S+)", told)
        folder = found.group(1) if found else "/usr/lib/nginx/modules"
        files = [os.path.join(folder, name) for name in ("ndk_http_module.so", "ngx_http_lua_module.so")]
        if not all(os.path.exists(file) for file in files):
            raise Missing("lua-nginx-module is not installed")
        shutil.copy(os.path.join(HERE, "nginx", "gateway.lua"), self.temp)
        return "\n".join("load_module %s;" % file for file in files)


class Neap:
    """neap with one worker, the policy set beside this file, all hooks."""
    name = "neap"
    # What is written down of requests, as flags: by default log lines, and records in memory.
    seeing = ()
    helpers = ()  # further processes that belong to it and are not measured
    binary = os.path.join(ROOT, "build", "release", "neap")

    def __init__(self, temp, cpus, provider, profile):
        if not os.access(self.binary, os.X_OK):
            raise Missing("there is no %s: build it, or name one with --neap" % os.path.relpath(self.binary, ROOT))
        self.port = free_port()
        self.path, self.speaks = PROVIDER_PATH, "openai"
        if profile != "pass":
            self.path, self.speaks = "/api/assistant/reply", "neap"
        temp = os.path.join(temp, "neap-%d" % self.port)
        shutil.copytree(os.path.join(HERE, "policies"), os.path.join(temp, "policies"))
        providers = os.path.join(temp, "policies", "providers.lua")
        with open(providers) as file:
            text = file.read()
        with open(providers, "w") as file:
            file.write(text.replace("127.0.0.1:9001", "127.0.0.1:%d" % provider.port))
        log = os.path.join(temp, "out")
        env = {name: value for name, value in os.environ.items() if not name.startswith("NEAP_")}
        env["NEAP_BENCH_KEY"] = "bench"
        env.update(self.collect(temp, cpus, provider))
        self.process = start(
            [self.binary, "serve", "--workers", "1", "--policies", os.path.join(temp, "policies"),
             "--store", "memory:",
             "--listen", "127.0.0.1:%d" % self.port, "--admin", "127.0.0.1:%d" % free_port(),
             "--log", os.path.join(temp, "log"),
             *(flag.replace("@TEMP@", temp) for flag in self.seeing)], cpus.server, log, env)
        self.pid = self.process.pid
        try:
            wait_for_port(self.process, self.port, log)
        except Failed:
            self.stop()
            raise

    def collect(self, temp, cpus, provider):
        """Starts what else is told of requests; the environment that names it."""
        return {}

    def stop(self):
        stop(self.process)
        for helper in self.helpers:
            helper.stop()


class NeapQuiet(Neap):
    """The same and nothing is written down: no line and no record of a request."""
    name = "neap-quiet"
    seeing = ("--log-level", "error", "--keep-records", "0")


class NeapSeen(Neap):
    """The same and everything is: log lines, records in memory and in a file, spans and metrics to collectors."""
    name = "neap-seen"
    seeing = ("--decisions", "@TEMP@/decisions")

    def collect(self, temp, cpus, provider):
        traces, metrics = (Provider(provider.tools, temp, cpus, 0, "/v1/" + signal) for signal in ("traces", "metrics"))
        self.helpers = (traces, metrics)
        # Room for what comes while the collector, which shares a core with the load, is not scheduled.
        return {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:%d/v1/traces" % traces.port,
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:%d/v1/metrics" % metrics.port,
                "OTEL_BSP_MAX_QUEUE_SIZE": "65536"}


PEERS = {peer.name: peer for peer in (Nginx, NginxLua, Neap, NeapQuiet, NeapSeen)}
# Those that are measured unless some are named.
USUAL = ("nginx", "nginx-lua", "neap")


def check_answer(peer, question):
    """Asks once and looks at every part of the answer that the load's marker can't vouch for."""
    with open(os.path.join(HERE, "data", "reply.json")) as file:
        provided = json.load(file)
    with open(question, "rb") as file:
        body = file.read()
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=10)
    try:
        connection.request("POST", peer.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    except OSError as error:
        raise Failed("does not answer: %s" % error) from error
    finally:
        connection.close()
    if answer.status == 404 and isinstance(peer, Neap) and peer.path == PROVIDER_PATH:
        raise Missing("does not serve " + PROVIDER_PATH)
    if answer.status != 200:
        raise Failed("answers %d: %s" % (answer.status, text[:500]))
    try:
        got = json.loads(text)
        if peer.speaks == "openai":
            right = got == provided
        else:
            usage = provided["usage"]
            right = (got["text"] == provided["choices"][0]["message"]["content"]
                     and got["degraded"] is False and got["finishReason"] == "stop"
                     and got["usage"]["promptTokens"] == usage["prompt_tokens"]
                     and got["usage"]["completionTokens"] == usage["completion_tokens"]
                     and abs(got["usage"]["costUsd"] - 0.0002556) < 1e-9)
    except (ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise Failed("gives a wrong answer: " + text[:500])


def check_stream(peer, question, chunks):
    """Asks for one stream: it must bring every chunk, and end as its kind does."""
    with open(question, "rb") as file:
        body = file.read()
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=30)
    try:
        connection.request("POST", peer.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise Failed("does not answer: %s" % error) from error
    finally:
        connection.close()
    last = '"finishReason":"stop"' if peer.speaks == "neap" else "data: [DONE]"
    if answer.status != 200 or text.count("tick") != chunks or last not in text:
        raise Failed("gives a wrong stream: %d %s" % (answer.status, text[-500:]))


class Client:
    """load.c with its connections to one peer, that stay open between windows; or streams.c."""

    def __init__(self, temp, cpus, command):
        self.log = os.path.join(temp, "client.log")
        self.process = start(command, cpus.client, self.log, pipes=True)
        self.pid = self.process.pid
        self.rest = b""

    def line(self, seconds):
        until = time.monotonic() + seconds
        while b"\n" not in self.rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Failed("the client says nothing: " + tail(self.log))
            chunk = os.read(self.process.stdout.fileno(), 4096)
            if not chunk:
                raise Failed("the client ended: " + tail(self.log))
            self.rest += chunk
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()

    def window(self, order, seconds, at_mark):
        """One window; calls at_mark() at its counted part's begin and end, and returns both results
        and what the client saw."""
        self.process.stdin.write((order + "\n").encode())
        if self.line(seconds + 15) != "begin":
            raise Failed("the client is out of step")
        first = at_mark()
        if self.line(seconds + 15) != "end":
            raise Failed("the client is out of step")
        last = at_mark()
        return first, last, json.loads(self.line(20))

    def stop(self):
        stop(self.process)

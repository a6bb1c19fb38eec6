"""The requests of test_smuggling.py through nginx and through haproxy, as neap stands behind them in
production (T21): none that is malformed is served on a connection that carries on, none that is good is
refused, and no proxy and neap disagree where a request ends.

A disagreement shows at once: the path of what follows a malformed request would be asked for on its own, or
another client would get the answer to it, so both are watched.

ctest: labels long
ctest: timeout 300
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile

import case
import procs
import test_smuggling as table
import wire

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream neap {{ server 127.0.0.1:{neap}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://neap; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host localhost; proxy_request_buffering off; proxy_buffering off;
    }}
  }}
}}
"""

HAPROXY = """
global
  maxconn 256
defaults
  mode http
  timeout connect 2s
  timeout client 4s
  timeout server 10s
  option http-keep-alive
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  http-reuse always
  http-request set-header Host localhost
  server neap 127.0.0.1:{neap}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Proxy:
    """A proxy in front of neap."""

    def __init__(self, command, config, neap):
        self.folder = tempfile.mkdtemp(prefix="neap-proxy-")
        os.chmod(self.folder, 0o755)
        self.port = free_port()
        path = os.path.join(self.folder, "config")
        with open(path, "w", encoding="utf-8") as f:
            f.write(config.format(folder=self.folder, port=self.port, neap=neap))
        self.process = subprocess.Popen(
            [word.format(config=path, folder=self.folder) for word in command],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not procs.wait_for(self.hears, 10):
            self.stop()
            raise procs.Failed(f"{command[0]} does not listen")

    def hears(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tail(self):
        return ""


class Behind:
    """Tests of neap behind a proxy: command and config say which."""

    workers = 1
    command = ()
    config = ""
    # What the proxy makes good before neap sees it, as RFC 9112 lets it: served, and nobody disagrees.
    made_good = ()

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            cls.proxy = cls.own(Proxy(cls.command, cls.config, cls.server.port))
        except BaseException:
            cls.stop_all()
            raise

    def replies(self, data):
        """What comes for these bytes: statuses and request ids, until nothing more does."""
        got = []
        with wire.Conn(self.proxy.port, timeout=1.5) as conn:
            conn.send(data)
            conn.closes(0.4)
            conn.socket.settimeout(1.5)
            while conn.buffer:
                try:
                    reply = conn.reply()
                except (wire.Cut, ValueError, IndexError, TimeoutError):
                    got.append((0, None))
                    break
                got.append((reply.status, reply.get("X-Request-Id")))
        return got

    def probe(self, name):
        """Whether an innocent request gets its own answer."""
        conn = wire.Conn(self.proxy.port)
        with conn:
            reply = conn.ask("GET", "/innocent", headers={"X-Request-Id": name})
        return reply.status == 404 and reply.get("X-Request-Id") == name

    def one(self, n, data):
        """The statuses for a request and for what follows it (negative: the first is the proxy's own), and
        what is wrong with that."""
        follower = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: smuggled-%04d\r\n\r\n" % n
        got = self.replies(data + follower)
        statuses = [status for status, _ in got]
        if statuses[:1] != [200] and got and got[0][1] is None:
            statuses[0] = -statuses[0]  # the proxy's own answer
        wrong = None
        if not all(self.probe(f"probe-{n}-{i}") for i in range(3)):
            wrong = "another client got the answer"
        elif f"smuggled-{n:04d}" in self.server.log() and f"smuggled-{n:04d}" not in [i for _, i in got]:
            wrong = "neap answered what the proxy did not ask"
        return statuses, wrong

    def test_what_is_malformed_is_not_served_alive_and_nobody_disagrees(self):
        served, wrongs = [], {}
        for n, (name, data) in enumerate(table.BAD.items()):
            statuses, wrong = self.one(n, data)
            if statuses[:1] == [200] and len(statuses) > 1:
                served.append(name)
            if wrong:
                wrongs[name] = f"{wrong}: {statuses}"
        left = [name for name in served if name not in self.made_good]
        case.say(f"{self.command[0]}: {len(table.BAD)} malformed requests: {len(left)} served on a connection that "
                 f"carries on, {len(wrongs)} disagreements; made good on the way: {', '.join(served) or 'none'}")
        self.assertEqual(wrongs, {})
        self.assertEqual(left, [])

    def test_what_is_good_is_served(self):
        refused, by_proxy = {}, []
        rows = {**table.GOOD, **table.ENDS}
        for n, (name, data) in enumerate(rows.items(), 1000):
            statuses, wrong = self.one(n, data)
            if name == "plain":
                self.assertIn(f"smuggled-{n:04d}", self.server.log(), "nothing would be noticed")
            if wrong or not statuses or (statuses[0] != 200 and statuses[0] > 0):
                refused[name] = (statuses, wrong)
            elif statuses[0] < 0:
                by_proxy.append(name)
        case.say(f"{self.command[0]}: {len(rows)} good requests: {len(refused)} refused by neap, "
                 f"{len(by_proxy)} by the proxy")
        self.assertEqual(refused, {})
        self.assertLessEqual(len(by_proxy), 2)


class Nginx(Behind, case.Case):
    command = ("nginx", "-c", "{config}", "-p", "{folder}")
    config = NGINX
    made_good = ("a header without a colon", "a byte over 0x7f in a name", "an absolute target")


class Haproxy(Behind, case.Case):
    command = ("haproxy", "-db", "-f", "{config}")
    config = HAPROXY
    made_good = ("two lengths that agree", "a list of lengths", "a folded length", "a folded coding",
                 "a folded header", "a coding hidden in a fold", "no host", "a tab in the line", "HTTP/2.0")


if __name__ == "__main__":
    case.main()

"""Clients that leave by ending their TLS session and keep the connection open until they hear the same, as some
libraries do when they are told to close: the provider's call ends as soon as when the connection closes. A client that
sends two odd bytes after its request, which look the same from outside in TLS 1.3, has not left."""

import ssl
import tempfile
import time

import case
import procs
import wire
from test_tls import connect, make_pair, read_reply

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
SCENARIO = """
return { models = {
  silent = { text = "late", first_ms = 60000, total_ms = 60000 },
  slow = { text = "soon", first_ms = 500, total_ms = 500 },
  flowing = { text = string.rep("word ", 800), first_ms = 20, total_ms = 60000 },
} }
"""


class TlsLeaving(case.Case):
    scenario = SCENARIO
    workers = 1

    @classmethod
    def prepare(cls, policies):
        policies.provider("p", first_token_timeout_ms=60000, idle_timeout_ms=60000, timeout_ms=60000)
        for name in ("silent", "slow", "flowing"):
            policies.model(name, "p")
            policies.endpoint(name, [name], deadline_ms=60000)
        cls.keep = tempfile.TemporaryDirectory(prefix="neap-tls-")
        cls.addClassCleanup(cls.keep.cleanup)
        cls.cert, key = make_pair(cls.keep.name, "leaving")
        cls.flags = ("--tls-cert", cls.cert, "--tls-key", key)

    def begin(self, model, version, stream):
        sock = connect(self.server.port, self.cert, version)
        self.addCleanup(sock.close)
        before = self.mock.calls(model)
        sock.sendall(wire.request(path=f"/api/{model}/reply", host="localhost",
                                  body={"prompt": "hi", "stream": stream}))
        self.assertTrue(procs.wait_for(lambda: self.mock.calls(model) > before))
        return sock

    def test_the_end_of_a_session_ends_the_call(self):
        worst = 0
        for version in VERSIONS:
            for model, stream in (("silent", False), ("silent", True), ("flowing", True)):
                with self.subTest(version=version, model=model, stream=stream):
                    sock = self.begin(model, version, stream)
                    if model == "flowing":
                        self.assertIn(b"200 OK", sock.recv(4096))
                    sock.setblocking(False)
                    began = time.monotonic()
                    try:
                        sock.unwrap()
                    except (ssl.SSLError, OSError):
                        pass  # it would wait for our end
                    closed = procs.wait_for(lambda: self.mock.calls()["open"] == 0, 5, 0.002)
                    worst = max(worst, time.monotonic() - began)
                    self.assertTrue(closed, "the provider's call goes on")
        case.say(f"the provider's calls ended after {worst * 1000:.0f} ms at most")

    def test_a_stray_end_of_line_is_no_end(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                sock = self.begin("slow", version, False)
                sock.sendall(b"\r\n")
                status, _, body = read_reply(sock)
                self.assertEqual(status, 200, body)


if __name__ == "__main__":
    case.main()

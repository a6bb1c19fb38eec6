"""TLS for clients: what is spoken and what is not (T35), files that can't be, and files that are
renewed while it runs. The scan by sslscan is short; test_tls_scan.py holds the long one."""

import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import case
import procs
import wire
from policies import Policies

SAN = "subjectAltName=DNS:localhost,IP:127.0.0.1"


def make_pair(folder, name, key="ec", days=30):
    """A self-signed certificate for localhost and its key; their paths."""
    cert, secret = (os.path.join(folder, f"{name}.{kind}.pem") for kind in ("cert", "key"))
    kind = {
        "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        "rsa": ["-newkey", "rsa:2048"],
    }[key]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, "-nodes", "-keyout", secret, "-out", cert]
        + ["-days", str(days), "-subj", f"/CN={name}", "-addext", SAN],
        check=True,
        capture_output=True,
    )
    return cert, secret


def connect(port, cert, version=None):
    """A TLS connection that trusts this certificate."""
    context = ssl.create_default_context(cafile=cert)
    if version:
        context.minimum_version = context.maximum_version = version
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    return context.wrap_socket(plain, server_hostname="localhost")


def read_reply(sock):
    """Status, head and body of a reply with a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise AssertionError(f"the connection ended in a head: {data!r}")
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    while len(body) < length:
        piece = sock.recv(65536)
        if not piece:
            raise AssertionError("the connection ended in a body")
        body += piece
    return int(head.split()[1]), head, body


def subject_of(sock):
    der = sock.getpeercert(binary_form=True)
    done = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", "-subject"],
        input=der,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip().split("=")[-1].strip()


class Tls(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], body_bytes=20000)
        cls.keep = tempfile.TemporaryDirectory(prefix="neap-tls-")
        cls.addClassCleanup(cls.keep.cleanup)
        cls.cert, cls.key = make_pair(cls.keep.name, "first")
        cls.flags = ("--tls-cert", cls.cert, "--tls-key", cls.key)

    def ask(self, sock, body=None):
        sock.sendall(wire.request(body=body or {"prompt": "hi"}, host="localhost"))
        return read_reply(sock)

    def test_both_versions_give_a_reply_on_a_connection_that_stays(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version), connect(
                self.server.port, self.cert, version
            ) as sock:
                for _ in range(3):
                    status, _, body = self.ask(sock)
                    self.assertEqual(status, 200, body)

    def test_older_versions_are_not_spoken(self):
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.server.port}", "-tls1_1"]
            + ["-cipher", "ALL:@SECLEVEL=0"],
            input=b"",
            capture_output=True,
            check=False,
            timeout=20,
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn(b"BEGIN CERTIFICATE", done.stdout)

    def test_a_second_handshake_is_an_error(self):
        with subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.server.port}", "-tls1_2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as client:
            time.sleep(1)
            client.stdin.write(b"R\n")
            client.stdin.flush()
            said = client.stdout.read()
        self.assertIn(b"Secure Renegotiation IS supported", said)
        self.assertIn(b"RENEGOTIATING", said)
        self.assertIn(b"no renegotiation", said)
        self.assertEqual(client.returncode, 1)
        with connect(self.server.port, self.cert) as sock:
            self.assertEqual(self.ask(sock)[0], 200)

    def test_plain_http_on_the_same_port_gets_nothing(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as sock:
            sock.sendall(wire.request(body={"prompt": "hi"}))
            answer = b""
            try:
                while piece := sock.recv(4096):
                    answer += piece
            except ConnectionError:
                pass
            self.assertNotIn(b"200 OK", answer)
        with connect(self.server.port, self.cert) as sock:
            self.assertEqual(self.ask(sock)[0], 200)

    def test_a_body_that_grows_too_large_is_told_so_inside_the_tls(self):
        with connect(self.server.port, self.cert) as sock:
            head = wire.request(body=b"x", host="localhost").split(b"Content-Length")[0]
            sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(20):
                    sock.sendall(b"1000\r\n" + b"a" * 4096 + b"\r\n")
            except (ConnectionError, ssl.SSLError):
                pass
            status, _, body = read_reply(sock)
            self.assertEqual(status, 413, body)

    def test_a_chunk_line_that_never_ends_is_refused_inside_the_tls(self):
        head = wire.request(body=b"x", host="localhost").split(b"Content-Length")[0]
        for line in (b"1;" + b"e" * 60000, b"0" * 60000):
            with self.subTest(line=line[:2]), connect(self.server.port, self.cert) as sock:
                began = time.monotonic()
                try:
                    sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + line)
                except (ConnectionError, ssl.SSLError):
                    pass
                try:
                    status = read_reply(sock)[0]
                except (ConnectionError, ssl.SSLError):
                    status = "reset"  # by libmicrohttpd 1.0, which refuses an extension itself
                case.say(f"a chunk line of 60 KB: {status} after {(time.monotonic() - began) * 1000:.0f} ms")
                self.assertIn(status, (400, 413, "reset") if line.startswith(b"1;") else (400, 413))

    def cpu_ticks(self):
        with open(f"/proc/{self.server.process.pid}/stat", encoding="ascii") as f:
            return sum(int(n) for n in f.read().rpartition(")")[2].split()[11:13])

    def test_what_is_slow_to_speak_is_ended_and_costs_nothing(self):
        """Within the patience for heads: 10 s, looked at every 2."""
        head = wire.request(body=b"x", host="localhost").split(b"Content-Length")[0]
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        plain = {"nothing": b"", "half a hello": hello, "a record that never comes": hello + b"\x00" * 100}
        used = wire.request("GET", "/nothing", host="localhost")
        inside = {"a handshake, and nothing": b"", "half a head": head,
                  "a chunk line that stands still": head + b"Transfer-Encoding: chunked\r\n\r\n1;eee",
                  "half a head behind a reply": used}
        socks = {}
        for name, data in plain.items():
            socks[name] = socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
            socks[name].sendall(data)
        trickling = socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
        for name, data in inside.items():
            socks[name] = connect(self.server.port, self.cert)
            socks[name].settimeout(30)
            if data:
                socks[name].sendall(data)
            if data == used:
                self.assertEqual(read_reply(socks[name])[0], 404)
                socks[name].sendall(head)
        began, ticks, ended = time.monotonic(), self.cpu_ticks(), {}

        def wait(name):
            try:
                while socks[name].recv(4096):
                    pass
            except OSError:
                pass
            ended[name] = time.monotonic() - began

        threads = [threading.Thread(target=wait, args=(name,)) for name in socks]
        for thread in threads:
            thread.start()
        for byte in hello + b"\x00" * 100:
            try:
                trickling.sendall(bytes([byte]))
                trickling.settimeout(0.25)
                if not trickling.recv(100):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        ended["a hello that trickles"] = time.monotonic() - began
        for thread in threads:
            thread.join()
        ticks = self.cpu_ticks() - ticks
        for sock in (trickling, *socks.values()):
            sock.close()
        case.say(f"slow to speak, ended after s: {', '.join(f'{k} {v:.1f}' for k, v in ended.items())}; {ticks} ticks of CPU")
        for name, seconds in ended.items():
            self.assertLess(seconds, 20, name)
            self.assertGreater(seconds, 5, name)
        self.assertLess(ticks, 150)

    def test_a_client_that_says_no_goodbye_is_one_that_left(self):
        with connect(self.server.port, self.cert) as sock:
            self.assertEqual(self.ask(sock)[0], 200)
            sock.sendall(wire.request(body={"prompt": "hi"}, host="localhost"))
            self.assertEqual(read_reply(sock)[0], 200)
            raw = sock.detach()
        os.close(raw)
        self.assertTrue(procs.wait_for(lambda: self.server.metrics().get("llm_inflight") == 0))
        with connect(self.server.port, self.cert) as sock:
            self.assertEqual(self.ask(sock)[0], 200)

    def test_many_bodies_and_large_ones_come_whole(self):
        with connect(self.server.port, self.cert) as sock:
            for n in (1, 1000, 15000, 19000):
                status, _, body = self.ask(sock, {"prompt": "x" * n})
                self.assertEqual(status, 200, body)

    def test_a_client_that_leaves_in_the_handshake_or_after_it_hurts_nobody(self):
        for garbage in (b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01" + b"\xff" * 600):
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as sock:
                sock.sendall(garbage)
        with connect(self.server.port, self.cert) as sock:
            sock.sendall(wire.request(body={"prompt": "hi"}, host="localhost")[:-3])
        with connect(self.server.port, self.cert) as sock:
            self.assertEqual(self.ask(sock)[0], 200)

    def test_sslscan_finds_only_what_is_meant(self):
        done = subprocess.run(
            ["sslscan", "--no-colour", "--no-failed", f"127.0.0.1:{self.server.port}"],
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        )
        text = done.stdout
        enabled = re.findall(r"^(SSLv\d|TLSv1\.\d)\s+enabled", text, re.M)
        self.assertEqual(sorted(enabled), ["TLSv1.2", "TLSv1.3"], text)
        suites = re.findall(r"^(?:Preferred|Accepted)\s+(TLSv\S+)\s+\d+ bits\s+(\S+)", text, re.M)
        self.assertTrue(suites, text)
        weak = [s for _, s in suites if not re.match(r"(TLS_|ECDHE-).*(GCM|CHACHA20)", s)]
        print(f"tls: {', '.join(enabled)}; {len(suites)} suites, weak: {len(weak)}")
        self.assertEqual(weak, [])
        self.assertNotRegex(text, r"(?m)^\S+ vulnerable to heartbleed")


class Renewal(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        cls.keep = tempfile.TemporaryDirectory(prefix="neap-tls-")
        cls.addClassCleanup(cls.keep.cleanup)
        cls.cert, cls.key = make_pair(cls.keep.name, "shown")
        cls.flags = ("--tls-cert", cls.cert, "--tls-key", cls.key)

    def put(self, pair):
        for source, target in zip(pair, (self.cert, self.key)):
            os.replace(source, target)

    def shown(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", self.server.port), timeout=10)
        with context.wrap_socket(plain) as sock:
            return subject_of(sock)

    def test_renewed_files_are_taken_at_sighup_and_open_connections_stay(self):
        old = connect(self.server.port, self.cert)
        self.put(make_pair(self.keep.name, "second", key="rsa"))
        self.server.signal(signal.SIGHUP)
        self.assertTrue(procs.wait_for(lambda: self.shown() == "second"))
        old.sendall(wire.request(body={"prompt": "hi"}, host="localhost"))
        self.assertEqual(read_reply(old)[0], 200)
        old.close()

        with open(self.key, "w", encoding="utf-8") as f:
            f.write("no key")
        self.server.signal(signal.SIGHUP)
        self.assertTrue(procs.wait_for(lambda: "the old certificate stays" in self.server.log()))
        self.assertEqual(self.shown(), "second")


class Files(unittest.TestCase):
    """What can't be is said in words, and nothing starts."""

    def setUp(self):
        self.keep = tempfile.TemporaryDirectory(prefix="neap-tls-")
        self.addCleanup(self.keep.cleanup)
        policies = Policies()
        policies.provider("p", api_key=None)
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        self.policies = policies.write().path
        self.cert, self.key = make_pair(self.keep.name, "one")

    def refused(self, *flags, status=3):
        got, _, said = procs.run(
            *("serve", "--policies", self.policies, "--simulate", "--store", "memory:"),
            *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
            *flags,
        )
        self.assertEqual(got, status, said)
        return said

    def test_one_without_the_other_is_a_wrong_command(self):
        said = self.refused("--tls-cert", self.cert, status=2)
        self.assertIn("--tls-key is missing", said)
        said = self.refused("--tls-key", self.key, status=2)
        self.assertIn("--tls-cert is missing", said)

    def test_a_key_that_others_may_read_is_refused_with_what_would_be_right(self):
        os.chmod(self.key, 0o644)
        said = self.refused("--tls-cert", self.cert, "--tls-key", self.key)
        self.assertIn("0644", said)
        self.assertIn("chmod 600", said)

    def test_the_key_of_another_certificate_is_refused(self):
        _, other = make_pair(self.keep.name, "two")
        said = self.refused("--tls-cert", self.cert, "--tls-key", other)
        self.assertIn("not the key of the first certificate", said)

    def test_files_that_hold_no_pem_are_named(self):
        empty = os.path.join(self.keep.name, "empty.pem")
        with open(empty, "w", encoding="utf-8"):
            pass
        os.chmod(empty, 0o600)
        self.assertIn("the file is empty", self.refused("--tls-cert", empty, "--tls-key", self.key))
        said = self.refused("--tls-cert", self.cert, "--tls-key", self.cert_as_key())
        self.assertIn("holds no PEM private key", said)
        missing = os.path.join(self.keep.name, "missing.pem")
        self.assertIn(
            "No such file", self.refused("--tls-cert", missing, "--tls-key", self.key)
        )

    def cert_as_key(self):
        path = os.path.join(self.keep.name, "copy.pem")
        with open(self.cert, encoding="utf-8") as f, open(path, "w", encoding="utf-8") as out:
            out.write(f.read())
        os.chmod(path, 0o600)
        return path

    def test_an_encrypted_key_is_refused_with_the_reason(self):
        locked = os.path.join(self.keep.name, "locked.pem")
        subprocess.run(
            ["openssl", "pkcs8", "-topk8", "-in", self.key, "-out", locked, "-passout", "pass:x"],
            check=True,
            capture_output=True,
        )
        os.chmod(locked, 0o600)
        said = self.refused("--tls-cert", self.cert, "--tls-key", locked)
        self.assertIn("is encrypted", said)


if __name__ == "__main__":
    case.main()

"""What goes wrong before a provider has a request, and on the way to it (T14): ports, names, TLS, packets
that vanish, processes that stand still. In a network of the test's own, so that nothing leaves it.

ctest: timeout 300
"""

import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import case
import faultcase
import faults
import netns
import procs
import stub
from faults import Fault

LOST = ("network", "void")
LATE = ("timeout", "void")
SENT = ("network", "presumed")
EITHER = ("network", "presumed|void")  # the request may have left before the reset came


class Port:
    """A listening socket; act(conn) says what becomes of a connection, None: nobody takes it."""

    def __init__(self, act=None, backlog=128, everywhere=False):
        if everywhere:
            self.listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self.listener.getsockname()[1]
        self.act = act
        self.held = []
        if act:
            threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        conn.settimeout(10)
        try:
            self.act(conn)
        except OSError:
            pass
        conn.close()

    def fill(self):
        """Takes all places, so that the next who knocks is not heard."""
        for _ in range(3):
            conn = socket.socket()
            conn.setblocking(False)
            conn.connect_ex(("127.0.0.1", self.port))
            self.held.append(conn)
        return self

    def stop(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        for conn in self.held:
            conn.close()

    def tail(self):
        return ""


def closes(_conn):
    pass


def resets(conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def says(data, then="close"):
    """Hears the first bytes and says these."""

    def act(conn):
        conn.recv(4096)
        conn.sendall(data)
        if then == "wait":
            conn.recv(65536)
            time.sleep(10)
        if then == "reset":
            resets(conn)

    return act


ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
HELLO = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + b"\x11" * 20  # and more was announced

# What listens, and how calls to it end; the scheme is theirs.
PORTS = {
    "a port that refuses": ("http", None, LOST),
    "a port that does not hear": ("http", "full", LATE),
    "a port that does not hear, for TLS": ("https", "full", LATE),
    "a connection that is closed at once": ("http", closes, SENT),
    "a connection that is reset at once": ("http", resets, EITHER),
    "TLS: closed at once": ("https", closes, LOST),
    "TLS: reset at once": ("https", resets, LOST),
    "TLS: nothing is said": ("https", says(b"", "wait"), LATE),
    "TLS: an alert": ("https", says(ALERT), LOST),
    "TLS: half a hello, closed": ("https", says(HELLO), LOST),
    "TLS: half a hello, reset": ("https", says(HELLO, "reset"), LOST),
    "TLS: half a hello, and nothing": ("https", says(HELLO, "wait"), LATE),
    "TLS: plain HTTP": ("https", says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), LOST),
    "TLS: bytes that are none": ("https", says(bytes(range(256)) * 8), LOST),
}

# What the resolver says, and how calls to such a name end.
LOOP = [("loop.test", netns.CNAME, "pool.test"), ("pool.test", netns.CNAME, "loop.test")]
NAMES = {
    "none.test": (netns.Resolver.NO_NAME, LOST),
    "refused.test": (5, LOST),
    "failing.test": (2, LOST),
    "silent.test": (None, LATE),
    "loop.test": (LOOP, LOST),
    "empty.test": ([], LOST),
    "torn.test": (b"\x81\x80\x00", LOST),
    "metadata.test": ([("metadata.test", netns.A, "169.254.169.254")], LOST),
    "metadata6.test": ([("metadata6.test", netns.AAAA, "fd00:ec2::254")], LOST),
    "mapped.test": ([("mapped.test", netns.AAAA, "::ffff:169.254.169.254")], LOST),
    "local.test": ([("local.test", netns.AAAA, "fe80::1")], LOST),
    "nowhere.test": ([("nowhere.test", netns.A, "10.9.9.9")], LOST),
    "beyond.test": ([("beyond.test", netns.A, "10.9.9.10")], LOST),
    "far.test": ([("far.test", netns.A, "10.1.2.3")], LATE),
}
CERTIFICATES = ("a stranger's", "for another name", "that has expired", "that signs itself")


class Keys:
    """Certificates, made once in a folder of their own."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="neap-tls-")
        self.ca = self.authority("ca")
        self.authority("stranger")
        self.good = self.sign("good", "ca", "IP:127.0.0.1")
        self.others = {
            "a stranger's": self.sign("other", "stranger", "IP:127.0.0.1"),
            "for another name": self.sign("name", "ca", "DNS:elsewhere.test"),
            "that has expired": self.sign("old", "ca", "IP:127.0.0.1", "-1"),
            "that signs itself": (self.path("stranger.pem"), self.path("stranger.key")),
        }

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def openssl(self, *args):
        subprocess.run(["openssl", *args], check=True, capture_output=True)

    def authority(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-days", "2", "-subj", f"/CN={name}", "-keyout", self.path(f"{name}.key"),
                     "-out", self.path(f"{name}.pem"))
        return self.path(f"{name}.pem")

    def sign(self, name, authority, subject, days="2"):
        key, request, cert = (self.path(f"{name}.{end}") for end in ("key", "csr", "pem"))
        with open(self.path("ext"), "w", encoding="utf-8") as f:
            f.write(f"subjectAltName={subject}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.path(f"{authority}.pem"),
                     "-CAkey", self.path(f"{authority}.key"), "-CAcreateserial", "-days", days,
                     "-out", cert, "-extfile", self.path("ext"))
        return cert, key


class Connections(faultcase.FaultCase):
    table = {}

    @classmethod
    def setUpClass(cls):
        netns.command("ip", "addr", "add", "169.254.169.254/32", "dev", "lo")
        for address in ("fd00:ec2::254/128", "fe80::1/64"):
            netns.command("ip", "addr", "add", address, "dev", "lo")
        netns.command("ip", "route", "add", "blackhole", "10.9.9.9/32")
        netns.command("ip", "route", "add", "prohibit", "10.9.9.10/32")
        # What is sent to 10.1.0.0/16 arrives nowhere: its way ends in an interface that nobody reads.
        netns.command("ip", "link", "add", "far0", "type", "veth", "peer", "name", "far1")
        for name in ("far0", "far1"):
            netns.command("ip", "link", "set", name, "up")
        netns.command("ip", "addr", "add", "10.1.0.1/16", "dev", "far0")
        netns.command("ip", "neigh", "add", "10.1.2.3", "lladdr", "02:00:00:00:00:01", "dev", "far0")
        cls.keys = Keys()
        cls.flags = ("--ca-file", cls.keys.ca)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.keys.folder.cleanup()

    @classmethod
    def prepare(cls, policies):
        cls.begin(policies)
        cls.table = {}
        cls.hits = []
        cls.canary = cls.own(Port(lambda conn: cls.hits.append(conn.getsockname()), everywhere=True))
        cls.resolver = cls.own(netns.Resolver({name: said for name, (said, _) in NAMES.items()}))
        for name, (scheme, act, end) in PORTS.items():
            port = cls.own(Port(None, 0).fill() if act == "full" else Port(act))
            if act is None:
                port.stop()
            cls.add(policies, name, f"{scheme}://127.0.0.1:{port.port}", end)
        for name, (_, end) in NAMES.items():
            cls.add(policies, f"the name {name}", f"http://{name}:{cls.canary.port}", end)
        for name in CERTIFICATES:
            tls = cls.own(stub.Stub(faultcase.help_out, cls.keys.others[name]))
            cls.add(policies, f"a certificate {name}", tls.url, LOST)

    @classmethod
    def add(cls, policies, name, url, end):
        place = len(cls.table)
        policies.provider(f"p{place}", base_url=url + "/v1", **faultcase.TIMES)
        policies.model(f"m{place}", f"p{place}")
        cls.table[name] = Fault(None, *end)

    def test_each_fault_ends_in_one_reply_in_time_classed_and_paid(self):
        self.run_table()
        socket.create_connection(("169.254.169.254", self.canary.port)).close()
        self.assertTrue(procs.wait_for(lambda: self.hits), "the canary is deaf")
        case.say(f"hits of what listens at link-local and metadata addresses: {len(self.hits) - 1}")
        self.assertEqual(len(self.hits), 1)


class Way(case.Case):
    """A provider whose packets vanish, or that stands still, before, while and after it is called."""

    scenario = """
return { models = { ["*"] = { text = "%s", first_ms = 20, total_ms = 3000 } } }
""" % ("word " * 100)

    @classmethod
    def prepare(cls, policies):
        cls.wall = netns.Firewall()
        policies.provider("p", **faultcase.TIMES)
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], max_attempts=1, deadline_ms=faultcase.DEADLINE)

    def setUp(self):
        self.mock.control(every={"text": "all is well", "first_ms": 1, "total_ms": 2})
        self.addCleanup(self.wall.clear)

    def lose(self, *what):
        """From now on packets to the provider meet this."""
        self.wall.add("tcp", "dport", self.mock.port, *(what or ["drop"]))

    def unconnected(self):
        """Speaks to a server of its own, which has no connection to the provider yet."""
        self.server = self.serve(self.policies)
        self.addCleanup(self.server.stop)

    def ends(self, request_id, kind, paid):
        record = self.server.decision(request_id)
        self.assertEqual(self.classes(record), [kind], record["attempts"])
        self.assertEqual(record["attempts"][0]["settled"], paid, record["attempts"])

    def both(self, kind, paid):
        """A whole and a streamed request each end so, and are degraded."""
        reply = self.server.ask("hello")
        self.assertDegraded(reply, "exhausted")
        self.ends(reply.get("X-Request-Id"), kind, paid)
        with self.server.conn() as conn:
            stream = self.server.stream("hello", conn=conn).follow()
            self.assertEqual(self.assertStreamed(stream)["reason"], "exhausted")
        self.ends(stream.get("X-Request-Id"), kind, paid)

    def heals(self):
        """How long it takes until an answer is good again, in milliseconds."""
        began = time.monotonic()
        good = procs.wait_for(lambda: not self.server.ask("hello").json()["degraded"], 10)
        self.assertTrue(good, "it does not come back")
        return (time.monotonic() - began) * 1000

    def cut_at(self, fault):
        """A stream that flows when this happens to its provider breaks off."""
        self.mock.control(every={"text": "word " * 100, "first_ms": 20, "total_ms": 6000})
        with self.server.conn() as conn:
            stream = self.server.stream("hello", conn=conn).follow(2)
            fault()
            self.assertBroken(stream.follow())
        self.ends(stream.get("X-Request-Id"), "cut", "estimated")

    def test_packets_that_vanish_before_there_is_a_connection(self):
        self.unconnected()
        self.lose()
        self.both("timeout", "void")
        self.wall.clear()
        case.say(f"packets come again: {self.heals():.0f} ms to a good answer")

    def test_connections_that_are_forbidden_on_the_way(self):
        self.unconnected()
        self.lose("reject", "with", "icmpx", "type", "admin-prohibited")
        self.both("network", "void")

    def test_packets_that_vanish_behind_a_connection_that_is_used_again(self):
        for _ in range(3):
            self.assertGood(self.server.ask("hello"))
        self.lose()
        reply = self.server.ask("hello")
        self.assertDegraded(reply, "exhausted")
        record = self.server.decision(reply)
        self.assertEqual(self.classes(record), ["timeout"])
        self.wall.clear()
        case.say(f"packets come again: {self.heals():.0f} ms to a good answer")

    def test_packets_that_vanish_in_the_midst_of_a_stream(self):
        self.cut_at(self.lose)

    def test_a_connection_that_something_on_the_way_resets(self):
        self.cut_at(lambda: self.lose("reject", "with", "tcp", "reset"))

    def test_a_provider_that_stands_still_in_the_midst_of_a_stream(self):
        self.addCleanup(self.mock.signal, signal.SIGCONT)
        self.cut_at(lambda: self.mock.signal(signal.SIGSTOP))

    def test_a_provider_that_stands_still_takes_requests_and_answers_none(self):
        self.assertGood(self.server.ask("hello"))
        self.mock.signal(signal.SIGSTOP)
        try:
            self.both("timeout", "presumed")
        finally:
            self.mock.signal(signal.SIGCONT)
        case.say(f"a provider that goes on: {self.heals():.0f} ms to a good answer")


if __name__ == "__main__":
    netns.enter()
    case.main()

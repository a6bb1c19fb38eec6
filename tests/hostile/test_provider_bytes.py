"""Providers that break off, never end, lie about lengths or answer twice (T14 to T16): each request
gets exactly one well formed reply in time, and nothing of one answer reaches another request."""

import gzip
import json
import os
import threading
import time

import case
import policies as sets
import stub
from case import at_once

DEADLINE = 1500
GOOD = stub.reply(stub.openai("the whole answer"))
RESET = stub.Stub.RESET


def endless(prefix, piece, until=None):
    """Sends a prefix and then pieces until the other side has had enough."""

    def handle(call):
        call.conn.send(prefix)
        try:
            for _ in range(until or 1 << 30):
                call.conn.send(piece)
        except OSError:
            pass
        return None

    return handle


def raw(data, then=None):
    """Sends these bytes, and then closes (None), resets or waits."""

    def handle(call):
        call.conn.send(data)
        if then == "wait":
            call.conn.closes(10)
        return RESET if then == "reset" else None

    return handle


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = json.dumps(stub.openai("the whole answer")).encode()
SHORT = {"network", "bad_reply"}

# What the provider does, and the classes that the attempt may end in.
FAULTS = {
    "nothing, and closes": (raw(b""), {"network"}),
    "nothing, and resets": (raw(b"", "reset"), {"network"}),
    "a body that is too short": (raw(HEAD + b"Content-Length: 9999\r\n\r\n" + BODY), SHORT),
    "a body that is too short, and waits": (
        raw(HEAD + b"Content-Length: 9999\r\n\r\n" + BODY, "wait"),
        {"timeout"},
    ),
    "chunks that end early": (
        raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY),
        SHORT,
    ),
    "a chunk size that is none": (
        raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY),
        SHORT,
    ),
    "a chunk size past 2^64": (
        raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + BODY),
        SHORT,
    ),
    "a head that never ends": (endless(HEAD, b"X-Pad: " + b"a" * 1000 + b"\r\n"), {"bad_reply"}),
    "a header of 1 MB": (
        raw(HEAD + b"X-Pad: " + b"a" * 1048576 + b"\r\nContent-Length: 2\r\n\r\n{}"),
        {"bad_reply"},
    ),
    "a body that never ends": (endless(HEAD + b"\r\n", b"x" * 65536), {"bad_reply"}),
    "a body of chunks that never ends": (
        endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"8000\r\n" + b"x" * 32768 + b"\r\n"),
        {"bad_reply"},
    ),
    "informational replies without end": (
        endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        {"bad_reply", "timeout", "network"},
    ),
    "no HTTP at all": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), SHORT),
    "TLS on a plain port": (raw(b"\x15\x03\x01\x00\x02\x02\x28"), SHORT),
    "a status that is none": (raw(b"HTTP/1.1 abc\r\nContent-Length: 0\r\n\r\n"), SHORT),
    "a version that is none": (raw(b"HTTP/7.3 200 OK\r\nContent-Length: 2\r\n\r\n{}"), SHORT),
    "a negative length": (raw(HEAD + b"Content-Length: -1\r\n\r\n" + BODY), SHORT | {"ok"}),
    "a NUL in the head": (raw(HEAD + b"X-A: b\x00c\r\nContent-Length: 2\r\n\r\n{}"), SHORT),
    "an upgrade": (
        raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "wait"),
        {"bad_reply", "timeout", "network"},
    ),
    "204": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), SHORT),
    "304": (raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"), SHORT),
    "206": (raw(b"HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\n{}"), SHORT),
    "999": (raw(b"HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\n{}"), {"server_error", "bad_reply"}),
    "brotli that nobody asked for": (
        raw(HEAD + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"),
        {"bad_reply"},
    ),
    "gzip that nobody asked for": (
        raw(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(BODY)),
        {"bad_reply"},
    ),
    "another type": (raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"), SHORT),
}


class Faults(case.Case):
    scenario = False
    workers = 1

    @classmethod
    def prepare(cls, policies):
        cls.stub = cls.own(stub.Stub(cls.handle))
        policies.url = cls.stub.url
        policies.provider("p", idle_timeout_ms=300, first_token_timeout_ms=600)
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], max_attempts=1, deadline_ms=DEADLINE)

    @staticmethod
    def handle(call):
        name = call.json()["messages"][-1]["content"]
        if name in FAULTS:
            return FAULTS[name][0](call)
        if name.startswith("cut"):
            _, how, at = name.split()
            call.conn.send(GOOD[: int(at)])
            return RESET if how == "reset" else None
        if name == "bytes":
            for byte in GOOD:
                call.conn.send(bytes([byte]))
            return b""
        if name == "bomb":
            return stub.reply(BOMB, headers=[("Content-Encoding", "gzip")])
        return GOOD

    def test_each_fault_ends_in_its_class_and_one_reply_in_time(self):
        worst = 0.0
        for name, (_, classes) in FAULTS.items():
            with self.subTest(name=name):
                reply = self.server.ask(name)
                self.assertEqual(reply.status, 200)
                record = self.server.decision(reply)
                got = record["attempts"][0]["class"]
                self.assertIn(got, classes, record)
                self.assertEqual(reply.json()["degraded"], got != "ok")
                worst = max(worst, reply.ms - DEADLINE)
        case.say(f"{len(FAULTS)} faults: {max(worst, 0):.0f} ms past the deadline at most")
        self.assertLessEqual(worst, 50)
        self.assertGood(self.server.ask("afterwards"), text="the whole answer")

    def test_a_reply_cut_at_any_byte_is_no_reply(self):
        points = [(how, at) for how in ("reset", "fin") for at in range(0, len(GOOD), 40)]
        points += [("reset", len(GOOD) - 1), ("fin", len(GOOD) - 1)]
        replies = at_once(len(points), lambda i: self.server.ask("cut %s %d" % points[i]))
        for (how, at), reply in zip(points, replies):
            with self.subTest(how=how, at=at):
                self.assertDegraded(reply, "exhausted")
                record = self.server.decision(reply)
                self.assertEqual(self.classes(record), ["network"])
                self.assertEqual(record["attempts"][0]["settled"], "presumed")
        case.say(f"{len(points)} cuts: none taken for a reply")

    def test_a_reply_byte_by_byte_is_the_whole_reply(self):
        self.assertGood(self.server.ask("bytes"), text="the whole answer")

    def test_a_compression_bomb_is_refused_and_takes_no_memory(self):
        self.server.ask("warm up")
        before = self.rss()
        for _ in range(5):
            reply = self.server.ask("bomb")
            self.assertDegraded(reply, "exhausted")
            self.assertEqual(self.classes(self.server.decision(reply)), ["bad_reply"])
        rise = (self.rss() - before) / 1024
        case.say(f"a bomb of {len(BOMB)} bytes for 64 MB: RSS rose by {rise:.1f} MB")
        self.assertLess(rise, 8)

    def rss(self):
        """Kilobytes."""
        with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


BOMB = gzip.compress(bytes(64 << 20))


class Twice(case.Case):
    """Two replies to one request: the second, which is there before the next request leaves, must not
    answer that."""

    scenario = False
    workers = 1

    def test_a_second_reply_is_never_anothers_answer(self):
        for gap in (0.0, 0.04):
            with self.subTest(gap=gap):
                self.check(gap)

    def check(self, gap):
        sent = threading.Event()

        def handle(call):
            name = call.json()["messages"][-1]["content"]
            own = stub.reply(stub.openai(f"for {name}"))
            stolen = stub.reply(stub.openai(f"stolen from {name}"))
            call.conn.send(own + stolen if gap == 0 else own)
            if gap:
                time.sleep(gap / 2)
                call.conn.send(stolen)
            sent.set()
            return b""

        provider = stub.Stub(handle)
        self.addCleanup(provider.stop)
        files = sets.Policies(provider.url)
        files.provider("p")
        files.model("m", "p")
        files.endpoint("assistant", ["m"])
        server = self.serve(files)
        self.addCleanup(server.stop)
        stolen = 0
        for i in range(20):
            reply = server.ask(f"request {i}")
            text = reply.json()["text"]
            stolen += text.startswith("stolen")
            if not reply.json()["degraded"]:
                self.assertEqual(text, f"for request {i}")
            # On a busy machine the second reply is later than its gap; the next request waits for it.
            sent.wait(1)
            sent.clear()
            time.sleep(gap / 2)
        case.say(f"second replies {gap * 500:.0f} ms later: {stolen} of 20 reached another request")
        self.assertEqual(stolen, 0)


class Endless(case.Case):
    """Many endless replies at once do not add up."""

    scenario = False
    workers = 1

    def test_endless_replies_are_bounded_and_others_are_served(self):
        lock, sent = threading.Lock(), [0]

        def handle(call):
            if b"plain" in call.body:
                return GOOD
            call.conn.send(HEAD + b"\r\n")
            try:
                while True:
                    call.conn.send(b"x" * 65536)
                    with lock:
                        sent[0] += 65536
            except OSError:
                return None

        provider = stub.Stub(handle)
        self.addCleanup(provider.stop)
        files = sets.Policies(provider.url)
        files.provider("p")
        files.model("m", "p")
        files.endpoint("assistant", ["m"], max_attempts=1, deadline_ms=8000)
        server = self.serve(files)
        self.addCleanup(server.stop)
        replies = at_once(6, lambda i: server.ask("endless" if i < 4 else "plain", timeout=30))
        for reply in replies[:4]:
            self.assertEqual(self.classes(server.decision(reply)), ["bad_reply"], reply)
        for reply in replies[4:]:
            self.assertGood(reply)
        case.say(f"4 endless replies: {sent[0] / 4 / 2**20:.1f} MB taken of each")
        self.assertLess(sent[0] / 4, 24 << 20)


if __name__ == "__main__":
    case.main()

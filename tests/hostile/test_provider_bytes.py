"""Replies cut at any byte, byte by byte, twice or without an end (T15): each request gets exactly one well
formed reply, and nothing of one answer reaches another request. Further faults are in faults.py."""

import os
import tempfile
import threading
import time

import case
import policies as sets
import stub
from case import at_once
from test_tls import make_pair

DEADLINE = 1500
GOOD = stub.reply(stub.openai("the whole answer"))
RESET = stub.Stub.RESET


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def rss_kb(server):
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


class Bytes(case.Case):
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
        if name.startswith("cut"):
            _, how, at = name.split()
            call.conn.send(GOOD[: int(at)])
            return RESET if how == "reset" else None
        if name == "bytes":
            for byte in GOOD:
                call.conn.send(bytes([byte]))
            return b""
        return GOOD

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

    # Memory that was freed is used again, so that what is held can be seen under the sanitizer too.
    env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}

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

    def check_chunk_lines(self, url, sent, **kw):
        """Four chunk lines without end at once: none outlasts the time for silence, others are served."""
        files = sets.Policies(url)
        files.provider("p", idle_timeout_ms=600)
        files.model("m", "p")
        files.endpoint("assistant", ["m"], max_attempts=1, deadline_ms=20000)
        server = self.serve(files, **kw)
        self.addCleanup(server.stop)
        self.assertGood(server.ask("plain"))
        before = rss_kb(server)
        replies = at_once(6, lambda i: server.ask("endless" if i < 4 else "plain", timeout=30))
        for reply in replies[:4]:
            self.assertEqual(self.classes(server.decision(reply)), ["timeout"], reply)
        for reply in replies[4:]:
            self.assertGood(reply)
        grown = rss_kb(server) - before
        case.say(f"4 chunk lines without end: {sent[0] / 4 / 2**20:.0f} MB of each, RSS {grown} KB more")
        self.assertLess(grown, 16 << 10)

    def line_without_end(self, sent):
        def handle(call):
            if b"plain" in call.body:
                return GOOD
            try:
                call.conn.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;")
                while True:
                    call.conn.send(b"e" * 65536)
                    sent[0] += 65536
            except OSError:
                return None

        return handle

    def test_chunk_lines_without_end_are_silence(self):
        sent = [0]
        provider = stub.Stub(self.line_without_end(sent))
        self.addCleanup(provider.stop)
        self.check_chunk_lines(provider.url, sent)

    def test_chunk_lines_without_end_over_tls_are_silence(self):
        sent = [0]
        with tempfile.TemporaryDirectory(prefix="neap-tls-") as folder:
            cert, key = make_pair(folder, "provider")
            provider = stub.Stub(self.line_without_end(sent), (cert, key))
            self.addCleanup(provider.stop)
            self.check_chunk_lines(provider.url, sent, flags=("--ca-file", cert))


if __name__ == "__main__":
    case.main()

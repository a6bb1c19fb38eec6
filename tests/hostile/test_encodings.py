"""Encodings that nobody asked for (T16): whatever a provider says it has packed, from 10 MB to 10 GB, is
refused by the reply's head, counted as its failure, and takes no memory."""

import gzip
import os
import zlib

import case
import faults
import stub

MB = 1 << 20
PART = 10 * MB
SIZES = [PART, 10 * PART, 100 * PART, 1000 * PART]
TWICE = gzip.compress(gzip.compress(bytes(PART)) * 100)


def packed(size):
    """Gzip of so many zeros, in members of 10 MB each, as gzip allows."""
    return gzip.compress(bytes(PART), 9) * (size // PART)


def bomb(coding, data, header=b"Content-Encoding"):
    head = faults.HEAD + header + b": " + coding
    if header == b"Content-Encoding":
        return head + b"\r\nContent-Length: %d\r\n\r\n" % len(data) + data
    return head + b", chunked\r\n\r\n" + faults.chunk(data) + faults.END


REPLIES = {
    **{f"gzip of {size // MB} MB": bomb(b"gzip", packed(size)) for size in SIZES},
    **{f"gzip of {size // MB} MB by transfer": bomb(b"gzip", packed(size), b"Transfer-Encoding") for size in SIZES},
    "deflate of 10 MB": bomb(b"deflate", zlib.compress(bytes(PART))),
    "gzip of gzip": bomb(b"gzip, gzip", TWICE),
    "gzip in capitals": bomb(b"X-GZIP", packed(PART)),
    "zstd": bomb(b"zstd", b"\x28\xb5\x2f\xfd" + bytes(1000)),
    "brotli": bomb(b"br", b"\x0b\x01\x80abc\x03"),
    "compress": bomb(b"compress", b"\x1f\x9d\x90" + bytes(100)),
    "something unheard of": bomb(b"rot13", b"uryyb"),
    "gzip that is none": bomb(b"gzip", b"\x1f\x8bnonsense"),
    "gzip that is cut": bomb(b"gzip", packed(PART)[:5000]),
}


class Encodings(case.Case):
    scenario = False
    workers = 1
    # What was freed is used again, so that a rise can be seen under the sanitizer too.
    env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}

    @classmethod
    def prepare(cls, policies):
        cls.names = list(REPLIES)
        policies.url = cls.own(stub.Stub(cls.handle)).url
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], max_attempts=1)

    @classmethod
    def handle(cls, call):
        try:
            call.conn.send(REPLIES[call.json()["messages"][-1]["content"]])
        except OSError:
            pass  # it had enough

    def rss(self):
        """Kilobytes."""
        with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

    def ask(self, name, streamed):
        if not streamed:
            reply = self.server.ask(name)
            self.assertDegraded(reply, "exhausted")
            return reply
        with self.server.conn() as conn:
            stream = self.server.stream(name, conn=conn).follow()
        self.assertEqual(self.assertStreamed(stream)["reason"], "exhausted")
        return stream.head

    def failed(self):
        return self.server.metrics().get("llm_attempts_total", **{"class": "bad_reply"})

    def rounds(self):
        for name in self.names:
            for streamed in (False, True):
                with self.subTest(name=name, streamed=streamed):
                    record = self.server.decision(self.ask(name, streamed))
                    self.assertEqual(self.classes(record), ["bad_reply"])
                    self.assertRegex(record["attempts"][0]["error"], "(?i)encoding")

    def test_what_is_packed_is_refused_and_counted_and_takes_no_memory(self):
        for _ in range(6):  # until what neap remembers of requests has its size
            self.rounds()
        before, failed = self.rss(), self.failed()
        self.rounds()
        rise = (self.rss() - before) / 1024
        largest = max(len(reply) for reply in REPLIES.values()) / MB
        case.say(f"{len(REPLIES)} packed replies of up to {SIZES[-1] // MB} MB in {largest:.1f} MB, twice each: "
                 f"RSS rose by {rise:.2f} MB")
        self.assertEqual(self.failed() - failed, 2 * len(REPLIES))
        self.assertLess(rise, 2)


if __name__ == "__main__":
    case.main()

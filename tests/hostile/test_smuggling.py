"""Requests that two parsers may read differently (T21): none is served on a connection that carries on,
none hangs; and good ones that look odd are served."""

import case
import wire

BODY = b'{"prompt":"a"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
TYPE = b"Content-Type: application/json\r\n"
POST = b"POST /api/assistant/reply HTTP/1.1\r\nHost: localhost\r\n" + TYPE
END = b"\r\n" + BODY
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"\r\ne\r\n" + BODY + b"\r\n0\r\n\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def line(text):
    """A request line of one's own before the rest of a good request."""
    return text + b"\r\nHost: localhost\r\n" + TYPE + LENGTH + END


BAD = {
    # lengths
    "two lengths, first true": POST + LENGTH + b"Content-Length: 3\r\n" + END,
    "two lengths, last true": POST + b"Content-Length: 3\r\n" + LENGTH + END,
    "two lengths that agree": POST + LENGTH + LENGTH + END,
    "a list of lengths": POST + b"Content-Length: 14, 14\r\n" + END,
    "a length with a sign": POST + b"Content-Length: +14\r\n" + END,
    "a negative length": POST + b"Content-Length: -14\r\n" + END,
    "a length in hex": POST + b"Content-Length: 0xe\r\n" + END,
    "a length with a letter": POST + b"Content-Length: 14a\r\n" + END,
    "a length in two parts": POST + b"Content-Length: 1 4\r\n" + END,
    "a length past 2^64": POST + b"Content-Length: 18446744073709551630\r\n" + END,
    "no length": POST + b"\r\n",
    "an empty length": POST + b"Content-Length: \r\n" + END,
    # length and chunked
    "length and chunked": POST + LENGTH + CHUNKED + CHUNKS,
    "chunked and length": POST + CHUNKED + LENGTH + CHUNKS,
    "chunked, and a length of 0": POST + CHUNKED + b"Content-Length: 0\r\n" + CHUNKS,
    # codings
    "a blank before the colon": POST + b"Transfer-Encoding : chunked\r\n" + CHUNKS,
    "a tab before the colon": POST + b"Transfer-Encoding\t: chunked\r\n" + CHUNKS,
    "a coding that is not known": POST + b"Transfer-Encoding: gzip\r\n" + CHUNKS,
    "chunked and another": POST + b"Transfer-Encoding: chunked, gzip\r\n" + CHUNKS,
    "another and chunked": POST + b"Transfer-Encoding: identity, chunked\r\n" + CHUNKS,
    "chunked twice": POST + CHUNKED + CHUNKED + CHUNKS,
    "chunked with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n" + CHUNKS,
    "chunked in quotes": POST + b'Transfer-Encoding: "chunked"\r\n' + CHUNKS,
    "chunked in HTTP/1.0": b"POST /api/assistant/reply HTTP/1.0\r\nConnection: keep-alive\r\n"
    + TYPE + CHUNKED + CHUNKS,
    "an empty coding and a length": POST + b"Transfer-Encoding:\r\n" + LENGTH + END,
    # chunks
    "a chunk size with a sign": POST + CHUNKED + b"\r\n+e\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk size with 0x": POST + CHUNKED + b"\r\n0xe\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk size past 2^64": POST + CHUNKED + b"\r\n1000000000000000e\r\n" + BODY,
    "an empty chunk size": POST + CHUNKED + b"\r\n\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk that is longer": POST + CHUNKED + b"\r\n4\r\n" + BODY + b"\r\n0\r\n\r\n",
    # folds, names, control bytes
    "a folded length": POST + b"Content-Length:\r\n 14\r\n" + END,
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n" + CHUNKS,
    "a folded header": POST + b"X-A: b\r\n\tc\r\n" + LENGTH + END,
    "a coding hidden in a fold": POST + LENGTH + b"X-A: b\r\n Transfer-Encoding: chunked\r\n" + END,
    "a first header that is folded": b"POST /api/assistant/reply HTTP/1.1\r\n Host: localhost\r\n"
    + TYPE + LENGTH + END,
    "a bare CR in a value": POST + b"X-A: b\rc\r\n" + LENGTH + END,
    "a header hidden behind a bare CR": POST + b"X-A: b\rTransfer-Encoding: chunked\r\n" + LENGTH + END,
    "a bare CR as the end of the head": POST + LENGTH + b"\r\r\n" + BODY,
    "a NUL in a value": POST + b"X-A: b\x00c\r\n" + LENGTH + END,
    "a NUL in the length": POST + b"Content-Length: 14\x00\r\n" + END,
    "a NUL in a name": POST + b"X\x00A: b\r\n" + LENGTH + END,
    "a control byte in a value": POST + b"X-A: b\x01\r\n" + LENGTH + END,
    "DEL in a value": POST + b"X-A: b\x7f\r\n" + LENGTH + END,
    "a header without a colon": POST + b"X-A\r\n" + LENGTH + END,
    "a header without a name": POST + b": b\r\n" + LENGTH + END,
    "a blank in a name": POST + b"X A: b\r\n" + LENGTH + END,
    "a byte over 0x7f in a name": POST + b"X\xc3\xa4: b\r\n" + LENGTH + END,
    # singles
    "two hosts": POST + b"Host: other\r\n" + LENGTH + END,
    "two keys": POST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n" + LENGTH + END,
    "no host": b"POST /api/assistant/reply HTTP/1.1\r\n" + TYPE + LENGTH + END,
    # request lines
    "an absolute target": line(b"POST http://localhost/api/assistant/reply HTTP/1.1"),
    "an escape in the path": line(b"POST /api/assistant/%72eply HTTP/1.1"),
    "a dot segment": line(b"POST /api/./assistant/reply HTTP/1.1"),
    "two dots": line(b"POST /api/x/../assistant/reply HTTP/1.1"),
    "two slashes": line(b"POST //api/assistant/reply HTTP/1.1"),
    "a fragment": line(b"POST /api/assistant/reply#x HTTP/1.1"),
    "a blank in the target": line(b"POST /api/assistant/reply x HTTP/1.1"),
    "a tab in the line": line(b"POST\t/api/assistant/reply\tHTTP/1.1"),
    "HTTP/0.9": line(b"POST /api/assistant/reply HTTP/0.9"),
    "HTTP/2.0": line(b"POST /api/assistant/reply HTTP/2.0"),
    "no version": line(b"POST /api/assistant/reply"),
    "a method with a bracket": line(b"PO(ST /api/assistant/reply HTTP/1.1"),
    "a body on GET": b"GET /api/assistant/reply HTTP/1.1\r\nHost: localhost\r\n" + LENGTH + END,
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60 + b"\r\n\r\n",
    "zeros before the line": b"\x00" * 64 + POST + LENGTH + END,
    "a line of a zero before the line": b"\x00\r\n" + POST + LENGTH + END,
    "a line of zeros before the line": b"\x00" * 65 + b"\r\n" + POST + LENGTH + END,
    "a line that a zero hides": b"\x00garbage\r\n" + POST + LENGTH + END,
    "a request line that a zero hides": b"\x00GET / HTTP/1.1\r\n" + POST + LENGTH + END,
    "an empty line, and one of a zero": b"\r\n\x00\r\n" + POST + LENGTH + END,
}

GOOD = {
    "plain": POST + LENGTH + END,
    "names in any case": b"POST /api/assistant/reply HTTP/1.1\r\nhOsT: localhost\r\n"
    b"CONTENT-type: application/json\r\ncontent-LENGTH: 14\r\n" + END,
    "no blank after a colon": POST + b"Content-Length:14\r\n" + END,
    "blanks after a colon": POST + b"Content-Length: \t 14\r\n" + END,
    "blanks behind a value": POST + b"X-A: b \t \r\n" + LENGTH + END,
    "an empty value": POST + b"X-A:\r\n" + LENGTH + END,
    "a byte over 0x7f in a value": POST + b"X-A: \xc3\xa4\r\n" + LENGTH + END,
    "a tab in a value": POST + b"X-A: b\tc\r\n" + LENGTH + END,
    "zeros before the length": POST + b"Content-Length: 0014\r\n" + END,
    "the same header twice": POST + b"X-A: b\r\nX-A: c\r\n" + LENGTH + END,
    "a query": line(b"POST /api/assistant/reply?a=%00&b=//..&c HTTP/1.1"),
    "a host with a port": b"POST /api/assistant/reply HTTP/1.1\r\nHost: 127.0.0.1:1\r\n" + TYPE
    + LENGTH + END,
    "all token characters": POST + b"!#$%&'*+-.^_`|~aZ9: b\r\n" + LENGTH + END,
    "cookies": POST + b"Cookie: a=b; c=d\r\n" + LENGTH + END,
    "a long header": POST + b"X-A: " + b"b" * 3000 + b"\r\n" + LENGTH + END,
}

# Served, and the connection ends: what we take for the end of the body may not be what others do.
ENDS = {
    "chunked": POST + CHUNKED + CHUNKS,
    "Chunked": POST + b"transfer-encoding: Chunked\r\n" + CHUNKS,
    "a chunk extension": POST + CHUNKED + b"\r\ne;a=b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "zeros before a chunk size": POST + CHUNKED + b"\r\n000e\r\n" + BODY + b"\r\n000\r\n\r\n",
    "a trailer": POST + CHUNKED + b"\r\ne\r\n" + BODY + b"\r\n0\r\nX-A: b\r\n\r\n",
    "close": POST + b"Connection: close\r\n" + LENGTH + END,
    "an empty line before it": b"\r\n" + POST + LENGTH + END,
}
# libmicrohttpd 1.0 takes no chunk extension: it refuses, and closes. It tells an empty line from the next.
REFUSED_LATER = "a chunk extension"
CARRIES_ON_LATER = "an empty line before it"
ZERO_FOR_CR = b"\x00\n" + POST + LENGTH + END


class Smuggling(case.Case):
    workers = 1

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    def replies(self, data, within=3.0):
        """The statuses that come for these bytes, and whether the connection ended. A 0 at the end
        stands for bytes that are no reply: libmicrohttpd 0.9.75 sends the heads of its own refusals
        twice before it closes."""
        with self.server.conn() as conn:
            conn.send(data)
            closed = conn.closes(within)
            statuses = []
            while conn.buffer:
                try:
                    statuses.append(conn.reply().status)
                except (wire.Cut, ValueError, IndexError):
                    statuses.append(0)
                    break
            return statuses, closed

    def test_no_malformed_request_is_served_on_a_connection_that_carries_on(self):
        before = self.mock.calls()["bodies"]
        served = 0
        for name, data in BAD.items():
            with self.subTest(name=name):
                statuses, closed = self.replies(data + NEXT)
                served += statuses[:1] == [200]
                self.assertTrue(closed, f"it hangs or carries on: {statuses}")
                self.assertIn(statuses[1:], ([], [0]), "what followed was answered")
                self.assertTrue(not statuses or statuses[0] >= 400, statuses)
        case.say(f"{len(BAD)} malformed requests: {served} served, 0 left hanging")
        self.assertEqual(self.mock.calls()["bodies"], before)

    def test_good_requests_that_look_odd_are_served_and_their_connection_lasts(self):
        for name, data in GOOD.items():
            with self.subTest(name=name):
                with self.server.conn() as conn:
                    conn.send(data + NEXT)
                    self.assertGood(conn.reply())
                    self.assertEqual(conn.reply().status, 404)

    def test_a_request_that_others_may_end_elsewhere_is_served_and_ends_its_connection(self):
        for name, data in ENDS.items():
            with self.subTest(name=name):
                statuses, closed = self.replies(data + NEXT)
                if name == CARRIES_ON_LATER and not closed:
                    self.assertEqual(statuses, [200, 404])
                    continue
                self.assertTrue(closed)
                right = ([200], [400]) if name == REFUSED_LATER else ([200],)
                self.assertIn(statuses, right)

    def test_a_zero_for_a_cr_before_a_request_ends_its_connection(self):
        for before in (b"", POST + LENGTH + END):
            statuses, closed = self.replies(before + ZERO_FOR_CR + NEXT)
            self.assertTrue(closed)
            self.assertEqual(statuses[: len(before) > 0], [200] if before else [])
            # libmicrohttpd 1.0 may end it without a word
            self.assertIn(statuses[len(before) > 0 :], ([200], [400], []))

    def test_malformed_requests_cut_at_any_byte_do_no_harm(self):
        for name in ("length and chunked", "a NUL in a name", "a folded header", "HTTP/2.0"):
            data = BAD[name]
            for n in range(1, len(data), 7):
                with self.server.conn() as conn:
                    conn.send(data[:n])
        self.assertGood(self.server.ask("still there"))


if __name__ == "__main__":
    case.main()

"""The catalogue of what providers do wrong (T14): for each fault what the provider does, the class in which
the attempt ends and how it is paid. test_provider_faults.py runs it."""

import gzip
import json
import time
import zlib
from typing import Any, NamedTuple

import stub

RESET = stub.Stub.RESET
TEXT = "the whole answer"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = json.dumps(stub.openai(TEXT)).encode()
GOOD = stub.reply(stub.openai(TEXT))
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


class Fault(NamedTuple):
    act: Any  # act(call): bytes to send, None to close, or RESET
    kind: str  # the class of the attempt
    paid: str  # void, presumed, estimated, exact
    stream: bool | None = None  # only asked for so; None: both
    adapter: str = "openai"
    again: bool = True  # of a class that is tried again: whether it is
    heavy: bool = False  # it brings so much that it must be asked for by itself


def same(data, then=None):
    """Sends these bytes, and then closes, resets, waits or keeps the connection."""

    def act(call):
        call.conn.send(data)
        if then == "wait":
            call.conn.closes(10)
        if then == "keep":
            return b""
        return RESET if then == "reset" else None

    return act


def endless(prefix, piece):
    """Sends a prefix and then pieces until the other side has had enough."""

    def act(call):
        try:
            call.conn.send(prefix)
            while True:
                call.conn.send(piece)
        except OSError:
            return None

    return act


def drip(pieces, seconds):
    """Sends a piece every so many seconds, and keeps the connection: one that closes behind a whole reply
    may be chosen for another call before that is seen."""

    def act(call):
        try:
            for piece in pieces:
                call.conn.send(piece)
                time.sleep(seconds)
        except OSError:
            return None
        return b""

    return act


def single(data):
    """Its bytes, each for itself."""
    return [data[at : at + 1] for at in range(len(data))]


def status(code, error=None, headers=()):
    body = {"error": {"message": "as it is", "type": "x", **(error or {})}}
    return lambda call: stub.reply(body, code, headers)


def good(body):
    """A reply in good form with this body."""
    return lambda call: stub.reply(body)


def message(**fields):
    """A good answer whose message has these fields."""
    body = stub.openai("x")
    body["choices"][0]["message"].update(fields)
    return good(body)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


# ------------------------------------------------------------------------------ cut at a byte

HALF = len(BODY) // 2
CUTS = {
    "before the status": b"",
    "in the status line": b"HTTP/1.",
    "in the status": b"HTTP/1.1 20",
    "behind the status line": b"HTTP/1.1 200 OK\r\n",
    "in a header": HEAD[:30],
    "behind a header": HEAD,
    "before the end of the head": HEAD + LENGTH[:-2],
    "behind the head": HEAD + LENGTH,
    "in the body": HEAD + LENGTH + BODY[:HALF],
    "before the last byte": HEAD + LENGTH + BODY[:-1],
    "in a chunk's size": CHUNKED + b"1",
    "behind a chunk's size": CHUNKED + b"%x\r\n" % len(BODY),
    "in a chunk": CHUNKED + b"%x\r\n" % len(BODY) + BODY[:HALF],
    "before the last chunk": CHUNKED + chunk(BODY),
    "in the last chunk": CHUNKED + chunk(BODY) + b"0\r",
    "before the end of the trailers": CHUNKED + chunk(BODY) + b"0\r\nX-A: b\r\n",
}


def cuts():
    out = {}
    for how, then in (("closed", None), ("reset", "reset")):
        for where, data in CUTS.items():
            out[f"{how} {where}"] = Fault(same(data, then), "network", "presumed")
    out["a body to the end of the connection, closed in its midst"] = Fault(
        same(HEAD + b"\r\n" + BODY[:HALF]), "bad_reply", "presumed")
    out["a body to the end of the connection, reset in its midst"] = Fault(
        same(HEAD + b"\r\n" + BODY[:HALF], "reset"), "network", "presumed")
    return out


# -------------------------------------------------------------------------- streams cut at a frame


def event(data, name=None):
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def delta(finish=None, **fields):
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


USAGE = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
DONE = event("[DONE]")


def named(kind, **fields):
    return event({"type": kind, **fields}, kind)


# The frames of a stream, and after each the class and the payment if the stream ends there.
FRAMES = {
    "openai": [
        ("role", delta(role="assistant", content=""), "bad_reply", "presumed"),
        ("a text", delta(content="the whole"), "cut", "estimated"),
        ("another text", delta(content=" answer"), "cut", "estimated"),
        ("the reason", delta("stop"), "cut", "estimated"),
        ("usage", USAGE, "cut", "exact"),
        ("[DONE]", DONE, "ok", "exact"),
    ],
    "anthropic": [
        ("message_start", named("message_start", message={"usage": {"input_tokens": 7, "output_tokens": 1}}),
         "bad_reply", "estimated"),
        ("content_block_start", named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
         "bad_reply", "estimated"),
        ("a text", named("content_block_delta", index=0, delta={"type": "text_delta", "text": "the whole"}),
         "cut", "estimated"),
        ("another text", named("content_block_delta", index=0, delta={"type": "text_delta", "text": " answer"}),
         "cut", "estimated"),
        ("content_block_stop", named("content_block_stop", index=0), "cut", "estimated"),
        ("message_delta", named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3}),
         "cut", "exact"),
        ("message_stop", named("message_stop"), "ok", "exact"),
    ],
}
STREAM = SSE + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = b"".join(chunk(frame) for _, frame, _, _ in FRAMES["openai"])
SAID = chunk(delta(content="the whole"))


def frame_cuts():
    """A stream that ends behind each of its frames, and in the midst of each."""
    out = {}
    for dialect, frames in FRAMES.items():
        for how, then in (("closed", None), ("reset", "reset")):
            sent, kind, paid = STREAM, "bad_reply", "presumed"
            out[f"{dialect}: {how} behind the stream's head"] = Fault(
                same(sent, then), kind, paid, True, dialect)
            for name, frame, next_kind, next_paid in frames:
                half = chunk(frame)[: len(frame) // 2]
                out[f"{dialect}: {how} in {name}"] = Fault(
                    same(sent + half, then), kind, paid, True, dialect)
                sent, kind, paid = sent + chunk(frame), next_kind, next_paid
                out[f"{dialect}: {how} behind {name}"] = Fault(
                    same(sent, then), kind, paid, True, dialect)
    return out


# ----------------------------------------------------------------------------------------- framing

TE = b"Transfer-Encoding: chunked\r\n\r\n"
PAD = b"X-Pad: " + b"a" * 1000 + b"\r\n"
ZIPPED = gzip.compress(BODY)


def encoded(coding, data):
    return same(HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(data)) + data)


FRAMING = {
    "a body that is too short, and waits": Fault(
        same(HEAD + b"Content-Length: 9999\r\n\r\n" + BODY, "wait"), "timeout", "presumed"),
    "a body of 1 TB that never comes": Fault(
        same(HEAD + b"Content-Length: 1099511627776\r\n\r\n", "wait"), "timeout", "presumed"),
    "a length past 2^64": Fault(
        same(HEAD + b"Content-Length: 18446744073709551999\r\n\r\n" + BODY), "bad_reply", "presumed"),
    "a negative length": Fault(
        same(HEAD + b"Content-Length: -1\r\n\r\n" + BODY), "bad_reply", "presumed"),
    "two lengths": Fault(
        same(HEAD + b"Content-Length: 9\r\n" + LENGTH + BODY, "keep"), "bad_reply", "presumed"),
    "a list of lengths": Fault(
        same(HEAD + b"Content-Length: 9, 99\r\n\r\n" + BODY), "bad_reply", "presumed"),
    "a length twice": Fault(
        same(HEAD + LENGTH[:-2] + LENGTH + BODY, "keep"), "ok", "exact"),
    "a length beside chunks": Fault(
        same(HEAD + b"Content-Length: 9\r\n" + TE + chunk(BODY) + b"0\r\n\r\n", "keep"), "ok", "exact"),
    "a length that is too short": Fault(
        same(HEAD + b"Content-Length: 20\r\n\r\n" + BODY, "keep"), "bad_reply", "presumed"),
    "a length of 0": Fault(
        same(HEAD + b"Content-Length: 0\r\n\r\n" + BODY, "keep"), "bad_reply", "presumed"),
    "a chunk size that is none": Fault(same(CHUNKED + b"zz\r\n" + BODY), "bad_reply", "presumed"),
    "a chunk size that is negative": Fault(same(CHUNKED + b"-1\r\n" + BODY), "bad_reply", "presumed"),
    "a chunk size past 2^64": Fault(
        same(CHUNKED + b"fffffffffffffffff\r\n" + BODY), "bad_reply", "presumed"),
    "a chunk size that is too small": Fault(
        same(CHUNKED + b"10\r\n" + BODY + b"\r\n0\r\n\r\n"), "bad_reply", "presumed"),
    "chunk sizes with zeros, extensions and blanks": Fault(
        same(CHUNKED + b"000%x;a=b;c=\"d\" \r\n%s\r\n000 \r\nX-Trailer: t\r\n\r\n" % (len(BODY), BODY), "keep"), "ok", "exact"),
    "a blank before a chunk size": Fault(
        same(CHUNKED + b" %x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)), "bad_reply", "presumed"),
    "zeros before a chunk size without end": Fault(endless(CHUNKED, b"0" * 8192), "bad_reply", "presumed"),
    "HTTP/1.0 to the end of the connection": Fault(
        same(HEAD.replace(b"/1.1", b"/1.0") + b"\r\n" + BODY), "ok", "exact"),
    "a head that never ends": Fault(endless(HEAD, PAD), "bad_reply", "presumed"),
    "a header of 1 MB": Fault(
        same(HEAD + b"X-Pad: " + b"a" * 1048576 + b"\r\nContent-Length: 2\r\n\r\n{}"),
        "bad_reply", "presumed"),
    "a header line that never ends": Fault(endless(HEAD + b"X-Pad: ", b"a" * 8192), "bad_reply", "presumed"),
    "trailers that never end": Fault(endless(CHUNKED + chunk(BODY) + b"0\r\n", PAD), "bad_reply", "presumed"),
    "a body that never ends": Fault(
        endless(HEAD + b"\r\n", b"x" * 1048576), "bad_reply", "presumed", heavy=True),
    "chunks that never end": Fault(
        endless(CHUNKED, chunk(b"x" * 1048576)), "bad_reply", "presumed", heavy=True),
    "informational replies without end": Fault(
        endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 50), "bad_reply", "presumed"),
    "continues without end": Fault(
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50), "bad_reply", "presumed"),
    "some informational replies, and a good one": Fault(
        same(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + GOOD, "keep"),
        "ok", "exact"),
    "no HTTP at all": Fault(same(b"SSH-2.0-OpenSSH_9.2\r\n"), "bad_reply", "presumed"),
    "HTTP/0.9": Fault(same(BODY), "bad_reply", "presumed"),
    "TLS on a plain port": Fault(same(b"\x15\x03\x01\x00\x02\x02\x28"), "bad_reply", "presumed"),
    "a status that is none": Fault(
        same(b"HTTP/1.1 abc\r\nContent-Length: 0\r\n\r\n"), "bad_reply", "presumed"),
    "a version that is none": Fault(
        same(b"HTTP/7.3 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "bad_reply", "presumed"),
    "a NUL in the head": Fault(
        same(HEAD + b"X-A: b\x00c\r\nContent-Length: 2\r\n\r\n{}"), "bad_reply", "presumed"),
    "an upgrade": Fault(
        same(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "wait"),
        "bad_reply", "presumed"),
    "brotli that nobody asked for": Fault(encoded(b"br", b"\x0b\x01\x80abc\x03"), "bad_reply", "presumed"),
    "gzip that nobody asked for": Fault(encoded(b"gzip", ZIPPED), "bad_reply", "presumed"),
    "gzip that is none": Fault(encoded(b"gzip", b"\x1f\x8bnonsense"), "bad_reply", "presumed"),
    "deflate that nobody asked for": Fault(encoded(b"deflate", zlib.compress(BODY)), "bad_reply", "presumed"),
    "gzip as a transfer encoding": Fault(
        same(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk(ZIPPED) + b"0\r\n\r\n"),
        "bad_reply", "presumed"),
    "a good reply twice": Fault(same(GOOD + GOOD, "keep"), "ok", "exact"),
    "a good reply, and a reset": Fault(
        same(HEAD + b"Connection: close\r\n" + LENGTH + BODY, "reset"), "ok", "exact"),
    "a good reply byte by byte": Fault(drip(single(GOOD), 0), "ok", "exact"),
}

# -------------------------------------------------------------------------------------------- time

SLOW = {
    "nothing": Fault(same(b"", "wait"), "timeout", "presumed"),
    "a head, and nothing": Fault(same(HEAD + LENGTH, "wait"), "timeout", "presumed"),
    "half a body, and nothing": Fault(same(HEAD + LENGTH + BODY[:HALF], "wait"), "timeout", "presumed"),
    "a byte every 0.2 s": Fault(drip(single(GOOD), 0.2), "timeout", "presumed"),
    "a stream's head, and nothing": Fault(same(STREAM, "wait"), "timeout", "presumed", True),
    "a role, and nothing": Fault(
        same(STREAM + chunk(delta(role="assistant", content="")), "wait"), "timeout", "presumed", True),
    "a text, and nothing": Fault(same(STREAM + SAID, "wait"), "cut", "estimated", True),
    "comments without end": Fault(endless(STREAM, chunk(b": still there\n\n")), "timeout", "presumed", True),
    "a comment every 0.1 s": Fault(
        drip([STREAM] + [chunk(b": still there\n\n")] * 50, 0.1), "timeout", "presumed", True),
}

# ------------------------------------------------------------------------------- statuses and bodies

WAITS = [("Retry-After", "3600")]
STATUSES = {
    "204": Fault(same(b"HTTP/1.1 204 No Content\r\n\r\n", "keep"), "bad_reply", "presumed"),
    "206": Fault(status(206), "bad_reply", "presumed"),
    "301": Fault(status(301, headers=[("Location", "http://127.0.0.1:9/")]), "bad_reply", "void"),
    "304": Fault(same(b"HTTP/1.1 304 Not Modified\r\n\r\n", "keep"), "bad_reply", "void"),
    "307": Fault(status(307, headers=[("Location", "/elsewhere")]), "bad_reply", "void"),
    "400": Fault(status(400), "rejected", "void"),
    "401": Fault(status(401), "credential", "void"),
    "402": Fault(status(402), "quota", "void"),
    "403": Fault(status(403), "credential", "void"),
    "404": Fault(status(404), "model_gone", "void"),
    "405": Fault(status(405), "bad_reply", "void"),
    "407": Fault(status(407), "bad_reply", "void"),
    "408": Fault(status(408), "server_error", "void"),
    "409": Fault(status(409), "server_error", "void"),
    "410": Fault(status(410), "model_gone", "void"),
    "413": Fault(status(413), "rejected", "void"),
    "415": Fault(status(415), "bad_reply", "void"),
    "421": Fault(status(421), "bad_reply", "void"),
    "422": Fault(status(422), "rejected", "void"),
    "425": Fault(status(425), "bad_reply", "void"),
    "429": Fault(status(429), "rate_limited", "void"),
    "429 for 1 s": Fault(status(429, headers=[("Retry-After", "1")]), "rate_limited", "void"),
    "429 for an hour": Fault(status(429, headers=WAITS), "rate_limited", "void", again=False),
    "429 until a date long past": Fault(
        status(429, headers=[("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")]), "rate_limited", "void"),
    "429 for no time that there is": Fault(
        status(429, headers=[("Retry-After", "soon")]), "rate_limited", "void"),
    "429 for ever": Fault(
        status(429, headers=[("Retry-After", "9" * 40)]), "rate_limited", "void", again=False),
    "429, the quota is used up": Fault(
        status(429, {"code": "insufficient_quota"}), "quota", "void"),
    "451": Fault(status(451), "filtered", "void"),
    "500": Fault(status(500), "server_error", "void"),
    "500 without a body": Fault(lambda call: stub.reply(b"", 500), "server_error", "void"),
    "502 of a proxy's": Fault(
        lambda call: stub.reply(b"<html>Bad Gateway", 502, content_type="text/html"), "server_error", "void"),
    "503": Fault(status(503), "overloaded", "void"),
    "503 for an hour": Fault(status(503, headers=WAITS), "overloaded", "void", again=False),
    "503 as a stream": Fault(
        lambda call: stub.reply(DONE, 503, content_type="text/event-stream"), "overloaded", "void"),
    "504": Fault(status(504), "server_error", "void"),
    "529": Fault(status(529), "overloaded", "void", adapter="anthropic"),
    "599": Fault(status(599), "server_error", "void"),
    "999": Fault(status(999), "bad_reply", "void"),
}

WAIT = b"Retry-After: 3600\r\nContent-Length: 999\r\n"


def error(line, rest, then=None):
    return same(b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n%s" % (line, rest), then)


# Whose status came, and not all of the rest.
TORN = {
    "429 for an hour, cut": Fault(
        error(b"429 X", WAIT + b'\r\n{"err'), "rate_limited", "presumed", again=False),
    "429 for an hour, reset": Fault(
        error(b"429 X", WAIT + b'\r\n{"err', "reset"), "rate_limited", "presumed", again=False),
    "429 for an hour, and nothing": Fault(
        error(b"429 X", WAIT + b"\r\n", "wait"), "rate_limited", "presumed", again=False),
    "429 for an hour, encoded": Fault(
        error(b"429 X", WAIT + b"Content-Encoding: gzip\r\n\r\n" + ZIPPED), "rate_limited", "presumed", again=False),
    "429 for an hour, with two lengths": Fault(
        error(b"429 X", WAIT + b"Content-Length: 9\r\n\r\n{}"), "rate_limited", "presumed", again=False),
    "429 for an hour, in chunks that are none": Fault(
        error(b"429 X", WAIT[: WAIT.index(b"Content")] + TE + b"zz\r\n"), "rate_limited", "presumed", again=False),
    "401, cut": Fault(error(b"401 X", b"Content-Length: 9\r\n\r\n{"), "credential", "presumed"),
    "400, encoded": Fault(
        error(b"400 X", b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}"), "rejected", "presumed"),
    "503, and nothing": Fault(
        error(b"503 X", b"Content-Length: 9\r\n\r\n", "wait"), "overloaded", "presumed"),
}

BODIES = {
    "nothing in 200": Fault(good(b""), "bad_reply", "presumed"),
    "another type": Fault(
        lambda call: stub.reply(b"<html>", content_type="text/html"), "bad_reply", "presumed"),
    "no JSON": Fault(good(b"{not JSON"), "bad_reply", "presumed"),
    "JSON, and more": Fault(good(BODY + BODY), "bad_reply", "presumed"),
    "JSON that is no object": Fault(good(b"[]"), "bad_reply", "presumed"),
    "JSON of a great depth": Fault(good(b"[" * 100000 + b"]" * 100000), "bad_reply", "presumed"),
    "a NUL in the body": Fault(good(BODY.replace(b"whole", b"who\x00le")), "bad_reply", "presumed"),
    "bytes that are not UTF-8": Fault(good(BODY.replace(b"whole", b"who\xffle")), "bad_reply", "presumed"),
    "half a character": Fault(good(BODY.replace(b"whole", b"\\ud83d")), "bad_reply", "presumed"),
    "an error in 200": Fault(
        good({"error": {"message": "as it is", "type": "server_error"}}), "bad_reply", "presumed"),
    "an error that is a text": Fault(good({"error": "as it is"}), "bad_reply", "presumed"),
    "an error beside an answer": Fault(
        good({**stub.openai("x", 10, 5), "error": {"message": "as it is"}}), "bad_reply", "exact"),
    "an error that is null": Fault(good({**stub.openai(TEXT), "error": None}), "ok", "exact"),
    "no choices": Fault(good({"id": "x"}), "bad_reply", "presumed"),
    "choices that are null": Fault(good({"choices": None}), "bad_reply", "presumed"),
    "empty choices": Fault(good({"choices": []}), "bad_reply", "presumed"),
    "empty choices with usage": Fault(good({**stub.openai("x"), "choices": []}), "bad_reply", "exact"),
    "content that is null": Fault(message(content=None), "bad_reply", "exact"),
    "content that is empty": Fault(message(content=""), "bad_reply", "exact"),
    "content that is a number": Fault(message(content=7), "bad_reply", "exact"),
    "an answer of another dialect": Fault(good(stub.anthropic(TEXT)), "bad_reply", "presumed"),
}

# ----------------------------------------------------------------------------------------- streams

OH_NO = {"error": {"message": "as it is", "type": "server_error"}}
OVERLOAD = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
END = b"0\r\n\r\n"


def stream(*frames, end=END, then="keep"):
    return same(STREAM + b"".join(chunk(frame) for frame in frames) + end, then)


TOLD = delta(content="the whole")
REST = delta("stop", content=" answer")


def streams(rows):
    return {name: Fault(act, kind, paid, True) for name, (act, kind, paid) in rows.items()}


STREAMS = {
    **streams({
        "a stream of nothing": (stream(), "bad_reply", "presumed"),
        "[DONE] alone": (stream(DONE), "bad_reply", "presumed"),
        "a reason without a text": (stream(delta("stop"), DONE), "bad_reply", "presumed"),
        "empty choices in each event": (stream(event({"choices": []}), DONE), "bad_reply", "presumed"),
        "an error first": (stream(event(OH_NO), end=b"", then="wait"), "bad_reply", "presumed"),
        "an error after a text": (stream(TOLD, event(OH_NO), end=b"", then="wait"), "cut", "estimated"),
        "an error by name after a text": (
            stream(TOLD, event({"message": "as it is"}, "error"), end=b"", then="wait"), "cut", "estimated"),
        "no JSON first": (stream(event("{not JSON"), DONE), "bad_reply", "presumed"),
        "no JSON after a text": (stream(TOLD, event("{not JSON"), DONE), "cut", "estimated"),
        "a NUL after a text": (
            stream(TOLD, TOLD.replace(b"whole", b"who\x00le"), DONE), "cut", "estimated"),
        "no UTF-8 first": (stream(TOLD.replace(b"whole", b"who\xffle"), DONE), "bad_reply", "presumed"),
        "no UTF-8 after a text": (
            stream(TOLD, TOLD.replace(b"whole", b"who\xffle"), DONE), "cut", "estimated"),
        "a line of more than 1 MB": (stream(b"data: " + b"x" * 1100000), "bad_reply", "presumed"),
        "events without a text, without end": (
            endless(STREAM, chunk(delta(role="assistant"))), "bad_reply", "presumed"),
        "a chunk size that is none after a text": (
            stream(TOLD, end=b"zz\r\n", then="wait"), "cut", "estimated"),
        "an end without a reason": (stream(TOLD, USAGE), "cut", "estimated"),
        "an end without a reason, before a text": (stream(delta(content="")), "bad_reply", "presumed"),
        "a reason, no [DONE]": (stream(TOLD, REST, USAGE), "ok", "exact"),
        "[DONE], no reason": (stream(TOLD, delta(content=" answer"), USAGE, DONE), "ok", "exact"),
        "[DONE], and events without end": (
            endless(STREAM + WHOLE, chunk(TOLD)), "ok", "exact"),
        "[DONE], and nothing": (same(STREAM + WHOLE, "wait"), "ok", "exact"),
        "no usage": (stream(TOLD, REST, DONE), "ok", "estimated"),
        "a stream encoded with gzip": (
            same(SSE + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(TOLD + REST + DONE)),
            "bad_reply", "presumed"),
        "a stream of another type": (
            same(STREAM.replace(b"event-stream", b"event-streams") + WHOLE + END, "keep"), "bad_reply", "presumed"),
        "a stream without a type": (
            same(b"HTTP/1.1 200 OK\r\n" + TE + WHOLE + END, "keep"), "bad_reply", "presumed"),
        "a stream to the end of its connection": (same(SSE + b"\r\n" + TOLD + REST + USAGE), "ok", "exact"),
        "a stream to the end of its connection, closed after a text": (
            same(SSE + b"\r\n" + TOLD), "cut", "estimated"),
        "a stream byte by byte": (drip(single(STREAM + WHOLE + END), 0), "ok", "exact"),
    }),
    "texts without end": Fault(
        endless(STREAM, chunk(delta(content="x" * 30000)) * 20), "cut", "estimated", True, heavy=True),
    "overloaded in the stream": Fault(
        stream(event(OVERLOAD, "error"), end=b"", then="wait"), "bad_reply", "presumed", True, "anthropic"),
    "overloaded after a text": Fault(
        stream(*[frame for _, frame, _, _ in FRAMES["anthropic"][:3]], event(OVERLOAD, "error")),
        "cut", "estimated", True, "anthropic"),
}

FAULTS = {**cuts(), **frame_cuts(), **FRAMING, **SLOW, **STATUSES, **TORN, **BODIES, **STREAMS}

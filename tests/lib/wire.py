"""HTTP over raw sockets, for tests that need to see and say every byte.

Conn speaks to a server and reads its replies one by one, whatever they are; request() writes a well
formed request as bytes; ask() is one request on a connection of its own.
"""

import json
import socket
import struct
import time

REPLY = "/api/assistant/reply"


def free_port():
    """One that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Cut(Exception):
    """The peer closed or reset the connection before the whole reply was there."""


class Reply:
    def __init__(self, status, reason, headers, body, version, interim):
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body
        self.version = version
        self.interim = interim
        self.ms = 0.0

    def get(self, name, fallback=None):
        """The value of the first header of this name."""
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return fallback

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]

    def __repr__(self):
        return f"<Reply {self.status} {self.headers} {self.body[:600]!r}>"


def request(method="POST", path=REPLY, body=None, headers=(), host="127.0.0.1", version="1.1"):
    """A request as bytes. body: bytes, text, or anything that becomes JSON; None sends none.

    A header given with the value None is left out, also one that would be there by itself."""
    given = dict(headers)
    names = {name.lower() for name in given}
    lines = [f"{method} {path} HTTP/{version}"]
    if "host" not in names:
        lines.append(f"Host: {host}")
    data = b""
    if body is not None:
        data = body if isinstance(body, bytes) else to_json(body)
        if "content-type" not in names:
            lines.append("Content-Type: application/json")
    if body is not None or method == "POST":
        if "content-length" not in names and "transfer-encoding" not in names:
            lines.append(f"Content-Length: {len(data)}")
    lines += [f"{name}: {value}" for name, value in given.items() if value is not None]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def to_json(body):
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def chunked(data, size=7):
    """The bytes in chunks of this size, with the last one."""
    out = b""
    for at in range(0, len(data), size):
        piece = data[at : at + size]
        out += b"%x\r\n%s\r\n" % (len(piece), piece)
    return out + b"0\r\n\r\n"


class Conn:
    """One connection to a server."""

    def __init__(self, port, host="127.0.0.1", timeout=15.0):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        """Takes what comes next into the buffer; False when the peer has closed."""
        try:
            piece = self.socket.recv(65536)
        except ConnectionError:
            return False
        self.buffer += piece
        return bool(piece)

    def until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                raise Cut(f"closed after {self.buffer[:200]!r}")
        head, _, self.buffer = self.buffer.partition(mark)
        return head

    def take(self, n):
        while len(self.buffer) < n:
            if not self.more():
                raise Cut(f"closed {n - len(self.buffer)} bytes too early")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def head(self):
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, *reason = lines[0].split(" ", 2)
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        return Reply(int(status), "".join(reason), headers, b"", version, [])

    def reply(self, head_only=False):
        """The next reply; 1xx ones before it stand in its interim."""
        interim = []
        while True:
            reply = self.head()
            if reply.status >= 200:
                break
            interim.append(reply.status)
        reply.interim = interim
        if head_only or reply.status in (204, 304):
            return reply
        if (reply.get("Transfer-Encoding") or "").lower() == "chunked":
            reply.body = self.chunks()
        elif reply.get("Content-Length") is not None:
            reply.body = self.take(int(reply.get("Content-Length")))
        else:
            while self.more():
                pass
            reply.body, self.buffer = self.buffer, b""
        return reply

    def chunks(self):
        body = b""
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self.until(b"\r\n"):
                    pass
                return body
            body += self.take(size)
            self.take(2)

    def pieces(self):
        """The chunks of a chunked body one by one, as they come."""
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self.until(b"\r\n"):
                    pass
                return
            yield self.take(size)
            self.take(2)

    def events(self):
        """The server-sent events of a reply whose head was read, as they come: (name, data), with
        the data as JSON where it is some. Comments come as (None, text)."""
        text = b""
        for piece in self.pieces():
            text += piece
            while b"\n\n" in text:
                event, _, text = text.partition(b"\n\n")
                yield as_event(event.decode())
        if text:
            raise Cut(f"an event that has no end: {text[:200]!r}")

    def ask(self, *args, **kw):
        began = time.monotonic()
        head_only = args[:1] == ("HEAD",)
        self.send(request(*args, **kw))
        reply = self.reply(head_only)
        reply.ms = (time.monotonic() - began) * 1000
        return reply

    def closes(self, within=3.0):
        """Whether the peer ends the connection within so many seconds; what it says until then is
        kept in the buffer."""
        end = time.monotonic() + within
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.socket.settimeout(left)
            try:
                if not self.more():
                    return True
            except TimeoutError:
                return False
            finally:
                self.socket.settimeout(self.timeout)


def as_event(text):
    name, data = "", []
    for line in text.split("\n"):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "":
            return None, value
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
    data = "\n".join(data)
    try:
        return name, json.loads(data)
    except ValueError:
        return name, data


class Stream:
    """A streamed answer: its head, and what came of it."""

    def __init__(self, conn, body, path=REPLY, headers=()):
        self.conn = conn
        self.began = time.monotonic()
        conn.send(request("POST", path, {**body, "stream": True}, headers))
        self.head = conn.head()
        self.status = self.head.status
        self.texts, self.times, self.comments = [], [], 0
        self.done, self.error = None, None
        self.order = []
        self.source = conn.events()

    @property
    def text(self):
        return "".join(self.texts)

    def get(self, name):
        return self.head.get(name)

    def follow(self, deltas=None):
        """Reads on to the end, or until so many deltas are there."""
        if self.get("Content-Type") != "text/event-stream":
            raise Cut(f"no stream: {self.head}")
        for name, data in self.source:
            self.order.append(name)
            if name is None:
                self.comments += 1
            elif name == "delta":
                self.texts.append(data["text"])
                self.times.append(time.monotonic() - self.began)
                if deltas is not None and len(self.texts) >= deltas:
                    return self
            else:
                setattr(self, name, data)
        return self


def ask(port, *args, timeout=15.0, **kw):
    """One request on a connection of its own."""
    with Conn(port, timeout=timeout) as conn:
        return conn.ask(*args, **kw)

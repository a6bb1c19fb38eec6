"""A provider of the test's own on a raw socket: what it does with each connection is a function."""

import json
import socket
import ssl
import struct
import threading

import wire


def openai(text="stub says hello", prompt=10, completion=5, **usage):
    """The body of a good answer in OpenAI's dialect."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    counts["total_tokens"] = prompt + completion
    counts.update(usage)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "stub",
        "choices": [choice],
        "usage": counts,
    }


def anthropic(text="stub says hello", prompt=10, completion=5, **usage):
    """The body of a good answer in Anthropic's dialect."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "stub",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": prompt, "output_tokens": completion, **usage},
    }


def reply(body, status=200, headers=(), content_type="application/json"):
    """A whole reply as bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Status", f"Content-Type: {content_type}"]
    lines += [f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Call:
    """A request that came, and its connection."""

    def __init__(self, conn, nth, method, path, headers, body):
        self.conn = conn
        self.nth = nth  # of all requests, from 1
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.on = 0  # of its connection's requests, from 1

    def json(self):
        return json.loads(self.body)

    def get(self, name):
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None


class Stub:
    """Listens on a port of its own. handle(call) returns the bytes of the reply, or None to close,
    or RESET; it may also use call.conn itself. Every request that came whole is kept in calls."""

    RESET = object()

    def __init__(self, handle, certificate=None, port=0):
        self.handle = handle
        self.calls = []
        self.connections = 0
        self.faults = []
        self.lock = threading.Lock()
        self.tls = None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*certificate)
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.open.add(sock)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        raw = sock
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self.talk(Client(sock))
        except (OSError, wire.Cut, ssl.SSLError) as fault:
            with self.lock:
                self.faults.append(str(fault))
        finally:
            sock.close()
            raw.close()
            with self.lock:  # what is not open any more is closed
                self.open.discard(raw)

    def talk(self, client):
        on = 0
        while True:
            call = client.request()
            if call is None:
                return
            on += 1
            call.on = on
            with self.lock:
                self.calls.append(call)
                call.nth = len(self.calls)
            answer = self.handle(call)
            if answer is self.RESET:
                client.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                return
            if answer is None:
                return
            client.send(answer)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for sock in list(self.open):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.thread.join(5)

    def tail(self):
        return f"--- stub: {len(self.calls)} calls, {self.connections} connections, {self.faults[-5:]}"


class Client(wire.Conn):
    """The stub's end of a connection."""

    def __init__(self, sock):
        self.socket = sock
        self.timeout = 60.0
        self.buffer = b""
        sock.settimeout(60.0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self):
        """The next request whole; None when the connection has ended."""
        while not self.buffer:
            if not self.more():
                return None
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines[1:])]
        call = Call(self, 0, method, path, headers, b"")
        call.body = self.take(int(call.get("Content-Length") or 0))
        return call

"""Refusals that come while a client is still sending 10 MB (T23): 401, 413 and 415 can be read, always."""

import hashlib
import socket
import threading

import case
import wire

EACH = 200
AT_ONCE = 8
LENGTH = 10 << 20
PIECE = b"x" * 65536
KEY = "neap-test-key-0123456789"
HASH = "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()


class EarlyRefusal(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        policies.tenants = {"acme": {"keys": [HASH]}}

    def upload(self, headers):
        """Sends like a client that looks for a reply only when it is done or can send no more; the status
        that it reads."""
        with self.server.conn() as conn:
            conn.socket.settimeout(20)
            try:
                conn.send(wire.request(headers={"Content-Length": str(LENGTH), **headers}))
                for _ in range(LENGTH // len(PIECE)):
                    conn.send(PIECE)
            except OSError:
                pass
            try:
                reply = conn.reply()
                return reply.status, reply.error["type"]
            except (wire.Cut, OSError, socket.timeout, ValueError) as fault:
                return 0, str(fault)

    def check(self, headers, status, kind):
        got, lock, left = [], threading.Lock(), [EACH]

        def run():
            while True:
                with lock:
                    left[0] -= 1
                    if left[0] < 0:
                        return
                one = self.upload(headers)
                with lock:
                    got.append(one)

        threads = [threading.Thread(target=run) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        readable = sum(one == (status, kind) for one in got)
        case.say(f"{status} while {LENGTH >> 20} MB are sent: {readable} of {EACH} replies were readable")
        self.assertEqual(readable, EACH, sorted(set(got)))

    def test_a_wrong_key_is_told_while_the_body_comes(self):
        self.check({"Authorization": "Bearer wrong", "Content-Type": "application/json"}, 401, "unauthorized")

    def test_a_body_that_is_too_large_is_told_while_it_comes(self):
        self.check({"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}, 413, "too_large")

    def test_a_wrong_content_type_is_told_while_the_body_comes(self):
        self.check({"Authorization": f"Bearer {KEY}", "Content-Type": "text/plain"}, 415, "unsupported_media_type")


if __name__ == "__main__":
    case.main()

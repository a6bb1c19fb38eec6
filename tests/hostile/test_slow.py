"""Clients that are slow on purpose (T22): heads and bodies that trickle, connections that say nothing,
readers that do not read. They end, and meanwhile everybody else is served as ever.

ctest: serial"""

import threading
import time

import case
import wire

EACH = 60  # connections of each kind
PATIENCE = 10.0  # a head must be in, a body must come at 1 KB/s
# Each connection is looked at every 2 s, and a byte may come right after it was; the rest is for a busy machine.
LATE = 6.0


class Slow(case.Case):
    workers = 1

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    def setUp(self):
        self.stop = threading.Event()
        self.ended = {}

    def attack(self, name, begin, trickle):
        """So many connections that begin with these bytes and then send a byte every half second; a
        thread looks after all of them and writes down when each was ended."""
        conns = []
        for _ in range(EACH):
            conn = self.server.conn()
            conn.send(begin)
            conns.append(conn)
        began = time.monotonic()
        times = self.ended.setdefault(name, [])

        def run():
            left = list(conns)
            while left and not self.stop.is_set():
                for conn in list(left):
                    if self.is_over(conn, trickle):
                        times.append(time.monotonic() - began)
                        left.remove(conn)
                        conn.close()
                time.sleep(0.5)
            for conn in left:
                conn.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    @staticmethod
    def is_over(conn, trickle):
        """Sends a byte; whether the server has ended the connection, with or without a word."""
        try:
            if trickle:
                conn.send(trickle)
            return conn.closes(0.001)
        except OSError:
            return True

    def good_clients(self, seconds):
        """Latencies of plain requests on a connection that lasts."""
        times, end = [], time.monotonic() + seconds
        with self.server.conn() as conn:
            while time.monotonic() < end:
                reply = conn.ask(body={"prompt": "a"})
                self.assertGood(reply)
                times.append(reply.ms)
                time.sleep(0.01)
        times.sort()
        return times[len(times) // 2], times[int(len(times) * 0.99)]

    def test_slow_clients_end_and_others_are_served_meanwhile(self):
        quiet = self.good_clients(1.5)
        head = b"POST /api/assistant/reply HTTP/1.1\r\nHost: localhost\r\nX-A: "
        body = wire.request(body=b"", headers={"Content-Length": "50000"})
        used = wire.request("GET", "/nothing")
        threads = [
            self.attack("a head that trickles", head, b"a"),
            self.attack("no byte at all", b"", b""),
            self.attack("a body that trickles", body, b" "),
            self.attack("a request line that trickles behind a first request", used, b"G"),
            self.attack("half a head behind a first request", used + head, b""),
        ]
        loaded = self.good_clients(PATIENCE + LATE)
        self.stop.set()
        for thread in threads:
            thread.join()
        for name, times in self.ended.items():
            latest = max(times, default=0)
            case.say(f"{name}: {len(times)} of {EACH} ended, the last after {latest:.1f} s")
            self.assertEqual(len(times), EACH, name)
            self.assertLess(latest, PATIENCE + LATE, name)
            self.assertGreater(min(times), PATIENCE - 3, f"{name}: ended too early")
        case.say(f"a good client's p50 and p99: {quiet[0]:.1f}, {quiet[1]:.1f} ms alone, "
                 f"{loaded[0]:.1f}, {loaded[1]:.1f} ms beside {len(self.ended) * EACH} slow ones")
        self.assertLess(loaded[0], max(2 * quiet[0], quiet[0] + 10))
        self.assertLess(loaded[1], quiet[1] + 200)  # what else the machine does is in it
        refused = self.server.metrics().get("neap_http_refused_total", cause="timeout")
        self.assertGreaterEqual(refused, 3 * EACH)

    def test_a_reader_that_does_not_read_holds_nobody_up(self):
        self.mock.control(m={"text": "x" * 3000, "first_ms": 1, "total_ms": 1})
        self.addCleanup(self.mock.control)
        stuck = []
        for _ in range(20):
            conn = self.server.conn()
            self.addCleanup(conn.close)
            conn.socket.setsockopt(wire.socket.SOL_SOCKET, wire.socket.SO_RCVBUF, 2048)
            conn.send(wire.request(body={"prompt": "a"}) * 40)
            stuck.append(conn)
        p50, p99 = self.good_clients(1.5)
        case.say(f"beside 20 clients that do not read: p50 {p50:.1f}, p99 {p99:.1f} ms")
        self.assertLess(p50, 100)


if __name__ == "__main__":
    case.main()

"""What becomes of telemetry when its collector is away, slow, or refuses; and that requests never
notice."""

import os
import signal
import tempfile
import time

import case
import otel
import otlp
import procs
import stub
import wire

NEVER = "3600000"


class Delivery(otel.Otel):
    # -- collectors that do not take it at once

    def test_spans_wait_for_a_collector_that_comes_later(self):
        port = wire.free_port()
        server = self.start(f"http://127.0.0.1:{port}")
        reply = server.ask("hello")
        self.assertTrue(procs.wait_for(lambda: self.exports("retried") >= 1))
        collector = self.collector(port=port)
        self.assertEqual(len(collector.of(reply.get("X-Request-Id"), seconds=15)), 2)
        self.reaches(lambda: self.spans("sent"), 2)

    def test_a_collector_that_is_busy_is_asked_again_when_it_wishes(self):
        times = []

        def busy_once(call):
            times.append(time.monotonic())
            return stub.reply({}, 429, [("Retry-After", "1")]) if len(times) == 1 else None

        collector = self.collector(busy_once)
        reply = self.start(collector.url).ask("hello")
        self.assertEqual(len(collector.of(reply.get("X-Request-Id"))), 2)
        self.assertGreaterEqual(times[1] - times[0], 0.95)
        self.assertEqual((len(times), self.exports("retried")), (2, 1))

    def test_five_tries_are_made_and_then_the_batch_is_given_up(self):
        statuses = (429, 502, 503, 504)

        def busy(call):
            return stub.reply({}, statuses[(call.nth - 1) // 5], [("Retry-After", "0")])

        collector = self.collector(busy)
        self.start(collector.url)
        for n in range(1, len(statuses) + 1):
            self.ask()
            self.reaches(lambda n=n: self.spans("failed"), 2 * n)
            self.assertEqual((len(collector.calls), self.exports("failed")), (5 * n, n))
        self.assertLogged("error telemetry could not be delivered.* tries=5 status=429")

    def test_a_refusal_is_not_tried_again(self):
        statuses = (400, 401, 404, 413, 500)
        collector = self.collector(lambda call: stub.reply({}, statuses[call.nth - 1]))
        self.start(collector.url)
        for n in range(1, len(statuses) + 1):
            self.ask()
            self.reaches(lambda n=n: self.spans("failed"), 2 * n)
            self.assertEqual((len(collector.calls), self.exports("retried")), (n, 0))

    def test_an_outage_is_told_once_and_its_end_too(self):
        calls = []

        def down_at_first(call):
            calls.append(call)
            return stub.reply({}, 400) if len(calls) <= 3 else None

        collector = self.collector(down_at_first)
        self.start(collector.url)
        for n in range(1, 4):
            self.ask()
            self.reaches(lambda n=n: self.spans("failed"), 2 * n)
        self.ask()
        self.assertLogged("telemetry is delivered again")
        self.assertEqual(self.server.log().count("telemetry could not be delivered"), 1)

    def test_what_a_collector_did_not_take_is_counted(self):
        for protocol in ("http/protobuf", "http/json"):
            with self.subTest(protocol=protocol):
                part = {"rejectedSpans": "1", "errorMessage": "one is odd"}
                collector = self.collector(lambda call: collector.taken(call, part))
                self.start(collector.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
                self.ask()
                self.reaches(lambda: self.spans("refused"), 1)
                self.assertEqual((self.spans("sent"), self.spans("failed")), (1, 0))
                self.assertLogged("the collector has not taken all.* rejected=1")
                self.end()

    def test_an_answer_that_makes_no_sense_is_an_answer(self):
        bodies = (b"", b"\xff" * 40, b"\x0a\x7f", b"{", b'{"partialSuccess":[]}', b'{"partialSuccess":{}}')
        for protocol in ("http/protobuf", "http/json"):
            collector = self.collector(lambda call: stub.reply(bodies[call.nth - 1]))
            self.start(collector.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
            for n in range(1, len(bodies) + 1):
                self.ask()
                self.reaches(lambda n=n: self.spans("sent"), 2 * n)
            self.end()

    # -- nothing waits for a collector

    def test_requests_do_not_wait_for_a_collector_that_hangs(self):
        collector = self.collector(lambda _: time.sleep(30))
        self.start(collector.url)
        self.ask(4)
        self.assertTrue(procs.wait_for(lambda: collector.calls))
        slowest = max(self.timed() for _ in range(40))
        case.say(f"the slowest of 40 requests beside a collector that hangs: {slowest * 1000:.0f} ms")
        self.assertLess(slowest, 5)

    def timed(self):
        began = time.monotonic()
        self.ask()
        return time.monotonic() - began

    def test_what_finds_no_room_is_dropped_and_counted(self):
        collector = self.collector(lambda _: time.sleep(30))
        self.start(collector.url, OTEL_BSP_MAX_QUEUE_SIZE="20", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10")
        self.ask(40)
        # 80 spans: at most 10 under way and 20 that wait.
        self.assertTrue(procs.wait_for(lambda: self.spans("dropped") >= 50))
        self.assertEqual(self.spans("sent"), 0)
        self.assertLessEqual(self.spans("dropped"), 80 - 20)

    def test_spans_that_find_no_room_leave_the_records_theirs(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "decisions")
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        collector = self.collector()
        # A pipe that nobody reads holds the writer up; in JSON spans take the more room.
        self.start(
            collector.url, flags=("--decisions", path), OTEL_EXPORTER_OTLP_PROTOCOL="http/json"
        )
        self.addCleanup(os.close, reader)
        for n in range(4000):
            self.ask()
            if n % 50 == 49 and self.spans("dropped") > 0:
                break
        self.assertGreater(self.spans("dropped"), 0)
        case.say(f"spans were dropped after at most {n + 1} requests")
        self.assertEqual(self.server.metrics().get("neap_log_dropped_total"), 0)

    def test_a_full_batch_is_sent_before_its_time(self):
        collector = self.collector()
        self.start(collector.url, OTEL_BSP_SCHEDULE_DELAY=NEVER, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="6")
        self.ask(2)
        time.sleep(0.3)
        self.assertEqual(len(collector.calls), 0)
        self.ask()
        self.assertTrue(procs.wait_for(lambda: len(collector.spans) == 6))

    # -- the end

    def test_what_waits_is_sent_at_the_end(self):
        collector = self.collector()
        self.start(
            collector.url,
            metrics=True,
            OTEL_BSP_SCHEDULE_DELAY=NEVER,
            OTEL_METRIC_EXPORT_INTERVAL=NEVER,
        )
        self.ask(3)
        self.assertEqual(len(collector.calls), 0)
        self.end()
        self.assertEqual(len(collector.spans), 6)
        (last,) = collector.metrics
        self.assertEqual([point["asInt"] for _, point in otlp.points(last["neap_requests_total"])], [3])
        self.assertEqual(collector.broken, [])

    def test_a_collector_that_hangs_does_not_hold_the_end_up_for_long(self):
        collector = self.collector(lambda _: time.sleep(60))
        self.start(collector.url, metrics=True, OTEL_BSP_SCHEDULE_DELAY=NEVER)
        self.ask(3)
        began = time.monotonic()
        self.server.signal(signal.SIGTERM)
        self.server.process.wait(30)
        took = time.monotonic() - began
        case.say(f"ended after {took:.1f} s beside a collector that hangs")
        self.assertLess(took, 10)
        self.assertLogged("telemetry could not be delivered|spans were not sent before the end")

    def test_a_collector_that_is_away_does_not_hold_the_end_up(self):
        self.start(f"http://127.0.0.1:{wire.free_port()}", metrics=True)
        self.ask()
        self.assertTrue(procs.wait_for(lambda: self.exports("retried") >= 1))
        self.end()


if __name__ == "__main__":
    case.main()

"""Spans of many workers, a collector that is slow at times, scrapes and the end, all at once, for the
ThreadSanitizer: it must find no race.

ctest: timeout 120"""

import threading
import time

import case
import otlp
import procs
import stub

SECONDS = 6


class Races(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.started.remove(cls.server)
        cls.server.stop()

    def slow_at_times(self, call):
        if call.nth % 7 == 0:
            time.sleep(0.2)
        return stub.reply({}, 503, [("Retry-After", "0")]) if call.nth % 11 == 0 else None

    def test_spans_of_many_workers_reach_the_collector_without_a_race(self):
        collector = otlp.Collector(self.slow_at_times)
        self.addCleanup(collector.stop)
        env = {
            **self.env,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "32",
            "OTEL_METRIC_EXPORT_INTERVAL": "30",
        }
        server = procs.Serve(self.policies, env=env, workers=3)
        self.started.append(server)
        end, asked = time.monotonic() + SECONDS, [0] * 6

        def ask(i):
            while time.monotonic() < end:
                self.assertEqual(server.ask("hello").status, 200)
                asked[i] += 1
                if i == 0:
                    server.metrics()

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(asked))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        settled = procs.wait_for(
            lambda: server.metrics().get("neap_otel_spans_total") == 2 * sum(asked), 30, 0.2
        )
        sent = server.metrics().get("neap_otel_spans_total", result="sent")
        self.started.remove(server)
        server.stop()
        case.say(f"{sum(asked)} requests, {len(collector.spans)} spans, {len(collector.metrics)} metrics")
        self.assertTrue(settled, "spans are neither sent nor dropped")
        self.assertGreater(sum(asked), 50)
        self.assertEqual(collector.broken, [])
        self.assertEqual(len(collector.spans), sent)


if __name__ == "__main__":
    case.main()

"""What the OTEL_* variables of the environment say, and what becomes of those that are not understood."""

import os
import subprocess
import tempfile
import time

import case
import otel
import procs
import stub
import wire

TOKEN = "canary-token-5150"


class Environment(otel.Otel):
    def test_one_signal_may_go_elsewhere_or_nowhere(self):
        collector = self.collector()
        self.start(
            "",
            metrics=True,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=collector.url + "/here/traces",
            OTEL_EXPORTER_OTLP_TRACES_HEADERS="x-signal=traces",
            OTEL_EXPORTER_OTLP_HEADERS="x-signal=both",
            OTEL_METRIC_EXPORT_INTERVAL="50",
        )
        reply = self.server.ask("hello")
        collector.of(reply.get("X-Request-Id"))
        time.sleep(0.3)
        self.assertEqual({(c.path, c.get("X-Signal")) for c in collector.calls}, {("/here/traces", "traces")})

    def test_a_path_before_the_signals_is_kept(self):
        collector = self.collector()
        self.start(collector.url + "/otlp/", metrics=True, OTEL_METRIC_EXPORT_INTERVAL="50")
        self.ask()
        want = {"/otlp/v1/traces", "/otlp/v1/metrics"}
        self.assertTrue(procs.wait_for(lambda: {call.path for call in collector.calls} == want))

    def test_nothing_is_sent_where_it_is_not_wanted(self):
        collector = self.collector()
        for name, value in (
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        ):
            self.start(collector.url, OTEL_METRIC_EXPORT_INTERVAL="50", **{name: value})
            self.ask()
            self.assertFalse(self.server.metrics().has("neap_otel_spans_total"), name)
            self.end()
        self.assertEqual(collector.connections, 0)

    def test_what_is_not_understood_is_told_by_name_and_stops_nothing(self):
        for name, value in (
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", f"{TOKEN}:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://user:{TOKEN}@127.0.0.1:1/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", f"{TOKEN}"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", f"{TOKEN}"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_RESOURCE_ATTRIBUTES", f"{TOKEN}"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ):
            self.start(f"http://127.0.0.1:{wire.free_port()}", **{name: value})
            self.ask()
            self.assertLogged(f"warn .*a variable is not taken.* variable={name} ")
            self.assertNotIn(TOKEN, self.server.log())
            self.end()

    def test_tokens_for_the_collector_are_never_logged(self):
        env = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {TOKEN}"}
        collector = self.collector(lambda _: stub.reply({}, 401))
        self.start(collector.url, **env)
        self.ask()
        self.reaches(lambda: self.spans("failed"), 2)
        self.assertEqual(collector.calls[0].get("Authorization"), f"Bearer {TOKEN}")
        for text in (self.server.log(), self.server.read("stderr"), self.server.metrics().text):
            self.assertNotIn(TOKEN, text)

    def test_a_header_that_can_not_be_sent_is_told(self):
        collector = self.collector()
        self.start(collector.url, OTEL_EXPORTER_OTLP_HEADERS=f"x-token={TOKEN}%0d%0aHost: evil")
        self.ask()
        self.assertLogged("telemetry could not be delivered.*a header can't be sent")
        self.assertEqual(collector.connections, 0)
        self.assertNotIn(TOKEN, self.server.log())

    def test_a_collector_with_a_certificate_of_its_own(self):
        with tempfile.TemporaryDirectory() as folder:
            cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
                + ["-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=collector"]
                + ["-addext", "subjectAltName=IP:127.0.0.1"],
                check=True,
                capture_output=True,
            )
            collector = self.collector(certificate=(cert, key))
            self.start(collector.url)
            self.ask()
            self.assertTrue(procs.wait_for(lambda: self.exports("retried") >= 1))
            self.assertEqual(collector.calls, [])
            self.end()
            self.start(collector.url, OTEL_EXPORTER_OTLP_CERTIFICATE=cert)
            self.ask()
            self.assertTrue(procs.wait_for(lambda: len(collector.spans) == 2))
            self.end()


if __name__ == "__main__":
    case.main()

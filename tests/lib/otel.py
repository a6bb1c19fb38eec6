"""The class of tests that start servers with OpenTelemetry on, each as it wants it."""

import case
import otlp
import procs


class Otel(case.Case):
    """No server is shared: start() makes one, which ends with the test."""

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.stop()
        cls.started.remove(cls.server)

    def collector(self, answers=None, **kw):
        made = otlp.Collector(answers, **kw)
        self.addCleanup(made.stop)
        return made

    def start(self, url, metrics=False, flags=(), **more):
        env = {
            **self.env,
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRICS_EXPORTER": "otlp" if metrics else "none",
            **more,
        }
        self.server = self.own(self.serve(self.policies, env=env, flags=flags, workers=1))
        self.addCleanup(self.end)
        return self.server

    def end(self):
        if self.server in self.started:
            self.started.remove(self.server)
            self.server.stop()

    def spans(self, result):
        return self.server.metrics().get("neap_otel_spans_total", result=result)

    def exports(self, result, signal_name="traces"):
        return self.server.metrics().get("neap_otel_exports_total", signal=signal_name, result=result)

    def reaches(self, read, value, seconds=10.0):
        self.assertEqual(procs.wait_for(lambda: read() == value and value, seconds), value)

    def ask(self, n=1):
        for _ in range(n):
            self.assertEqual(self.server.ask("hello").status, 200)

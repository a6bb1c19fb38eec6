"""OpenTelemetry: spans and metrics as a collector gets them, in both encodings."""

import math
import re
import time

import case
import otlp
import procs
import stub
import wire

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{PARENT}-01"
ID = "m-2026"  # of the model m, as its provider calls it
QUICK = {"first_ms": 1, "total_ms": 2}
SECRET = "canary-prompt-8271"


def settings(url, **more):
    """Sent soon, so that tests need not wait."""
    return {
        **case.Case.env,
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        **more,
    }


class Told(case.Case):
    """What stands in spans and metrics. Derived classes choose the encoding."""

    protocol = None

    @classmethod
    def setUpClass(cls):
        cls.collector = otlp.Collector()
        cls.env = settings(cls.collector.url, OTEL_EXPORTER_OTLP_HEADERS="x-token=a%20b, x-other=2")
        cls.env["OTEL_SERVICE_NAME"] = "help desk"
        cls.env["OTEL_RESOURCE_ATTRIBUTES"] = "deployment.environment.name=t%C3%A9st,service.name=no"
        if cls.protocol:
            cls.env["OTEL_EXPORTER_OTLP_PROTOCOL"] = cls.protocol
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.collector.stop()

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p", id=ID)
        policies.provider("q")
        policies.model("other", "q")
        policies.endpoint("assistant", ["m", "other"], max_attempts=3)
        policies.endpoint("one", ["m"], max_attempts=1)
        policies.endpoint("raced", ["m", "other"], hedge_after_ms=50)
        policies.hook("route", '(req)\n  return nil, "because of " .. req.messages[1].content')

    def setUp(self):
        self.mock.control()

    def ask(self, path=wire.REPLY, attempts=1, headers=(), **body):
        reply = self.server.ask({"prompt": SECRET, **body}, path, headers)
        return self.collector.of(reply.get("X-Request-Id"), attempts)

    def test_a_request_is_a_span_of_a_server_with_an_attempt_as_its_child(self):
        before = time.time_ns()
        own, call = self.ask()
        after = time.time_ns()
        self.assertEqual((own.kind, call.kind), (2, 3))
        self.assertEqual((own.name, call.name), ("POST /api/assistant/reply", "chat m-2026"))
        self.assertEqual((call.trace, call.parent), (own.trace, own.id))
        self.assertIsNone(own.parent)
        self.assertRegex(own.trace, r"^(?!0{32})[0-9a-f]{32}$")
        self.assertRegex(own.id, r"^(?!0{16})[0-9a-f]{16}$")
        self.assertNotEqual(own.id, call.id)
        self.assertFalse(own.failed or call.failed)
        self.assertLessEqual(before, own.start + 2_000_000)
        self.assertLessEqual(own.start, call.start)
        self.assertLess(call.start, call.end)
        self.assertLessEqual(call.end, own.end)
        self.assertLessEqual(own.end, after + 2_000_000)

    def test_the_spans_say_what_the_decision_record_says(self):
        own, call = self.ask(maxTokens=77, temperature=0.25)
        record = self.server.decision(own.attrs["neap.request.id"])
        attempt = record["attempts"][0]
        want = {
            "http.request.method": "POST",
            "http.route": wire.REPLY,
            "url.path": wire.REPLY,
            "url.scheme": "http",
            "http.response.status_code": 200,
            "neap.request.id": record["requestId"],
            "neap.tenant": "anonymous",
            "neap.policy": record["policy"],
            "neap.outcome": "ok",
            "neap.model": "m",
            "neap.degraded": False,
            "neap.attempts": 1,
        }
        self.assertEqual({key: own.attrs.get(key) for key in want}, want)
        self.assertAlmostEqual(own.attrs["neap.cost_usd"], record["costUsd"], 12)
        self.assertGreaterEqual(own.attrs["neap.hooks.duration"], 0)
        want = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "m-2026",
            "gen_ai.request.max_tokens": 77,
            "gen_ai.request.temperature": 0.25,
            "gen_ai.usage.input_tokens": attempt["tokens"]["prompt"],
            "gen_ai.usage.output_tokens": attempt["tokens"]["completion"],
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.response.model": ID,
            "server.address": "127.0.0.1",
            "server.port": self.mock.port,
            "http.response.status_code": 200,
            "neap.provider": "p",
            "neap.model": "m",
            "neap.settled": "exact",
        }
        self.assertEqual({key: call.attrs.get(key) for key in want}, want)
        self.assertRegex(call.attrs["gen_ai.response.id"], "^chatcmpl-[0-9a-f]{16}$")
        self.assertAlmostEqual(call.attrs["neap.cost_usd"], attempt["costUsd"], 12)
        self.assertNotIn("error.type", call.attrs)
        self.assertNotIn("http.request.resend_count", call.attrs)

    def test_an_attempt_that_fails_is_an_error_and_its_successor_says_that_it_repeats(self):
        self.mock.control(**{ID: {"status": 404, **QUICK}})
        own, first, second = self.ask(attempts=2)
        self.assertEqual((first.failed, second.failed, own.failed), (True, False, False))
        self.assertEqual(first.attrs["error.type"], "model_gone")
        self.assertNotIn("gen_ai.response.id", first.attrs)
        self.assertEqual(first.attrs["http.response.status_code"], 404)
        self.assertEqual(second.attrs["http.request.resend_count"], 1)
        self.assertEqual(second.attrs["gen_ai.request.model"], "other")
        self.assertEqual(own.attrs["neap.attempts"], 2)
        self.assertLessEqual(first.end, second.start)
        self.assertEqual(len({own.id, first.id, second.id}), 3)

    def test_a_call_beside_another_is_a_span_beside_it_and_the_one_that_lost_is_no_error(self):
        # One in twenty requests may have a second call.
        for _ in range(30):
            self.server.ask("hello", "/api/raced/reply")
        self.mock.control(**{ID: {"first_ms": 4000, "total_ms": 4000}}, other={"text": "first", **QUICK})
        own, lost, hedge = self.ask("/api/raced/reply", attempts=2)
        self.assertEqual((own.failed, lost.failed, hedge.failed), (False, False, False))
        self.assertLess(hedge.start, lost.end)
        self.assertEqual((lost.attrs.get("neap.lost"), hedge.attrs.get("neap.hedge")), (True, True))
        self.assertNotIn("error.type", lost.attrs)
        self.assertNotIn("http.request.resend_count", hedge.attrs)
        self.assertEqual(own.attrs["neap.model"], "other")
        self.assertEqual(len({own.id, lost.id, hedge.id}), 3)

    def test_a_degraded_reply_is_no_error_and_says_why(self):
        self.mock.control(**{ID: {"status": 503, **QUICK}})
        own, _ = self.ask("/api/one/reply")
        self.assertEqual((own.attrs["neap.outcome"], own.attrs["neap.reason"]), ("degraded", "exhausted"))
        self.assertTrue(own.attrs["neap.degraded"])
        self.assertFalse(own.failed)

    def test_a_stream_says_when_its_first_text_came(self):
        self.mock.control(every={"first_ms": 40, "total_ms": 60, "text": "some words that stream"})
        with self.server.conn() as conn:
            stream = self.server.stream("hello", conn=conn).follow()
        own, call = self.collector.of(stream.get("X-Request-Id"))
        self.assertTrue(call.attrs["gen_ai.request.stream"])
        self.assertEqual(call.attrs["gen_ai.response.model"], ID)
        self.assertRegex(call.attrs["gen_ai.response.id"], "^chatcmpl-[0-9a-f]{16}$")
        first = call.attrs["gen_ai.response.time_to_first_chunk"]
        self.assertGreaterEqual(first, 0.035)
        self.assertLessEqual(first, (call.end - call.start) / 1e9)
        self.assertTrue(own.attrs["neap.stream"])

    def test_a_call_that_is_refused_at_the_door_is_a_span_too(self):
        for reply, name, outcome in (
            (self.server.ask("x", "/nowhere"), "POST", "not_found"),
            (wire.ask(self.server.port, "PUT", wire.REPLY, b""), f"PUT {wire.REPLY}", "method_not_allowed"),
            (wire.ask(self.server.port, "BREW", wire.REPLY, b""), f"HTTP {wire.REPLY}", "method_not_allowed"),
        ):
            (own,) = self.collector.of(reply.get("X-Request-Id"), 0)
            self.assertEqual((own.name, own.attrs["neap.outcome"]), (name, outcome))
            self.assertEqual(own.attrs["http.response.status_code"], reply.status)
            self.assertFalse(own.failed)

    def test_a_client_that_leaves_makes_a_cancelled_span(self):
        self.mock.control(every={"first_ms": 3000, "total_ms": 3000})
        before = self.mock.calls(ID)
        with self.server.conn() as conn:
            conn.send(wire.request(body={"prompt": "x"}, headers={"X-Request-Id": "left-early"}))
            self.assertTrue(procs.wait_for(lambda: self.mock.calls(ID) > before))
        own, call = self.collector.of("left-early")
        self.assertEqual(own.attrs["neap.outcome"], "cancelled")
        self.assertEqual(call.attrs["error.type"], "cancelled")

    # -- whose trace it is

    def test_the_clients_span_is_the_parent(self):
        own, call = self.ask(headers={"traceparent": GIVEN, "tracestate": "a=1,b=x y"})
        self.assertEqual((own.trace, own.parent), (TRACE, PARENT))
        self.assertEqual(call.trace, TRACE)
        for span in (own, call):
            self.assertEqual(span.raw["traceState"], "a=1,b=x y")
        self.assertEqual((own.raw["flags"], call.raw["flags"]), (0x301, 0x101))

    def test_a_parent_that_is_not_valid_begins_a_new_trace(self):
        for bad in (GIVEN.upper(), GIVEN[:-1], f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"):
            own, _ = self.ask(headers={"traceparent": bad})
            self.assertIsNone(own.parent, bad)
            self.assertNotEqual(own.trace, TRACE)

    def test_what_the_client_has_not_sampled_is_not_sent(self):
        reply = self.server.ask("hello", headers={"traceparent": GIVEN[:-2] + "00"})
        self.ask()
        skipped = reply.get("X-Request-Id")
        self.assertFalse([s for s in self.collector.spans if s.attrs.get("neap.request.id") == skipped])

    # -- around the spans

    def test_the_resource_is_named_by_the_environment(self):
        own, _ = self.ask()
        self.assertEqual(own.resource["service.name"], "help desk")
        self.assertEqual(own.resource["deployment.environment.name"], "tést")
        self.assertRegex(own.resource["service.instance.id"], r"^[0-9a-f-]{36}$")
        self.assertIn("service.version", own.resource)

    def test_the_headers_of_the_environment_are_sent(self):
        self.ask()
        call = self.collector.calls[-1]
        self.assertEqual((call.get("X-Token"), call.get("X-Other")), ("a b", "2"))
        self.assertEqual(
            call.get("Content-Type"),
            "application/json" if self.protocol else "application/x-protobuf",
        )

    def test_all_that_came_was_well_formed(self):
        self.ask()
        self.assertTrue(self.collector.measured(lambda m: m))
        self.assertEqual(self.collector.broken, [])

    def test_no_text_of_client_or_policy_and_no_reply_is_sent(self):
        self.ask(metadata={"note": SECRET}, system=SECRET)
        self.assertTrue(self.collector.measured(lambda m: m))
        for call in self.collector.calls:
            self.assertNotIn(SECRET.encode(), call.body)
            self.assertNotIn(b"this is m", call.body)
            self.assertNotIn(self.env["NEAP_TEST_KEY"].encode(), call.body)

    # -- metrics

    def test_metrics_say_what_a_scrape_says(self):
        self.ask()
        scrape = self.server.metrics()
        names = set(re.findall(r"^# TYPE (\S+) \w+\n(?!#)", scrape.text, re.MULTILINE))
        renamed = {name.replace("_seconds", "") for name in names if name.startswith("gen_ai_")}
        names = {name for name in names if not name.startswith("gen_ai_")}

        def differences(sent):
            """What stands still now must be equal in a message that is newer than the scrape."""
            out = sorted(names - set(sent))
            out += sorted(renamed ^ {name.replace(".", "_") for name in sent if "." in name})
            for name in ("neap_requests_total", "llm_tokens_total", "llm_cost_usd_total", "llm_attempts_total"):
                for labels, point in otlp.points(sent[name]) if name in sent else []:
                    value = point.get("asInt", point.get("asDouble"))
                    if abs(value - scrape.get(name, **labels)) > 1e-9:
                        out.append((name, labels, value))
            return out

        self.assertTrue(
            self.collector.measured(lambda sent: not differences(sent)),
            differences(self.collector.metrics[-1]),
        )

    def test_a_histogram_is_the_one_of_the_scrape(self):
        self.ask()
        scrape, compared = self.server.metrics(), 0
        count = scrape.get("llm_latency_ms_count")

        def newer(sent):
            found = otlp.points(sent["llm_latency_ms"]) if "llm_latency_ms" in sent else []
            return sum(point["count"] for _, point in found) == count and sent

        sent = self.collector.measured(newer)
        self.assertTrue(sent)
        for labels, point in otlp.points(sent["llm_latency_ms"]):
            self.assertEqual(point["count"], scrape.get("llm_latency_ms_count", **labels))
            self.assertAlmostEqual(point["sum"], scrape.get("llm_latency_ms_sum", **labels), 6)
            so_far = 0
            bounds = [*point["explicitBounds"], math.inf]
            self.assertEqual(len(point["bucketCounts"]), len(bounds))
            for bound, n in zip(bounds, point["bucketCounts"]):
                so_far += n
                le = "+Inf" if bound == math.inf else f"{bound:g}"
                self.assertEqual(so_far, scrape.get("llm_latency_ms_bucket", le=le, **labels))
                compared += 1
        self.assertGreater(compared, 20)

    def test_sums_are_cumulative_and_rise(self):
        self.ask()
        found = self.collector.measured(lambda m: "neap_requests_total" in m and m)
        total = found["neap_requests_total"]["sum"]
        self.assertEqual((total["aggregationTemporality"], bool(total["isMonotonic"])), (2, True))
        self.assertEqual(found["llm_latency_ms"]["histogram"]["aggregationTemporality"], 2)
        for point in total["dataPoints"]:
            self.assertLess(point["startTimeUnixNano"], point["timeUnixNano"])
        self.assertNotIn("aggregationTemporality", found["llm_inflight"]["gauge"])

    def test_the_conventions_metrics_have_their_names_and_attributes(self):
        self.mock.control(**{ID: {"status": 404, **QUICK}})
        self.ask(attempts=2)
        name = "gen_ai.client.operation.duration"

        common = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "server.address": "127.0.0.1",
        }
        failed = {**common, "gen_ai.request.model": ID, "error.type": "model_gone"}
        good = {**common, "gen_ai.request.model": "other"}

        def both(sent):
            calls = [attrs for attrs, _ in otlp.points(sent[name])] if name in sent else []
            return failed in calls and good in calls and sent

        sent = self.collector.measured(both)
        self.assertTrue(sent, self.collector.metrics[-1].get(name))
        self.assertEqual((sent[name]["unit"], sent["gen_ai.client.token.usage"]["unit"]), ("s", "{token}"))
        kinds = {attrs["gen_ai.token.type"] for attrs, _ in otlp.points(sent["gen_ai.client.token.usage"])}
        self.assertEqual(kinds, {"input", "output"})
        _, point = otlp.points(sent[name])[0]
        self.assertEqual((point["explicitBounds"][0], point["explicitBounds"][-1]), (0.01, 81.92))


class Protobuf(Told):
    pass


class Json(Told):
    protocol = "http/json"


del Told


class Propagated(case.Case):
    """What providers get, with and without a collector."""

    scenario = False

    @classmethod
    def setUpClass(cls):
        cls.provider = stub.Stub(cls.answer)
        cls.collector = otlp.Collector()
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.provider.stop()
        cls.collector.stop()

    @staticmethod
    def answer(call):
        """What is refused is quoted, as providers do."""
        prompt = call.json()["messages"][-1]["content"]
        if prompt == SECRET:
            return stub.reply({"error": {"message": f"not this: {prompt}", "type": "bad"}}, 400)
        return stub.reply(stub.openai())

    @classmethod
    def prepare(cls, policies):
        policies.url = cls.provider.url
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    def passed_on(self, server, **headers):
        """traceparent and tracestate as the provider got them."""
        reply = server.ask("hello", headers=headers)
        self.assertEqual(reply.status, 200, reply)
        call = self.provider.calls[-1]
        return call.get("traceparent"), call.get("tracestate"), reply.get("X-Request-Id")

    def test_without_a_collector_a_trace_is_passed_on_as_it_came(self):
        given = {"traceparent": GIVEN[:-2] + "00", "tracestate": "a=1"}
        self.assertEqual(self.passed_on(self.server, **given)[:2], (given["traceparent"], "a=1"))
        self.assertEqual(self.passed_on(self.server)[:2], (None, None))
        self.assertEqual(self.passed_on(self.server, traceparent="nonsense", tracestate="a=1")[:2], (None, None))

    def test_with_a_collector_the_provider_is_a_child_of_the_attempts_span(self):
        server = self.own(self.serve(self.policies, env=settings(self.collector.url)))
        parent, state, request_id = self.passed_on(server, traceparent=GIVEN, tracestate="a=1")
        own, call = self.collector.of(request_id)
        self.assertEqual(own.parent, PARENT)
        self.assertEqual((parent, state), (f"00-{TRACE}-{call.id}-01", "a=1"))
        parent, state, request_id = self.passed_on(server)
        own, call = self.collector.of(request_id)
        self.assertEqual((parent, state), (f"00-{own.trace}-{call.id}-01", None))
        parent, _, _ = self.passed_on(server, traceparent=GIVEN[:-2] + "02")
        self.assertRegex(parent, f"^00-{TRACE}-(?!{PARENT})[0-9a-f]{{16}}-02$")

    def test_a_providers_words_are_not_sent(self):
        server = self.own(self.serve(self.policies, env=settings(self.collector.url)))
        reply = server.ask(SECRET)
        self.assertIn(SECRET, reply.error["message"])
        own, call = self.collector.of(reply.get("X-Request-Id"))
        self.assertEqual((own.attrs["neap.outcome"], call.attrs["error.type"]), ("invalid_request", "rejected"))
        for call in self.collector.calls:
            self.assertNotIn(SECRET.encode(), call.body)

    def test_samplers_choose_as_the_standard_says(self):
        cases = (
            ("always_off", "1", GIVEN, 0),
            ("always_on", "1", GIVEN[:-2] + "00", 1),
            ("parentbased_always_off", "1", None, 0),
            ("parentbased_always_off", "1", GIVEN, 1),
            ("traceidratio", "0", GIVEN, 0),
            ("traceidratio", "0.5", "00-" + "f" * 32 + f"-{PARENT}-00", 1),
            ("traceidratio", "0.5", "00-" + "f" * 16 + "0" * 15 + f"1-{PARENT}-01", 0),
        )
        for sampler, ratio, parent, flag in cases:
            env = settings(self.collector.url, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=ratio)
            server = self.serve(self.policies, env=env)
            try:
                headers = {"traceparent": parent} if parent else {}
                got, _, _ = self.passed_on(server, **headers)
                self.assertEqual(int(got[-2:], 16), flag, (sampler, ratio, parent))
            finally:
                server.stop()


if __name__ == "__main__":
    case.main()

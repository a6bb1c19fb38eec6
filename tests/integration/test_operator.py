"""The operators' side: health, metrics, status, the rights of the admin socket, decision records and
the log."""

import json
import shutil
import subprocess
import unittest

import case
import wire

READ = ("/healthz", "/readyz", "/metrics", "/api/status", "/api/breakers", "/api/budgets", "/api/policies")
WRITE = ("/api/policies/reload", "/api/policies/rollback")

# name: (type, labels that its samples have)
FAMILIES = {
    "llm_latency_ms": ("histogram", "provider model"),
    "llm_connect_ms": ("histogram", "provider model"),
    "llm_cost_usd": ("histogram", "provider model"),
    "llm_cost_usd_total": ("counter", "provider model"),
    "llm_tokens_total": ("counter", "provider model kind"),
    "llm_retry_total": ("counter", "provider model status attempt"),
    "llm_attempts_total": ("counter", "provider model class"),
    "llm_skipped_total": ("counter", "provider model reason"),
    "llm_unpriced_total": ("counter", "provider model"),
    "llm_inflight": ("gauge", "provider model"),
    "llm_breaker_state": ("gauge", "provider model"),
    "llm_retry_budget_tokens": ("gauge", "provider"),
    "neap_requests_total": ("counter", "endpoint status degraded"),
    "neap_request_duration_seconds": ("histogram", "endpoint"),
    "neap_overhead_seconds": ("histogram", "endpoint"),
    "neap_degraded_total": ("counter", "endpoint reason"),
    "neap_slo_burn_rate": ("gauge", "endpoint objective window"),
    "neap_slo_objective": ("gauge", "endpoint objective"),
    "neap_hook_duration_seconds": ("histogram", "hook"),
    "neap_hook_errors_total": ("counter", "hook kind"),
    "neap_hook_stall_total": ("counter", "hook"),
    "neap_budget_limit_usd": ("gauge", "account"),
    "neap_budget_spent_usd": ("gauge", "account"),
    "neap_budget_reserved_usd": ("gauge", "account"),
    "neap_budget_settled_usd_total": ("counter", "class"),
    "neap_budget_excess_usd_total": ("counter", ""),
    "neap_store_up": ("gauge", ""),
    "neap_policy_info": ("gauge", "version"),
    "neap_policy_reloads_total": ("counter", "result"),
    "neap_http_refused_total": ("counter", "cause"),
    "neap_build_info": ("gauge", "version"),
    "process_resident_memory_bytes": ("gauge", ""),
    "process_open_fds": ("gauge", ""),
    "process_cpu_seconds_total": ("counter", ""),
    "process_start_time_seconds": ("gauge", ""),
}


class Operator(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.model("free", "p", usd_per_million=None)
        policies.model("broken", "p")
        policies.endpoint("assistant", ["m"], slo={"p95_ms": 2500, "error_rate": 0.01})
        policies.endpoint("falls", ["broken", "free"])
        policies.endpoint("gone", ["broken"])
        policies.endpoint("poor", ["m"], max_cost_usd=0.000000001)
        policies.budgets = [{"account": "global", "window": "day", "limit_usd": 7}]
        policies.hook("route", '(req) return nil, "as it stands"')
        policies.hook("respond", '(req) if req.metadata and req.metadata.err then error("x") end')

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mock.control(broken={"status": 500, "first_ms": 1, "total_ms": 1})
        cls.good = cls.server.ask("What is the answer?")
        cls.falls = cls.server.ask("a", "/api/falls/reply")
        cls.gone = cls.server.ask("a", "/api/gone/reply")
        cls.server.ask("a", "/api/poor/reply")
        cls.failed = cls.server.ask({"prompt": "a", "metadata": {"err": True}})
        cls.server.ask("a", headers={"Origin": "http://evil.example"})
        cls.server.decision(cls.gone)

    def get(self, path):
        reply = self.server.admin("GET", path)
        self.assertEqual(reply.status, 200, reply)
        return reply

    def test_health_and_readiness(self):
        self.assertEqual(self.get("/healthz").json(), {"status": "ok"})
        ready = self.get("/readyz").json()
        self.assertEqual(ready, {"status": "ready", "policy": self.good.json()["policy"]})

    def test_head_is_served_without_a_body(self):
        with wire.Conn(self.server.admin_port) as conn:
            for path in READ:
                self.assertEqual(conn.ask("HEAD", path).status, 200, path)

    def test_status_shows_the_process_its_endpoints_breakers_and_budgets(self):
        got = self.get("/api/status").json()
        self.assertEqual((got["workers"], got["draining"], got["inflight"]), (2, False, 0))
        self.assertEqual(got["policy"], self.good.json()["policy"])
        paths = [e["path"] for e in got["endpoints"]]
        self.assertEqual(sorted(paths), sorted(self.policies.endpoints))
        main = next(e for e in got["endpoints"] if e["path"] == wire.REPLY)
        self.assertEqual(main["objectives"]["p95_ms"], 2500)
        self.assertEqual({b["model"] for b in got["breakers"]}, {"m", "free", "broken"})
        self.assertEqual(got["budgets"][0]["account"], "global/day")

    def test_breakers_show_their_state(self):
        rows = {b["model"]: b for b in self.get("/api/breakers").json()["breakers"]}
        self.assertEqual(rows["m"]["state"], "closed")
        self.assertEqual(rows["m"]["provider"], "p")
        self.assertEqual(rows["broken"]["lastClass"], "server_error")
        self.assertIsNone(rows["m"]["lastClass"] if rows["m"]["calls"] == 0 else None)

    def test_policies_show_the_running_generation(self):
        rows = self.get("/api/policies").json()["generations"]
        self.assertEqual(len(rows), 1)
        self.assertEqual((rows[0]["state"], rows[0]["error"]), ("running", None))
        self.assertEqual(rows[0]["version"], self.good.json()["policy"])

    # -- metrics

    def test_every_family_of_the_contract_is_there_with_its_labels(self):
        text = self.get("/metrics").body.decode()
        metrics = self.server.metrics()
        for name, (kind, labels) in FAMILIES.items():
            with self.subTest(name=name):
                self.assertTrue(f"# TYPE {name} {kind}\n" in text)
                self.assertEqual(text.count(f"# TYPE {name} "), 1)
                self.assertTrue(f"# HELP {name} " in text)
                sample = f"{name}_count" if kind == "histogram" else name
                have = [set(names) for n, names, _ in metrics.samples if n == sample]
                for names in have:
                    self.assertEqual(names, set(labels.split()))
                self.assertTrue(have, "it has no sample")

    def test_what_is_counted_is_what_happened(self):
        metrics = self.server.metrics()
        path = wire.REPLY
        self.assertEqual(
            metrics.get("neap_requests_total", endpoint=path, status=200, degraded="false"), 2
        )
        gone = "/api/gone/reply"
        self.assertEqual(metrics.get("neap_requests_total", endpoint=gone, degraded="true"), 1)
        self.assertEqual(metrics.get("neap_degraded_total", endpoint=gone, reason="exhausted"), 1)
        self.assertEqual(metrics.get("neap_request_duration_seconds_count", endpoint=path), 2)
        self.assertEqual(metrics.get("neap_hook_errors_total", hook="respond", kind="error"), 1)
        self.assertEqual(metrics.get("llm_unpriced_total", model="free"), 1)
        self.assertEqual(metrics.get("llm_inflight"), 0)
        self.assertEqual(metrics.get("neap_budget_limit_usd", account="global/day"), 7)
        self.assertGreater(metrics.get("process_resident_memory_bytes"), 1e6)
        cost = sum(reply.json()["usage"]["costUsd"] for reply in (self.good, self.failed))
        self.assertAlmostEqual(metrics.get("llm_cost_usd_total", model="m"), cost, 9)

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not there")
    def test_promtool_finds_nothing_but_the_names_that_end_in_ms(self):
        text = self.get("/metrics").body
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
        )
        complaints = [
            line
            for line in (done.stdout + done.stderr).decode().splitlines()
            if line and "_ms " not in line
        ]
        self.assertEqual(complaints, [])
        self.assertIn(done.returncode, (0, 3))

    # -- who may ask

    def test_reads_are_get_and_writes_are_post(self):
        for path in READ:
            reply = self.server.admin("POST", path)
            self.assertError(reply, 405, "method_not_allowed")
            self.assertEqual(reply.get("Allow"), "GET")
        for path in WRITE:
            reply = self.server.admin("GET", path)
            self.assertError(reply, 405, "method_not_allowed")
            self.assertEqual(reply.get("Allow"), "POST")
        self.assertError(self.server.admin("GET", "/api/nothing"), 404, "not_found")
        self.assertError(self.server.admin("GET", wire.REPLY), 404, "not_found")

    def test_a_post_needs_the_header_that_no_page_sends_by_itself(self):
        for path in WRITE:
            reply = wire.ask(self.server.admin_port, "POST", path)
            self.assertError(reply, 403, "forbidden")

    def test_foreign_hosts_and_pages_are_refused(self):
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            for path in READ:
                reply = self.server.admin("GET", path, headers)
                self.assertEqual(reply.status, 403, path)
        reply = wire.ask(self.server.admin_port, "GET", "/metrics", host="evil.example")
        self.assertError(reply, 403, "forbidden")

    def test_the_operators_endpoints_are_not_on_the_clients_socket(self):
        for path in (*READ, *WRITE):
            self.assertEqual(wire.ask(self.server.port, "GET", path).status, 404)

    def test_answers_are_not_kept_and_not_sniffed(self):
        reply = self.get("/api/status")
        self.assertEqual(reply.get("Cache-Control"), "no-store")
        self.assertEqual(reply.get("X-Content-Type-Options"), "nosniff")

    # -- records and log

    def test_a_plain_requests_record_has_every_field_and_is_small(self):
        record = self.server.decision(self.good)
        case.say(f"the record of a plain request has {record['bytes']} bytes")
        self.assertLess(record["bytes"], 1024)
        wanted = "requestId at endpoint tenant policy estimate plan hooks attempts budget outcome"
        wanted += " costUsd latencyMs overheadUs"
        self.assertEqual(set(wanted.split()) - set(record), set())
        self.assertRegex(record["at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual((record["endpoint"], record["tenant"]), (wire.REPLY, "anonymous"))
        self.assertEqual((record["plan"], record["outcome"]), (["m"], "ok"))
        route = record["hooks"][0]
        self.assertEqual((route["name"], route["why"]), ("route", "as it stands"))
        attempt = record["attempts"][0]
        self.assertEqual((attempt["provider"], attempt["model"]), ("p", "m"))
        self.assertEqual((attempt["class"], attempt["status"], attempt["settled"]), ("ok", 200, "exact"))
        self.assertIn("ttftMs", attempt)
        self.assertIn("latencyMs", attempt)
        usage = self.good.json()["usage"]
        self.assertEqual(attempt["tokens"], {"prompt": usage["promptTokens"],
                                             "completion": usage["completionTokens"]})
        self.assertEqual(attempt["costUsd"], usage["costUsd"])
        self.assertEqual(record["costUsd"], usage["costUsd"])
        self.assertEqual(record["budget"]["accounts"], ["global/day"])
        self.assertEqual(record["budget"]["settled"], usage["costUsd"])
        self.assertGreaterEqual(record["budget"]["reserved"], usage["costUsd"])

    def test_a_degraded_requests_record_says_why(self):
        record = self.server.decision(self.gone)
        self.assertEqual((record["outcome"], record["reason"]), ("degraded", "exhausted"))
        self.assertEqual(self.classes(record), ["server_error"] * 2)
        self.assertTrue(500 <= record["attempts"][0]["retryInMs"] <= 620)

    def test_the_log_has_a_line_for_each_request(self):
        line = self.assertLogged(f"info request request={self.falls.get('X-Request-Id')} ")
        for field in ("endpoint=/api/falls/reply", "tenant=anonymous", "status=200", "outcome=ok",
                      "model=free", "tokens=", "cost_usd=", "attempts=3", "ms=", "policy="):
            self.assertIn(field, line)

    def test_the_log_and_the_record_call_an_outcome_the_same(self):
        line = self.assertLogged(f"info request request={self.gone.get('X-Request-Id')} ")
        record = self.server.decision(self.gone)
        self.assertIn(f" outcome={record['outcome']} reason={record['reason']} ", line)


class Token(case.Case):
    """With NEAP_ADMIN_TOKEN set it is asked for on everything but health and readiness."""

    scenario = False
    env = {"NEAP_ADMIN_TOKEN": "token-0123456789"}

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    def test_the_table_of_rights(self):
        rows = []
        for path in (*READ, *WRITE):
            method = "POST" if path in WRITE else "GET"
            statuses = []
            for auth in (None, "Bearer wrong", "Basic token-0123456789", "Bearer token-012345678",
                         "Bearer token-0123456789"):
                headers = {"Authorization": auth} if auth else {}
                reply = self.server.admin(method, path, headers, token=False)
                statuses.append(reply.status)
            right = 422 if path.endswith("rollback") else 200
            refused = right if path in ("/healthz", "/readyz") else 401
            self.assertEqual(statuses, [refused] * 4 + [right], path)
            rows.append(f"{path} {statuses}")
        case.say(f"{len(rows)} endpoints × 5 keys as in the contract")

    def test_unknown_paths_tell_nothing_without_the_token(self):
        reply = self.server.admin("GET", "/api/nothing", token=False)
        self.assertError(reply, 401, "unauthorized")
        self.assertError(self.server.admin("GET", "/api/nothing"), 404, "not_found")

    def test_a_clients_key_is_no_admin_token(self):
        reply = self.server.admin("GET", "/metrics", {"x-api-key": "token-0123456789"}, token=False)
        self.assertEqual(reply.status, 401)


class Bodies(case.Case):
    """With --record-bodies prompts and replies stand in the records; the keys never do."""

    flags = ("--record-bodies",)

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    def test_bodies_are_recorded_on_request(self):
        body = '{\n  "prompt": "line one\\nline two",\n  "maxTokens": 9\n}'
        reply = self.server.ask(body.encode())
        self.assertGood(reply)
        record = self.server.decision(reply)
        self.assertEqual(record["request"], json.loads(body))
        self.assertEqual(record["reply"], reply.json()["text"])

    def test_a_body_that_is_not_json_is_recorded_as_text(self):
        reply = self.server.ask(b'{"prompt": \xff')
        self.assertEqual(reply.status, 400)
        self.assertIn('{"prompt": ', self.server.decision(reply)["request"])


if __name__ == "__main__":
    case.main()

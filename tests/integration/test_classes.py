"""Every class in which an attempt may end, over real sockets, in both dialects: what the client gets,
what the decision record says, what is counted."""

import time

import case
import procs
import wire

# What a model answers, what its provider and endpoint need for it, the classes of the attempts that
# follow, and what the client gets: the answer of the second model, or the end that the class has.
FIRST_BYTE = {"first_token_timeout_ms": 150}
ROWS = {
    "ok": ({"text": "all is well"}, {}, {}, ["ok"], "first"),
    "network": ({"reset_at": 0}, {}, {}, ["network", "network", "ok"], "second"),
    "network_cut": ({"fin_at": 200}, {}, {}, ["network", "network", "ok"], "second"),
    "timeout": ({"stall_at": 0}, FIRST_BYTE, {}, ["timeout", "timeout", "ok"], "second"),
    "rate_limited": ({"status": 429}, {}, {}, ["rate_limited"] * 2 + ["ok"], "second"),
    "quota": ({"status": 402}, {}, {}, ["quota", "ok"], "second"),
    "overloaded": ({"status": 503}, {}, {}, ["overloaded", "overloaded", "ok"], "second"),
    "server_error": ({"status": 500}, {}, {}, ["server_error"] * 2 + ["ok"], "second"),
    "bad_reply": ({"malformed": True}, {}, {}, ["bad_reply", "ok"], "second"),
    "bad_reply_empty": ({"empty": True}, {}, {}, ["bad_reply", "ok"], "second"),
    "bad_reply_elsewhere": ({"status": 302}, {}, {}, ["bad_reply", "ok"], "second"),
    "bad_reply_encoded": ({"content_encoding": "gzip"}, {}, {}, ["bad_reply", "ok"], "second"),
    "credential": ({"status": 401}, {}, {}, ["credential", "ok"], "second"),
    "credential_403": ({"status": 403}, {}, {}, ["credential", "ok"], "second"),
    "model_gone": ({"status": 404}, {}, {}, ["model_gone", "ok"], "second"),
    "too_long": ({"status": 400}, {}, {}, ["too_long", "ok"], "second"),
    "filtered": ({"status": 451}, {}, {}, ["filtered"], "filtered"),
    "filtered_400": ({"status": 400}, {}, {}, ["filtered"], "filtered"),
    "rejected": ({"status": 400}, {}, {}, ["rejected"], "rejected"),
    "rejected_422": ({"status": 422}, {}, {}, ["rejected"], "rejected"),
    "deadline": ({"stall_at": 0}, {}, {"deadline_ms": 300}, ["deadline"], "deadline"),
}

# The words that the real APIs use.
WORDS = {
    "openai": {
        "rate_limited": ("requests", "rate_limit_exceeded", "Rate limit reached for requests"),
        "quota": ("insufficient_quota", "insufficient_quota", "You exceeded your current quota"),
        "overloaded": ("server_error", "", "The server is overloaded or not ready yet"),
        "server_error": ("server_error", "", "The server had an error"),
        "credential": ("invalid_request_error", "invalid_api_key", "Incorrect API key provided"),
        "model_gone": ("invalid_request_error", "model_not_found", "The model does not exist"),
        "too_long": (
            "invalid_request_error",
            "context_length_exceeded",
            "This model's maximum context length is 40 tokens. However, you requested 90 tokens.",
        ),
        "filtered": ("invalid_request_error", "content_filter", "Refused by the content filter"),
        "rejected": ("invalid_request_error", "", "Unsupported value: 'temperature'"),
    },
    "anthropic": {
        "rate_limited": ("rate_limit_error", "", "This request would exceed your rate limit"),
        "quota": ("billing_error", "", "Your credit balance is too low"),
        "overloaded": ("overloaded_error", "", "Overloaded"),
        "server_error": ("api_error", "", "Internal server error"),
        "credential": ("authentication_error", "", "invalid x-api-key"),
        "model_gone": ("not_found_error", "", "model: nobody"),
        "too_long": (
            "invalid_request_error",
            "",
            "prompt is too long: 90 tokens > 40 maximum",
        ),
        "filtered": ("invalid_request_error", "", "Output blocked by content filtering policy"),
        "rejected": ("invalid_request_error", "", "temperature: Input should be less than 1"),
    },
}


def spec(dialect, name):
    """What the imitation model of a row answers."""
    answer = dict(ROWS[name][0])
    if answer.get("status") == 503 and dialect == "anthropic":
        answer["status"] = 529
    for key, (kind, code, message) in WORDS[dialect].items():
        if name.startswith(key):
            answer["error"] = {"type": kind, "code": code, "message": message}
    return answer


class Classes(case.Case):
    @classmethod
    def prepare(cls, policies):
        specs = {}
        for dialect in WORDS:
            good = policies.provider(f"{dialect}-good", dialect)
            second = policies.model(f"{dialect}.second", good, context=None)
            specs[second] = {"text": f"{dialect} helps out", "first_ms": 1, "total_ms": 2}
            for name, (_, provider, endpoint, classes, ends) in ROWS.items():
                policies.provider(f"{dialect}-{name}", dialect, **provider)
                first = policies.model(f"{dialect}.{name}", f"{dialect}-{name}")
                plan = [first] if ends == "deadline" else [first, second]
                policies.endpoint(f"{dialect}-{name}", plan, **endpoint)
                specs[first] = {"first_ms": 1, "total_ms": 2, **spec(dialect, name)}
        slow = policies.model("slow", "openai-good")
        policies.endpoint("slow", [slow])
        specs[slow] = {"stall_at": 0}
        cls.mock.control(**specs)

    def check(self, dialect, name):
        _, _, _, classes, ends = ROWS[name]
        reply = self.server.ask("How do I reset my token?", f"/api/{dialect}-{name}/reply")
        record = self.server.decision(reply)
        self.assertEqual(self.classes(record), classes, record)
        getattr(self, f"ends_{ends}")(dialect, name, reply)
        if reply.status == 200:
            self.assertEqual(reply.json()["attempts"], len(classes))
        self.check_record(record, dialect, name)
        failed = [c for c in classes if c != "ok"] or classes
        counted = self.server.metrics().get(
            "llm_attempts_total",
            provider=f"{dialect}-{name}",
            model=f"{dialect}.{name}",
            **{"class": failed[0]},
        )
        self.assertEqual(counted, len(failed))

    def check_record(self, record, dialect, name):
        first = record["attempts"][0]
        self.assertEqual(first["provider"], f"{dialect}-{name}")
        self.assertEqual(first["model"], f"{dialect}.{name}")
        status = spec(dialect, name).get("status")
        if status:
            self.assertEqual(first["status"], status)
            self.assertTrue(first.get("error") or status == 302, record)
            self.assertEqual(first["settled"], "void")
            self.assertEqual(first["costUsd"], 0)

    def ends_first(self, dialect, name, reply):
        self.assertGood(
            reply, text="all is well", model=f"{dialect}.{name}", provider=f"{dialect}-{name}"
        )
        self.assertEqual(reply.json()["finishReason"], "stop")

    def ends_second(self, dialect, _, reply):
        self.assertGood(reply, text=f"{dialect} helps out", model=f"{dialect}.second")

    def ends_filtered(self, _dialect, _name, reply):
        self.assertDegraded(reply, "filtered")
        self.assertEqual(reply.json()["finishReason"], "content_filter")

    def ends_rejected(self, _dialect, name, reply):
        error = self.assertError(reply, 400, "invalid_request")
        self.assertIn("temperature", error["message"])

    def ends_deadline(self, _dialect, _name, reply):
        self.assertDegraded(reply, "deadline")
        case.say(f"deadline of 300 ms: answered after {reply.ms:.0f} ms")

    def test_a_client_that_leaves_stops_the_call_at_the_provider(self):
        before = self.mock.calls()
        conn = self.server.conn()
        conn.send(wire.request(path="/api/slow/reply", body={"prompt": "hello"},
                                    headers={"X-Request-Id": "left-1"}))
        self.assertTrue(procs.wait_for(lambda: self.mock.calls()["open"] > before["open"]))
        conn.close()
        began = time.monotonic()
        gone = procs.wait_for(lambda: self.mock.calls()["aborted"] > before["aborted"])
        took = (time.monotonic() - began) * 1000
        self.assertTrue(gone, "the provider's call goes on")
        case.say(f"the provider's call ended {took:.0f} ms after the client left")
        self.assertLess(took, 500)
        record = self.server.decision("left-1")
        self.assertEqual(self.classes(record), ["cancelled"])
        self.assertEqual(record["outcome"], "cancelled")
        self.assertEqual(record["attempts"][0]["settled"], "presumed")
        cancelled = self.server.metrics().get("llm_attempts_total", **{"class": "cancelled"})
        self.assertEqual(cancelled, 1)


def make(dialect, name):
    def test(self):
        self.check(dialect, name)

    test.__name__ = f"test_{dialect}_{name}"
    return test


for d in WORDS:
    for n in ROWS:
        setattr(Classes, f"test_{d}_{n}", make(d, n))


if __name__ == "__main__":
    case.main()

"""The error table of the contract: what is refused, with which status and type, naming which field."""

import hashlib
import json

import case
import wire

# Bodies that are refused with 400, the field that is named, and words of the message.
FIELDS = [
    ({}, "prompt", "required"),
    ({"prompt": "a", "messages": []}, "messages", "both"),
    ({"prompt": ""}, "prompt", "empty"),
    ({"prompt": 7}, "prompt", "string"),
    ({"prompt": None}, "prompt", "required"),
    ({"messages": []}, "messages", "empty"),
    ({"messages": {}}, "messages", "list"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "required"),
    ({"messages": [{"content": "a"}]}, "messages[0].role", "required"),
    ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role", "user"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "string"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        "messages[0].content[0].type",
        "text",
    ),
    (
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": []}]},
        "messages[1].content",
        "empty",
    ),
    ({"prompt": "a", "system": ["b"]}, "system", "string"),
    ({"prompt": "a", "context": "b"}, "context", "list"),
    ({"prompt": "a", "context": [{"text": "b"}]}, "context[0].id", "required"),
    ({"prompt": "a", "context": [{"id": "k"}]}, "context[0].text", "required"),
    (
        {"prompt": "a", "context": [{"id": "k", "text": "b"}, {"id": "k", "text": "c"}]},
        "context[1].id",
        "once",
    ),
    (
        {"prompt": "a", "context": [{"id": "k", "text": "b", "priority": "high"}]},
        "context[0].priority",
        "number",
    ),
    (
        {"prompt": "a", "context": [{"id": "k", "text": "b", "pinned": 1}]},
        "context[0].pinned",
        "true or false",
    ),
    ({"prompt": "a", "maxTokens": "many"}, "maxTokens", '1 to 1048576, got "many"'),
    ({"prompt": "a", "maxTokens": 0}, "maxTokens", "got 0"),
    ({"prompt": "a", "maxTokens": 1048577}, "maxTokens", "got 1048577"),
    ({"prompt": "a", "maxTokens": 1.5}, "maxTokens", "whole number"),
    ({"prompt": "a", "temperature": 2.1}, "temperature", "0 to 2"),
    ({"prompt": "a", "temperature": "hot"}, "temperature", "number"),
    ({"prompt": "a", "stop": []}, "stop", "1 to 4"),
    ({"prompt": "a", "stop": ["a", "b", "c", "d", "e"]}, "stop", "4"),
    ({"prompt": "a", "stop": ["a", ""]}, "stop[1]", "empty"),
    ({"prompt": "a", "stream": "no"}, "stream", "true or false"),
    ({"prompt": "a", "model": 4}, "model", "string"),
    ({"prompt": "a", "metadata": []}, "metadata", "object"),
]

# Fields that are not known, and the guess.
UNKNOWN = [
    ({"promt": "a"}, "promt", "prompt"),
    ({"prompt": "a", "max_tokens": 5}, "max_tokens", "maxTokens"),
    ({"prompt": "a", "maxToken": 5}, "maxToken", "maxTokens"),
    ({"prompt": "a", "temprature": 1}, "temprature", "temperature"),
    ({"messages": [{"rol": "user", "content": "a"}]}, "messages[0].rol", "role"),
    ({"prompt": "a", "context": [{"id": "k", "txt": "b"}]}, "context[0].txt", "text"),
]

# Bodies that are not JSON, with the line and column of the fault.
FAULTS = [
    (b"", 1, 1),
    (b"hello", 1, 1),
    (b'{"prompt": }', 1, 12),
    (b'{"prompt": "a",\n "maxTokens": 05}', 2, 15),
    (b'{"prompt": "a"', 1, 15),
    (b'{"prompt": "a"} x', 1, 17),
    (b'{\n\n  "prompt" "a"}', 3, 12),
    (b'{"prompt": "a\nb"}', 1, 14),
    (b'{"prompt": "\xff"}', 1, 13),
    (b'{"prompt": "a", "temperature": NaN}', 1, 32),
    (b"{'prompt': 'a'}", 1, 2),
]

KEYS = {"gold": "neap_gold_key", "small": "neap_small_key", "old": "neap_old_key", "off": "neap_off"}


def key_hash(name):
    return "sha256:" + hashlib.sha256(KEYS[name].encode()).hexdigest()


class Bodies(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], body_bytes=4096)

    def test_a_field_that_is_missing_or_wrong_is_named(self):
        with self.server.conn() as conn:
            for body, param, words in FIELDS:
                with self.subTest(body=body):
                    error = self.assertError(conn.ask(body=body), 400, "invalid_request", param)
                    self.assertIn(words, error["message"])
                    self.assertIn(param, error["message"])

    def test_a_field_that_is_not_known_is_refused_with_a_guess(self):
        with self.server.conn() as conn:
            for body, param, guess in UNKNOWN:
                with self.subTest(body=body):
                    error = self.assertError(conn.ask(body=body), 400, "invalid_request", param)
                    self.assertIn(f"did you mean {guess}?", error["message"])
            reply = conn.ask(body={"prompt": "a", "zzz": 1})
            error = self.assertError(reply, 400, "invalid_request", "zzz")
            self.assertIn("known are prompt, messages", error["message"])

    def test_a_body_that_is_not_json_is_refused_with_line_and_column(self):
        with self.server.conn() as conn:
            for body, line, column in FAULTS:
                with self.subTest(body=body):
                    error = self.assertError(conn.ask(body=body), 400, "invalid_request")
                    self.assertIn(f"line {line}, column {column}:", error["message"])

    def test_a_body_that_is_no_object_is_refused(self):
        for body in (b"[]", b'"prompt"', b"7", b"null"):
            with self.subTest(body=body):
                error = self.assertError(self.server.ask(body), 400, "invalid_request")
                self.assertIn("object", error["message"])

    def test_a_field_that_stands_twice_is_refused(self):
        for body in (b'{"prompt":"a","prompt":"b"}', b'{"prompt":"a","pr\\u006fmpt":"b"}'):
            with self.subTest(body=body):
                self.assertError(self.server.ask(body), 400, "invalid_request", "prompt")

    def test_what_the_client_wrote_as_prompt_is_not_in_the_refusal(self):
        for body in (
            {"prompt": ["CANARY"]},
            {"prompt": "a", "context": [{"id": "k", "text": {"CANARY": 1}}]},
            {"messages": [{"role": "user", "content": {"CANARY": 1}}]},
        ):
            with self.subTest(body=body):
                reply = self.server.ask(body)
                self.assertEqual(reply.status, 400)
                self.assertNotIn(b"CANARY", reply.body)

    def test_a_refused_body_costs_no_call_and_leaves_a_record(self):
        before = self.mock.calls()["calls"]
        reply = self.server.ask({"prompt": "a", "maxTokens": "many"})
        record = self.server.decision(reply)
        self.assertEqual(record["outcome"], "invalid_request")
        self.assertEqual(record["attempts"], [])
        self.assertEqual(self.mock.calls()["calls"], before)

    def test_every_good_field_is_taken(self):
        body = {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
                {"role": "assistant", "content": "Hi."},
                {"role": "user", "content": "Bye \u00e9\U0001f600"},
            ],
            "system": "You help.",
            "context": [{"id": "kb-1", "text": "t", "priority": 1.5, "pinned": True}],
            "maxTokens": 20,
            "temperature": 0,
            "stop": "END",
            "stream": False,
            "model": "m",
            "metadata": {"tier": "gold", "deep": {"a": [1, None]}},
        }
        reply = self.server.ask(body)
        got = self.assertGood(reply, model="m", provider="p", dropped=[])
        self.assertEqual(
            sorted(got),
            sorted(
                "requestId text model provider finishReason usage degraded attempts latencyMs policy"
                " dropped".split()
            ),
        )
        self.assertEqual(
            sorted(got["usage"]), ["cachedTokens", "completionTokens", "costUsd", "promptTokens"]
        )
        self.assertEqual(got["requestId"], reply.get("X-Request-Id"))
        self.assertGreater(got["usage"]["costUsd"], 0)
        self.assertRegex(got["policy"], "^[0-9a-f]{12}$")

    def test_null_is_as_if_a_field_was_left_out(self):
        body = {"prompt": "a", "system": None, "maxTokens": None, "stop": None, "metadata": None}
        self.assertGood(self.server.ask(body))

    def test_latency_is_what_the_request_took(self):
        self.mock.control(m={"first_ms": 120, "total_ms": 120})
        try:
            reply = self.server.ask("a")
        finally:
            self.mock.control()
        got = self.assertGood(reply)
        self.assertGreaterEqual(got["latencyMs"], 115)
        self.assertLessEqual(got["latencyMs"], reply.ms + 1)


class Statuses(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], body_bytes=4096)

    def test_an_unknown_path_is_404(self):
        for path in ("/", "/api", "/api/assistant", "/api/assistant/reply/", "/API/assistant/reply"):
            with self.subTest(path=path):
                self.assertError(self.server.ask("a", path), 404, "not_found")

    def test_the_query_does_not_take_part(self):
        self.assertGood(self.server.ask("a", wire.REPLY + "?x=1&y"))

    def test_another_method_is_405_and_says_which_is_served(self):
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
            with self.subTest(method=method):
                reply = wire.ask(self.server.port, method, wire.REPLY)
                self.assertError(reply, 405, "method_not_allowed")
                self.assertEqual(reply.get("Allow"), "POST")

    def test_head_is_405_without_a_body(self):
        with self.server.conn() as conn:
            reply = conn.ask("HEAD", wire.REPLY)
            self.assertEqual(reply.status, 405)
            self.assertEqual(reply.get("Allow"), "POST")

    def test_a_post_without_a_length_is_411(self):
        reply = self.server.ask(b"", headers={"Content-Length": None})
        self.assertError(reply, 411, "length_required")

    def test_a_body_over_the_endpoints_limit_is_413(self):
        body = json.dumps({"prompt": "a" * 5000}).encode()
        self.assertError(self.server.ask(body), 413, "too_large")

    def test_a_chunked_body_over_the_limit_is_413(self):
        body = wire.chunked(json.dumps({"prompt": "a" * 5000}).encode(), 1000)
        head = wire.request(headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json"})
        with self.server.conn() as conn:
            conn.send(head + body)
            self.assertError(conn.reply(), 413, "too_large")
            self.assertTrue(conn.closes())

    def test_an_early_refusal_can_be_read_while_a_large_body_is_being_sent(self):
        readable = 0
        for _ in range(20):
            with self.server.conn() as conn:
                conn.send(wire.request(headers={"Content-Length": "1000000"}, body=b""))
                try:
                    for _ in range(10):
                        conn.send(b"x" * 100000)
                except OSError:
                    pass
                readable += conn.reply().status == 413
        case.say(f"{readable} of 20 early refusals were readable")
        self.assertEqual(readable, 20)

    def test_another_content_type_is_415(self):
        for kind in ("text/plain", "application/x-www-form-urlencoded", None, "", "json",
                     "application/json; charset=latin1"):
            with self.subTest(kind=kind):
                reply = self.server.ask({"prompt": "a"}, headers={"Content-Type": kind})
                self.assertError(reply, 415, "unsupported_media_type")

    def test_json_content_types_are_taken(self):
        for kind in ("application/json", "Application/JSON;charset=UTF-8", "application/x+json"):
            with self.subTest(kind=kind):
                self.assertGood(self.server.ask({"prompt": "a"}, headers={"Content-Type": kind}))

    def test_codings_of_the_body_in_two_headers_are_refused(self):
        with self.server.conn() as conn:
            head = wire.request(body={"prompt": "a"}, headers={"Content-Encoding": "identity"})
            conn.send(head.replace(b"Content-Encoding: identity", b"Content-Encoding: identity\r\nContent-Encoding: gzip"))
            self.assertError(conn.reply(), 400, "invalid_request")

    def test_an_encoded_body_is_415(self):
        reply = self.server.ask({"prompt": "a"}, headers={"Content-Encoding": "gzip"})
        self.assertError(reply, 415, "unsupported_media_type")

    def test_too_large_a_head_is_431(self):
        with self.server.conn() as conn:
            conn.send(wire.request(body={"prompt": "a"}, headers={"X-Large": "a" * 60000}))
            self.assertEqual(conn.reply().status, 431)

    def test_every_refusal_carries_the_clients_request_id(self):
        for expected, args, kw in (
            (404, ("POST", "/nowhere", {"prompt": "a"}), {}),
            (405, ("GET", wire.REPLY, None), {}),
            (411, ("POST", wire.REPLY, b""), {"Content-Length": None}),
            (413, ("POST", wire.REPLY, b"x" * 5000), {}),
            (415, ("POST", wire.REPLY, b"{}"), {"Content-Type": "text/plain"}),
            (400, ("POST", wire.REPLY, b"{"), {}),
            (403, ("POST", wire.REPLY, b"{}"), {"Origin": "http://evil.example"}),
            (400, ("POST", wire.REPLY, b"{}"), {"Transfer-Encoding": "chunked", "Content-Length": "2"}),
        ):
            with self.subTest(status=expected):
                reply = wire.ask(self.server.port, *args, {"X-Request-Id": "mine-7", **kw})
                self.assertEqual(reply.status, expected, reply)
                if reply.body.startswith(b"<html>"):
                    continue  # libmicrohttpd 1.0 refuses two lengths by itself
                self.assertEqual(reply.get("X-Request-Id"), "mine-7", reply)
                if expected != 431:
                    self.assertEqual(reply.error["requestId"], "mine-7")


class Tenants(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.model("dear", "p")
        policies.endpoint("assistant", ["dear", "m"])
        policies.endpoint("other", ["dear"])
        policies.tenants = {
            "gold": {"keys": [key_hash("gold")]},
            "small": {
                "keys": [key_hash("small")],
                "endpoints": [wire.REPLY, "/api/other/reply"],
                "models": ["m"],
            },
            "narrow": {"keys": ["sha256:" + "1" * 64], "endpoints": ["/api/other/reply"]},
            "old": {"keys": [key_hash("old")], "expires": "2020-01-01"},
            "off": {"keys": [key_hash("off")], "disabled": True},
        }
        policies.tenants["narrow"]["keys"] = [
            "sha256:" + hashlib.sha256(b"neap_narrow").hexdigest()
        ]

    def with_key(self, key, path=wire.REPLY):
        return self.server.ask("a", path, {"Authorization": f"Bearer {key}"})

    def test_without_a_key_it_is_401(self):
        reply = self.server.ask("a")
        self.assertError(reply, 401, "unauthorized")
        self.assertEqual(reply.get("WWW-Authenticate"), "Bearer")

    def test_unknown_expired_and_disabled_keys_get_the_same_401(self):
        messages = set()
        for key in ("neap_nobody", KEYS["old"], KEYS["off"], "x" * 4000):
            reply = self.with_key(key)
            messages.add(self.assertError(reply, 401, "unauthorized")["message"])
        self.assertEqual(len(messages), 1)

    def test_a_key_is_taken_in_both_headers(self):
        self.assertGood(self.with_key(KEYS["gold"]))
        self.assertGood(self.server.ask("a", headers={"x-api-key": KEYS["gold"]}))
        reply = self.server.ask("a", headers={"authorization": f"bearer  {KEYS['gold']}"})
        self.assertGood(reply)
        self.assertEqual(self.server.decision(reply)["tenant"], "gold")

    def test_a_key_that_may_not_use_the_endpoint_is_403(self):
        self.assertError(self.with_key("neap_narrow"), 403, "forbidden")

    def test_a_key_is_only_given_the_models_that_it_may_use(self):
        reply = self.with_key(KEYS["small"])
        self.assertGood(reply, model="m")
        self.assertEqual(self.server.decision(reply)["plan"], ["m"])

    def test_a_key_that_may_use_no_model_of_the_plan_is_403(self):
        self.assertError(self.with_key(KEYS["small"], "/api/other/reply"), 403, "forbidden")

    def test_a_web_page_with_a_key_is_served_from_anywhere(self):
        headers = {"Authorization": f"Bearer {KEYS['gold']}", "Origin": "https://app.example"}
        self.assertGood(self.server.ask("a", headers=headers, host="gateway.example"))

    def test_the_key_is_asked_for_before_the_body_is_read(self):
        with self.server.conn() as conn:
            conn.send(wire.request(body=b"", headers={"Content-Length": "100000",
                                                      "Expect": "100-continue"}))
            reply = conn.reply()
            self.assertEqual(reply.interim, [])
            self.assertError(reply, 401, "unauthorized")


if __name__ == "__main__":
    case.main()

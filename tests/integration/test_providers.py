"""The provider's side of a call, seen from a provider of the test's own: what is sent, which
connections are used, which are not, and that no byte goes where the operator did not say."""

import os
import socket
import ssl
import subprocess
import tempfile
import time
import warnings

import case
import policies as sets
import procs
import stub


class Own(case.Case):
    """Each test makes its own provider and server."""

    scenario = False

    def begin(self, handle, adapter="openai", certificate=None, flags=(), env=(), scheme=None,
              endpoint=None, **provider):
        """A stub, and a server that calls it; both end with the test."""
        self.stub = stub.Stub(handle, certificate)
        self.addCleanup(self.stub.stop)
        files = sets.Policies(scheme or self.stub.url)
        files.provider("stub", adapter, **provider)
        files.model("m", "stub", id="stub-1", tier="premium")
        files.endpoint("assistant", ["m"], **(endpoint or {}))
        self.server = procs.Serve(files, {**self.env, **dict(env)}, flags, workers=1)
        self.addCleanup(self.server.stop)
        self.started = [self.server, self.stub]
        return self.server


def good(call):
    return stub.reply(stub.openai(f"answer {call.nth}"))


BODY = {
    "prompt": "How do I \u00e9\\u20ac \U0001f600?",
    "system": "You help.",
    "context": [{"id": "kb-1", "text": "the \"text\"", "priority": 1}],
    "maxTokens": 77,
    "temperature": 0.25,
    "stop": ["END"],
}
SYSTEM = 'You help.\n\n[kb-1]\nthe "text"'


class Wire(Own):
    def test_the_openai_dialect_as_its_api_wants_it(self):
        self.begin(good, api_key=sets.env("NEAP_TEST_KEY"), headers={"X-Team": "support"})
        self.assertGood(self.server.ask(BODY), text="answer 1", provider="stub", model="m")
        call = self.stub.calls[0]
        self.assertEqual((call.method, call.path), ("POST", "/v1/chat/completions"))
        self.assertEqual(call.get("Authorization"), f"Bearer {self.env['NEAP_TEST_KEY']}")
        self.assertEqual(call.get("Content-Type"), "application/json")
        self.assertEqual(call.get("X-Team"), "support")
        for absent in ("Accept-Encoding", "Expect", "Transfer-Encoding", "Cookie", "Via"):
            self.assertIsNone(call.get(absent), call.headers)
        got = call.json()
        self.assertEqual(got["model"], "stub-1")
        self.assertEqual(got["messages"], [{"role": "system", "content": SYSTEM},
                                           {"role": "user", "content": BODY["prompt"]}])
        self.assertEqual((got["max_tokens"], got["temperature"]), (77, 0.25))
        self.assertEqual(got["stop"], ["END"])
        self.assertFalse(got.get("stream", False))

    def test_the_anthropic_dialect_as_its_api_wants_it(self):
        def handle(_):
            return stub.reply(stub.anthropic("bonjour", 7, 5, cache_read_input_tokens=3,
                                             cache_creation_input_tokens=None))

        self.begin(handle, "anthropic", api_key=sets.env("NEAP_TEST_KEY"))
        got = self.assertGood(self.server.ask(BODY), text="bonjour")
        self.assertEqual(got["usage"]["promptTokens"], 10)
        self.assertEqual(got["usage"]["cachedTokens"], 3)
        self.assertEqual(got["usage"]["completionTokens"], 5)
        call = self.stub.calls[0]
        self.assertEqual((call.method, call.path), ("POST", "/v1/messages"))
        self.assertEqual(call.get("x-api-key"), self.env["NEAP_TEST_KEY"])
        self.assertEqual(call.get("anthropic-version"), "2023-06-01")
        self.assertIsNone(call.get("Authorization"))
        sent = call.json()
        self.assertEqual(sent["system"], SYSTEM)
        self.assertEqual(sent["messages"], [{"role": "user", "content": BODY["prompt"]}])
        self.assertEqual(sent["max_tokens"], 77)
        self.assertEqual(sent["stop_sequences"], ["END"])

    def test_usage_is_what_the_provider_counted(self):
        def handle(_):
            return stub.reply(stub.openai("x", 100, 40,
                                          prompt_tokens_details={"cached_tokens": 60},
                                          completion_tokens_details={"reasoning_tokens": 30}))

        self.begin(handle)
        reply = self.server.ask("hello")
        got = self.assertGood(reply)["usage"]
        self.assertEqual(got["promptTokens"], 100)
        self.assertEqual(got["completionTokens"], 40)
        self.assertEqual(got["cachedTokens"], 60)
        self.assertAlmostEqual(got["costUsd"], 100e-6 + 80e-6, 9)
        record = self.server.decision(reply)["attempts"][0]
        self.assertEqual(record["settled"], "exact")
        self.assertEqual(record["tokens"]["reasoning"], 30)
        metrics = self.server.metrics()
        for kind, n in (("prompt", 100), ("completion", 40), ("cached", 60), ("reasoning", 30)):
            self.assertEqual(metrics.get("llm_tokens_total", kind=kind, model="m"), n)

    def test_finish_reasons_are_told_in_the_contracts_words(self):
        words = iter(["stop", "length", "content_filter"])

        def handle(_):
            body = stub.openai("some words")
            body["choices"][0]["finish_reason"] = next(words)
            return stub.reply(body)

        self.begin(handle)
        for word in ("stop", "length", "content_filter"):
            self.assertGood(self.server.ask("hello"), finishReason=word)

    def test_connections_are_used_again(self):
        self.begin(good)
        for _ in range(10):
            self.assertGood(self.server.ask("hello"))
        self.assertEqual(self.stub.connections, 1)


class Resend(Own):
    def test_a_dead_reused_connection_delivers_a_post_once(self):
        """The provider reads the second request of its connection and closes (T8)."""

        def handle(call):
            return good(call) if call.on == 1 else None

        self.begin(handle, endpoint={"max_attempts": 1})
        self.assertGood(self.server.ask("first"))
        reply = self.server.ask("second")
        self.assertDegraded(reply, "exhausted")
        time.sleep(0.3)
        bodies = [call.body for call in self.stub.calls if b"second" in call.body]
        case.say(f"bodies received: {len(bodies)}")
        self.assertEqual(len(bodies), 1)
        record = self.server.decision(reply)
        self.assertEqual(self.classes(record), ["network"])
        self.assertEqual(record["attempts"][0]["settled"], "presumed")

    def test_a_dead_reused_connection_delivers_a_streamed_request_once(self):
        def handle(call):
            return good(call) if call.on == 1 else None

        self.begin(handle, endpoint={"max_attempts": 1})
        self.assertGood(self.server.ask("first"))
        with self.server.conn() as conn:
            stream = self.server.stream("second", conn=conn).follow()
        self.assertEqual(self.assertStreamed(stream)["reason"], "exhausted")
        time.sleep(0.3)
        self.assertEqual(len([call.body for call in self.stub.calls if b"second" in call.body]), 1)
        record = self.server.decision(stream.get("X-Request-Id"))
        self.assertEqual(self.classes(record), ["network"])
        self.assertEqual(record["attempts"][0]["settled"], "presumed")

    def test_neaps_own_retry_delivers_it_once_more_and_counts_it(self):
        def handle(call):
            return None if call.on == 2 else good(call)

        self.begin(handle)
        self.assertGood(self.server.ask("first"))
        reply = self.server.ask("second")
        self.assertGood(reply)
        self.assertEqual(self.classes(self.server.decision(reply)), ["network", "ok"])
        bodies = [call.body for call in self.stub.calls if b"second" in call.body]
        self.assertEqual(len(bodies), 2)

    def test_a_connection_that_was_closed_while_idle_costs_no_attempt(self):
        def handle(call):
            call.conn.send(good(call))
            return None

        self.begin(handle)
        for _ in range(3):
            reply = self.server.ask("hello")
            self.assertGood(reply)
            self.assertEqual(self.classes(self.server.decision(reply)), ["ok"])
            self.assertTrue(procs.wait_for(lambda: not self.stub.open), "the stub does not close")


class Elsewhere(Own):
    def canary(self):
        self.hits = []

        def handle(call):
            self.hits.append(call)
            return good(call)

        canary = stub.Stub(handle)
        self.addCleanup(canary.stop)
        return canary

    def test_redirects_are_not_followed(self):
        canary = self.canary()
        for status in (301, 302, 303, 307, 308):
            with self.subTest(status=status):
                def handle(_, status=status):
                    return stub.reply(b"", status, [("Location", canary.url + "/v1/x")])

                self.begin(handle, api_key=sets.env("NEAP_TEST_KEY"))
                reply = self.server.ask("hello")
                self.assertDegraded(reply, "exhausted")
                self.assertEqual(self.classes(self.server.decision(reply)), ["bad_reply"])
        self.assertEqual(canary.connections, 0)

    def test_a_proxy_in_the_environment_is_not_used(self):
        canary = self.canary()
        names = ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
        self.begin(good, env={name: canary.url for name in names})
        self.assertGood(self.server.ask("hello"))
        self.assertEqual(canary.connections, 0)

    def test_cookies_are_not_kept(self):
        def handle(call):
            return stub.reply(stub.openai("x"), headers=[("Set-Cookie", "a=b; Path=/")])

        self.begin(handle)
        self.server.ask("one")
        self.server.ask("two")
        self.assertIsNone(self.stub.calls[1].get("Cookie"))

    def test_a_netrc_file_is_not_read(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        with open(os.path.join(home.name, ".netrc"), "w", encoding="utf-8") as f:
            f.write("machine 127.0.0.1 login eve password secret\n")
        self.begin(good, env={"HOME": home.name})
        self.assertGood(self.server.ask("hello"))
        self.assertIsNone(self.stub.calls[0].get("Authorization"))


class Tls(Own):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = tempfile.TemporaryDirectory(prefix="neap-tls-")
        cls.ca, cls.good = cls.authority("good", "IP:127.0.0.1")
        _, cls.stranger = cls.authority("stranger", "IP:127.0.0.1")
        _, cls.other_name = cls.sign(cls.ca, "other", "DNS:elsewhere.example")

    @classmethod
    def tearDownClass(cls):
        cls.keys.cleanup()
        super().tearDownClass()

    @classmethod
    def openssl(cls, *args):
        subprocess.run(["openssl", *args], check=True, capture_output=True)

    @classmethod
    def file(cls, name):
        return os.path.join(cls.keys.name, name)

    @classmethod
    def authority(cls, name, subject):
        """A certificate authority, and a server's certificate that it signed."""
        key, ca = cls.file(f"{name}-ca.key"), cls.file(f"{name}-ca.pem")
        cls.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "2", "-subj", f"/CN={name} ca", "-keyout", key, "-out", ca,
                    "-addext", "keyUsage=critical,keyCertSign")
        return cls.sign(ca, name, subject)

    @classmethod
    def sign(cls, ca, name, subject):
        key, request, cert = (cls.file(f"{name}.{end}") for end in ("key", "csr", "pem"))
        extensions = cls.file(f"{name}.ext")
        with open(extensions, "w", encoding="utf-8") as f:
            f.write(f"subjectAltName={subject}\n")
        cls.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        cls.openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey",
                    ca.replace(".pem", ".key"), "-CAcreateserial", "-days", "2", "-out", cert,
                    "-extfile", extensions)
        return ca, (cert, key)

    def test_a_certificate_of_the_given_authority_is_accepted(self):
        self.begin(good, certificate=self.good, flags=("--ca-file", self.ca))
        for _ in range(3):
            self.assertGood(self.server.ask("hello"))
        self.assertEqual(self.stub.connections, 1)

    def refused(self, certificate, flags):
        self.begin(good, certificate=certificate, flags=flags, endpoint={"max_attempts": 1})
        reply = self.server.ask("hello")
        self.assertDegraded(reply, "exhausted")
        record = self.server.decision(reply)
        self.assertEqual(self.classes(record), ["network"])
        self.assertEqual(record["attempts"][0]["settled"], "void")
        self.assertEqual(self.stub.calls, [])

    def test_a_certificate_of_an_authority_that_nobody_trusts_is_refused(self):
        self.refused(self.good, ())

    def test_a_certificate_of_another_authority_is_refused(self):
        self.refused(self.stranger, ("--ca-file", self.ca))

    def test_a_certificate_for_another_name_is_refused(self):
        self.refused(self.other_name, ("--ca-file", self.ca))

    def test_tls_older_than_1_2_is_refused(self):
        self.begin(good, certificate=self.good, flags=("--ca-file", self.ca),
                   endpoint={"max_attempts": 1})
        self.stub.tls.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.stub.tls.minimum_version = ssl.TLSVersion.TLSv1
            self.stub.tls.maximum_version = ssl.TLSVersion.TLSv1_1
        self.assertDegraded(self.server.ask("hello"), "exhausted")
        self.assertEqual(self.stub.calls, [])


class Keys(Own):
    """Several keys of a provider: whose turn it is, and what holds one."""

    env = {"KEY_A": "sk-aaaa", "KEY_B": "sk-bbbb"}

    def begin_keys(self, handle, **kw):
        self.begin(handle, api_keys=[sets.env("KEY_A"), sets.env("KEY_B")], **kw)

    def used(self):
        return [call.get("Authorization")[-4:] for call in self.stub.calls]

    def test_a_key_that_one_host_refuses_is_sent_to_another(self):
        def refuses(_):
            return stub.reply({"error": {"message": "no", "code": "invalid_api_key"}}, 401)

        first, second = stub.Stub(refuses), stub.Stub(good)
        self.addCleanup(first.stop)
        self.addCleanup(second.stop)
        files = sets.Policies(first.url)
        files.provider("first", api_key=sets.env("KEY_A"))
        files.provider("second", base_url=second.url + "/v1", api_key=sets.env("KEY_A"))
        files.model("m1", "first")
        files.model("m2", "second")
        files.endpoint("assistant", ["m1", "m2"])
        server = procs.Serve(files, self.env, workers=1)
        self.addCleanup(server.stop)
        skips = []
        for _ in range(3):
            reply = server.ask("hello")
            self.assertGood(reply, model="m2")
            skips.append([skip["model"] for skip in server.decision(reply).get("skipped", [])])
        self.assertEqual(skips, [[], ["m1"], ["m1"]])
        self.assertEqual((len(first.calls), len(second.calls)), (1, 3))

    def test_free_keys_take_turns(self):
        self.begin_keys(good)
        for _ in range(4):
            self.assertGood(self.server.ask("hello"))
        self.assertEqual(sorted(self.used()), ["aaaa", "aaaa", "bbbb", "bbbb"])

    def test_a_key_is_read_from_a_file_without_its_line_end(self):
        place = tempfile.NamedTemporaryFile("w", suffix=".key", delete=False)
        self.addCleanup(os.unlink, place.name)
        with place as f:
            f.write("sk-from-file\n")
        self.begin(good, api_key=sets.file(place.name))
        self.assertGood(self.server.ask("hello"))
        self.assertEqual(self.stub.calls[0].get("Authorization"), "Bearer sk-from-file")

    def refusing(self, status, headers=()):
        def handle(call):
            if call.get("Authorization").endswith("aaaa"):
                return stub.reply({"error": {"message": "no", "type": "x"}}, status, headers)
            return good(call)

        return handle

    def ask_four(self):
        classes = []
        for _ in range(4):
            reply = self.server.ask("hello")
            self.assertGood(reply)
            classes.append(self.classes(self.server.decision(reply)))
        return classes

    def test_a_key_that_meets_401_is_held_and_the_other_answers_at_once(self):
        self.begin_keys(self.refusing(401))
        classes = self.ask_four()
        self.assertEqual(self.used().count("aaaa"), 1, self.used())
        self.assertIn(["credential", "ok"], classes)
        self.assertEqual(classes.count(["ok"]), 3)

    def test_a_key_that_meets_429_is_held_for_its_retry_after(self):
        self.begin_keys(self.refusing(429, [("Retry-After", "1")]))
        classes = self.ask_four()
        self.assertEqual(self.used().count("aaaa"), 1, self.used())
        self.assertIn(["rate_limited", "ok"], classes)
        time.sleep(1.1)
        self.ask_four()
        self.assertEqual(self.used().count("aaaa"), 2, self.used())

    def test_when_every_key_is_held_the_candidate_is_passed_over(self):
        def handle(_):
            return stub.reply({"error": {"message": "no", "type": "x"}}, 401)

        self.begin_keys(handle)
        reply = self.server.ask("hello")
        self.assertDegraded(reply, "exhausted")
        self.assertEqual(self.classes(self.server.decision(reply)), ["credential"] * 2)
        reply = self.server.ask("hello")
        self.assertDegraded(reply, "exhausted")
        record = self.server.decision(reply)
        self.assertEqual(record["attempts"], [])
        self.assertEqual(case.skips(record), [{"model": "m", "why": "quota"}])
        self.assertEqual(len(self.stub.calls), 2)


class Unreachable(case.Case):
    scenario = False

    def test_each_way_of_not_connecting_is_a_network_failure_and_costs_nothing(self):
        closed = socket.socket()  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        self.addCleanup(closed.close)
        for url in (f"http://127.0.0.1:{closed.getsockname()[1]}", "http://no-such-host.invalid"):
            with self.subTest(url=url):
                files = sets.Policies(url)
                files.provider("p")
                files.model("m", "p")
                files.endpoint("assistant", ["m"], max_attempts=1)
                server = procs.Serve(files, workers=1)
                try:
                    reply = server.ask("hello")
                    self.assertDegraded(reply, "exhausted")
                    attempt = server.decision(reply)["attempts"][0]
                    self.assertEqual(attempt["class"], "network")
                    self.assertEqual((attempt["settled"], attempt["costUsd"]), ("void", 0))
                    self.assertTrue(attempt["error"])
                finally:
                    server.stop()

    def test_a_connection_that_is_not_taken_ends_in_the_connect_timeout(self):
        """A listener whose backlog is full swallows connections, as a dead host does."""
        full = socket.socket()
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        blockers = []
        for _ in range(3):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
            blockers.append(s)
        files = sets.Policies(f"http://127.0.0.1:{port}")
        files.provider("p", connect_timeout_ms=200)
        files.model("m", "p")
        files.endpoint("assistant", ["m"], max_attempts=1)
        server = procs.Serve(files, workers=1)
        try:
            reply = server.ask("hello")
            record = server.decision(reply)
            self.assertEqual(self.classes(record), ["timeout"], record)
            self.assertEqual(record["attempts"][0]["settled"], "void")
            case.say(f"connect timeout of 200 ms: {record['attempts'][0]['latencyMs']} ms")
            self.assertLess(record["attempts"][0]["latencyMs"], 400)
        finally:
            server.stop()
            for s in (*blockers, full):
                s.close()


if __name__ == "__main__":
    case.main()

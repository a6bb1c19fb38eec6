"""Canaries (T36): keys never leave, prompts and replies stand in no log, record, metric or error, whatever
goes wrong on the way."""

import hashlib
import os

import case
import policies as sets
import procs
import stub

PROVIDER_KEY = "sk-CANARY-provider-0123456789"
FILE_KEY = "sk-CANARY-from-file-0123456789"
CLIENT_KEY = "neap_CANARY_client_0123456789"
UNKNOWN_KEY = "neap_CANARY_unknown_0123456789"
ADMIN_TOKEN = "CANARY-admin-0123456789"
PROMPT = "CANARY-prompt my password is hunter2"
SYSTEM = "CANARY-system"
CONTEXT = "CANARY-context"
REPLY = "CANARY-reply the vault opens at noon"
METADATA = "CANARY-metadata"

KEYS = (PROVIDER_KEY, FILE_KEY, CLIENT_KEY, UNKNOWN_KEY, ADMIN_TOKEN)
TEXTS = (PROMPT, SYSTEM, CONTEXT, REPLY, METADATA)
ASKED = {
    "prompt": PROMPT,
    "system": SYSTEM,
    "context": [{"id": "kb-1", "text": CONTEXT}],
    "metadata": {"note": METADATA},
}


class Secrets(case.Case):
    scenario = False
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.env = {"NEAP_ADMIN_TOKEN": ADMIN_TOKEN, "CANARY_KEY": PROVIDER_KEY}
        super().setUpClass()

    @classmethod
    def prepare(cls, policies):
        cls.stub = cls.own(stub.Stub(cls.handle))
        policies.url = cls.stub.url
        place = os.path.join(policies.path, ".key")
        with open(place, "w", encoding="utf-8") as f:
            f.write(FILE_KEY + "\n")
        policies.provider("p", api_key=sets.env("CANARY_KEY"), headers={"X-Team": "support"})
        policies.provider("a", "anthropic", api_key=sets.file(place))
        for status in (200, 400, 401, 403, 404, 422, 429, 500, 503):
            for provider in ("p", "a"):
                policies.model(f"{provider}-{status}", provider)
                policies.endpoint(
                    f"{provider}-{status}", [f"{provider}-{status}"], max_attempts=1
                )
        policies.model("cut", "p")
        policies.endpoint("cut", ["cut"], max_attempts=1)
        policies.tenants = {
            "acme": {"keys": ["sha256:" + hashlib.sha256(CLIENT_KEY.encode()).hexdigest()]}
        }
        policies.budgets = [{"account": "tenant", "window": "day", "limit_usd": 5}]

    @staticmethod
    def handle(call):
        model = call.json()["model"]
        if model == "cut":
            return None
        status = int(model.split("-")[1])
        if status == 200:
            good = stub.openai if model.startswith("p") else stub.anthropic
            return stub.reply(good(REPLY))
        key = call.get("Authorization") or call.get("x-api-key")
        error = {"message": f"Incorrect API key provided: {key}", "type": "x", "code": None}
        return stub.reply({"type": "error", "error": error}, status)

    def ask(self, path, body=None, key=CLIENT_KEY, **headers):
        given = {"Authorization": f"Bearer {key}", **headers}
        return self.server.ask(body or ASKED, path, given)

    def everything(self):
        """All that was said to anybody but the provider and the client that asked."""
        said = {name: self.server.read(name) for name in ("neap.log", "decisions", "stderr", "stdout")}
        for path in ("/metrics", "/api/status", "/api/breakers", "/api/budgets", "/api/policies", "/api/requests?limit=1000"):
            said[path] = self.server.admin("GET", path).body.decode()
        return said

    def test_no_canary_leaves(self):
        replies, refusals = [], []
        for path in self.policies.endpoints:
            replies.append(self.ask(path))
        path = "/api/p-200/reply"
        refusals.append(self.ask(path, key=UNKNOWN_KEY))
        refusals.append(self.ask(path, {**ASKED, "promt": PROMPT}))
        refusals.append(self.ask(path, {**ASKED, "prompt": [PROMPT]}))
        refusals.append(self.ask(path, {**ASKED, "system": {"a": SYSTEM}}))
        refusals.append(self.ask(path, {**ASKED, "context": [{"id": "k", "text": [CONTEXT]}]}))
        refusals.append(self.ask(path, f'{{"prompt": "{PROMPT}", }}'.encode()))
        refusals.append(self.ask(path, **{"Content-Type": "text/plain"}))
        refusals.append(self.ask("/nowhere"))
        refusals.append(self.server.admin("GET", "/metrics", {"Authorization": f"Bearer {UNKNOWN_KEY}"}))
        refusals.append(self.server.reload())
        for reply in replies:
            self.server.decision(reply)
        # A text that went astray: its own sender alone hears it again.
        astray = [self.ask(path, {"prompt": "x", name: "y"}) for name in (PROMPT, SYSTEM, PROVIDER_KEY)]
        astray.append(self.ask(path, {"messages": [{"role": "user", "content": "x", PROMPT: 1}]}))
        for reply, at in zip(astray, ["(unknown)"] * 3 + ["messages[0].(unknown)"]):
            self.assertEqual(self.server.decision(reply)["param"], at)
        hits = []
        for place, text in self.everything().items():
            hits += [(place, canary) for canary in KEYS + TEXTS if canary in text]
        for reply in replies + refusals:
            text = reply.body.decode() + repr(reply.headers)
            hits += [("a reply", canary) for canary in KEYS if canary in text]
        for reply in refusals:
            hits += [("a refusal", canary) for canary in TEXTS if canary in reply.body.decode()]
        case.say(f"{len(replies) + len(refusals)} requests, {len(KEYS + TEXTS)} canaries: {len(hits)} hits")
        self.assertEqual(hits, [])
        good = replies[list(self.policies.endpoints).index(path)]
        self.assertGood(good, text=REPLY)
        self.assertEqual({call.get("Authorization") for call in self.stub.calls if call.get("Authorization")},
                         {f"Bearer {PROVIDER_KEY}"})

    def test_keys_are_not_in_what_others_may_read_of_the_process(self):
        pid = self.server.process.pid
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            self.assertNotIn(b"CANARY", f.read())
        # Not dumpable: even for its own user these files belong to root.
        self.assertEqual(os.stat(f"/proc/{pid}/environ").st_uid, 0)

    def test_records_can_be_read_by_their_owner_alone(self):
        self.assertEqual(os.stat(self.server.path("decisions")).st_mode & 0o077, 0)
        self.assertEqual(os.stat(self.server.path("neap.log")).st_mode & 0o007, 0)


class Problems(case.Case):
    """What a policy set's problems say never holds a key's value."""

    scenario = False

    def test_a_broken_set_is_told_without_the_values_of_its_keys(self):
        files = sets.Policies()
        files.provider("p", api_key=sets.env("CANARY_KEY"), headers={"X-Key": sets.env("CANARY_KEY")})
        files.model("m", "nobody")
        files.endpoint("assistant", ["m"])
        files.files["route.lua"] = "error(tostring(env and env 'CANARY_KEY'))\n"
        path = files.write().path
        status, out, err = procs.run("check", path, env={"CANARY_KEY": PROVIDER_KEY})
        self.assertEqual(status, 1)
        self.assertNotIn(PROVIDER_KEY, out + err)
        status, out, err = procs.run("serve", "--policies", path, env={"CANARY_KEY": PROVIDER_KEY})
        self.assertEqual(status, 1)
        self.assertNotIn(PROVIDER_KEY, out + err)

    def test_a_key_with_bytes_that_no_header_may_have_is_refused_without_being_shown(self):
        for value in ("sk-CANARY\r\nX-Evil: 1", "sk-CANARY\u00e9", "sk-CANARY\x7f"):
            files = sets.Policies()
            files.provider("p", api_key=sets.env("CANARY_KEY"))
            files.model("m", "p")
            files.endpoint("assistant", ["m"])
            status, out, err = procs.run("serve", "--policies", files.write().path,
                                         env={"CANARY_KEY": value})
            self.assertEqual(status, 1, out + err)
            self.assertIn("CANARY_KEY", err)
            self.assertNotIn("sk-CANARY", out + err)


if __name__ == "__main__":
    case.main()

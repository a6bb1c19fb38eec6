"""Who may do what on the operators' socket: every endpoint, with no key, a wrong one, a client's and the
admin token, by every method. And that nothing of it can be reached from the clients' socket."""

import hashlib

import case
import wire

TOKEN = "admin-token-0123456789"
CLIENT = "neap-client-key-of-acme"

OPEN = ("/healthz", "/readyz", "/", "/dashboard/app.js", "/dashboard/style.css", "/dashboard/favicon.svg",
        "/dashboard/settings")
READ = ("/metrics", "/api/status", "/api/breakers", "/api/budgets", "/api/policies", "/api/alerts",
        "/api/requests", "/api/requests?limit=1", "/api/requests/ID", "/api/requests/ID/explain", "/api/series",
        "/api/series?span=24h", "/api/days")
WRITE = ("/api/policies/reload", "/api/policies/rollback")
NOWHERE = ("/api", "/api/", "/api/requestsx", "/api/keys", "/dashboard", "/dashboard/", "/dashboard/index.html",
           "/dashboard/README.md", "/dashboard/nothing.js", "/index.html", "/favicon.ico", "/v1/models", wire.REPLY)
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "
    "'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
KEYS = {
    "none": {},
    "wrong": {"Authorization": "Bearer admin-token-0123456780"},
    "prefix": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "client": {"Authorization": f"Bearer {CLIENT}"},
    "client, elsewhere": {"X-Api-Key": CLIENT},
    "admin, elsewhere": {"X-Api-Key": TOKEN},
    "not bearer": {"Authorization": f"Basic {TOKEN}"},
    "admin": {"Authorization": f"Bearer {TOKEN}"},
}


def expected(kind, key, method, header):
    """What the contract says of an endpoint of this kind."""
    read = method in ("GET", "HEAD")
    if kind != "open" and key != "admin":
        return 401
    if kind == "nowhere":
        return 405 if method == "OPTIONS" else 404
    if kind in ("open", "read"):
        return 200 if read else 405
    if method != "POST":
        return 405
    return 200 if header else 403


class Rights(case.Case):
    env = {"NEAP_TEST_KEY": "sk-test-0123456789", "NEAP_ADMIN_TOKEN": TOKEN}

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        digest = hashlib.sha256(CLIENT.encode()).hexdigest()
        policies.tenants = {"acme": {"keys": [f"sha256:{digest}"]}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        reply = cls.server.ask("hi", headers={"Authorization": f"Bearer {CLIENT}"})
        assert reply.status == 200, reply
        cls.server.decision(reply)
        cls.known = reply.get("X-Request-Id")
        # An earlier generation, so that a rollback has something to do.
        cls.policies.files["lib/extra.lua"] = "return {}\n"
        cls.policies.write()
        assert cls.server.reload().json()["result"] == "ok"

    def cells(self):
        kinds = (("open", OPEN), ("read", READ), ("write", WRITE), ("nowhere", NOWHERE))
        for kind, paths in kinds:
            for path in paths:
                for key in KEYS:
                    for method in METHODS:
                        for header in (False, True) if kind == "write" else (False,):
                            yield kind, path, key, method, header

    def test_the_table_of_rights_is_that_of_the_contract(self):
        differ, n = [], 0
        for kind, path, key, method, header in self.cells():
            headers = {**KEYS[key], "Content-Length": "0"} if method not in ("GET", "HEAD") else dict(KEYS[key])
            if header:
                headers["X-Neap-Admin"] = "1"
            reply = wire.ask(self.server.admin_port, method, path.replace("ID", self.known), None, headers)
            want = expected(kind, key, method, header)
            n += 1
            if reply.status != want:
                differ.append((path, key, method, header, "is", reply.status, "should be", want))
        case.say(f"cells: {n}, that differ from the contract: {len(differ)}")
        self.assertEqual(differ, [])
        self.assertGreater(n, 1500)

    def test_every_answer_says_what_a_browser_may_do_with_it(self):
        """Refusals too, and those that go past the library."""
        port = self.server.admin_port
        bare, many = [], set()
        for path in (*OPEN, *READ, *NOWHERE):
            for key in ("none", "admin"):
                for method in ("GET", "DELETE"):
                    reply = wire.ask(port, method, path.replace("ID", self.known), None, KEYS[key])
                    many.add(reply.status)
                    bare += [(path, key, method, name) for name, value in SECURITY.items() if reply.get(name) != value]
        for head in (
            "POST /api/policies/reload HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n",
            "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n",
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "GET /api/requests?limit=none HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + TOKEN + "\r\n",
            "POST /api/policies/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\nX-Neap-Admin: 1\r\n"
            "Authorization: Bearer " + TOKEN + "\r\n",
        ):
            with wire.Conn(port) as conn:
                conn.send(head.encode() + b"\r\n")
                reply = conn.reply()
            many.add(reply.status)
            if "Transfer-Encoding" in head and not reply.body.startswith(b"{"):
                continue  # libmicrohttpd 1.0 refuses two lengths itself, in its own words
            bare += [(head, name) for name, value in SECURITY.items() if reply.get(name) != value]
        case.say(f"statuses {sorted(many)}: {len(bare)} headers are missing")
        self.assertEqual(bare, [])
        self.assertGreaterEqual(many, {200, 400, 401, 403, 404, 405, 413})

    def test_what_is_refused_tells_nothing_of_what_is_there(self):
        bodies = set()
        for path in ("/api/requests/" + self.known, "/api/requests/req_none", "/api/nothing", "/metrics"):
            reply = wire.ask(self.server.admin_port, "GET", path, headers={"X-Request-Id": "same"})
            self.assertEqual(reply.status, 401)
            bodies.add(reply.body)
        self.assertEqual(len(bodies), 1)

    def test_the_clients_socket_has_none_of_it_whatever_key_is_shown(self):
        for path in (*OPEN, *READ, *WRITE):
            for key, headers in KEYS.items():
                for method in ("GET", "POST"):
                    given = {**headers, "X-Neap-Admin": "1"}
                    reply = wire.ask(
                        self.server.port, method, path.replace("ID", self.known), {} if method == "POST" else None, given
                    )
                    self.assertIn(reply.status, (401, 404, 405), (path, key, method))
                    self.assertNotIn(b"requestId\":\"" + self.known.encode(), reply.body)

    def test_the_admin_token_opens_no_door_for_clients(self):
        reply = self.server.ask("hi", headers={"Authorization": f"Bearer {TOKEN}"})
        self.assertError(reply, 401, "unauthorized")

    def test_a_client_key_spends_but_rules_nothing(self):
        before = self.server.admin("GET", "/api/policies").json()["generations"]
        for path in WRITE:
            headers = {"Authorization": f"Bearer {CLIENT}", "X-Neap-Admin": "1"}
            self.assertEqual(wire.ask(self.server.admin_port, "POST", path, headers=headers).status, 401)
        after = self.server.admin("GET", "/api/policies").json()["generations"]
        self.assertEqual([g["version"] for g in before], [g["version"] for g in after])


if __name__ == "__main__":
    case.main()

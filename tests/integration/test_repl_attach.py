"""neap repl --attach: a session begins as a running instance stands, and nothing happens there."""

import case
import procs

TOKEN = "operators-only-0123456789"


class Attach(case.Case):
    env = {**case.Case.env, "NEAP_ADMIN_TOKEN": TOKEN}

    @classmethod
    def prepare(cls, policies):
        policies.provider("p", breaker={"failures": 3, "rate": 0.9, "min_calls": 1000, "window_ms": 10000, "open_ms": 60000})
        policies.model("m", "p")
        policies.model("broken", "p")
        policies.endpoint("assistant", ["m"])
        policies.endpoint("gone", ["broken"], max_attempts=1)
        policies.budgets = [{"account": "global", "window": "day", "limit_usd": 7}]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mock.control(broken={"status": 500, "first_ms": 1, "total_ms": 1})
        for _ in range(3):
            cls.server.ask("a", "/api/gone/reply")
        for _ in range(25):
            cls.server.ask("a")
        cls.url = f"http://127.0.0.1:{cls.server.admin_port}"

    def repl(self, *lines, flags=(), token=TOKEN):
        words = [word for line in lines for word in ("-e", line)]
        return procs.run("repl", self.policies.path, *flags, *words, env={**self.env, "NEAP_ADMIN_TOKEN": token})

    def test_breakers_budgets_and_statistics_are_copied_and_nothing_runs_there(self):
        before = self.server.metrics().get("neap_requests_total", endpoint="/api/assistant/reply", status="200", degraded="false")
        status, out, err = self.repl(
            'breaker.state("broken")', 'breaker.state("m")', "stats.cost_usd('global/day') > 0", 'stats.p95("m") > 0', ".run",
            flags=("--attach", self.url),
        )
        self.assertEqual((status, err), (0, ""), out)
        self.assertIn('"open"\n"closed"\ntrue\ntrue\n', out)
        self.assertIn("as this session does", out)
        after = self.server.metrics().get("neap_requests_total", endpoint="/api/assistant/reply", status="200", degraded="false")
        self.assertEqual((before, after), (25, 25))

    def test_a_wrong_token_or_address_is_told(self):
        status, _, err = self.repl(".attach " + self.url, token="another-one-0123456789")
        self.assertEqual(status, 1)
        self.assertIn("NEAP_ADMIN_TOKEN", err)
        self.assertNotIn("another-one", err)
        status, _, err = self.repl(".attach http://127.0.0.1:1")
        self.assertEqual(status, 1)
        self.assertIn("127.0.0.1:1", err)
        status, _, err = self.repl(f".attach http://127.0.0.1:{self.server.port}")
        self.assertIn("404", err)


if __name__ == "__main__":
    case.main()

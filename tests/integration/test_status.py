"""neap status: what an operator sees of a running instance, and when nobody answers."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import case
import procs


class Status(case.Case):
    env = {"NEAP_TEST_KEY": "sk-test-0123456789", "NEAP_ADMIN_TOKEN": "status-token"}

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("a-model", "p", usd_per_million={"input": 1000, "output": 2000})
        policies.endpoint(
            "assistant", ["a-model"], slo={"p95_ms": 2500, "error_rate": 0.01, "cost_usd": 0.01}
        )
        policies.budgets = [
            {"account": "global", "window": "day", "limit_usd": 50},
            {"account": "tenant", "window": "day", "limit_usd": 0.2},
        ]

    def status(self, *flags, token="status-token"):
        env = {"NEAP_ADMIN_TOKEN": token} if token else {}
        return procs.run(
            "status", "--admin", f"http://127.0.0.1:{self.server.admin_port}", *flags, env=env
        )

    def test_objectives_models_budgets_and_policies_stand_in_eighty_columns(self):
        self.assertEqual(self.server.ask("hi").status, 200)
        code, text, said = self.status()
        self.assertEqual((code, said), (0, ""))
        self.assertLessEqual(max(map(len, text.splitlines())), 80, text)
        self.assertRegex(text, r"/api/assistant/reply +p95 +2500 ms")
        self.assertRegex(text, r"errors +1 %")
        self.assertRegex(text, r"p +a-model +closed")
        self.assertIn("\nno alert fires\n", text)
        self.assertRegex(text, r"global/day +\[\.+\] +\$0\.0\d+ of \$50\.00")
        self.assertRegex(text, r"tenant:anonymous/day +\[#+\.*\]")
        self.assertRegex(text, r"[0-9a-f]{12} +running +\d+ s ago")
        self.assertNotIn("\033", text)

    def test_what_a_model_has_cost_today_stands_behind_it(self):
        self.assertEqual(self.server.ask("hi").status, 200)

        def cost():
            return re.search(r"a-model +closed .* (\$0\.0[1-9]\d*)$", self.status()[1], re.M)

        shown = procs.wait_for(cost, 25)  # it is reckoned every ten seconds
        self.assertTrue(shown, self.status()[1])
        (model,) = self.server.status()["breakers"]
        self.assertEqual(float(shown.group(1)[1:]), model["spentTodayUsd"])

    def test_json_is_what_the_admin_socket_says(self):
        code, text, _ = self.status("--json")
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(text)["endpoints"], self.server.status()["endpoints"])

    def test_without_the_token_it_says_what_to_set(self):
        code, text, said = self.status(token=None)
        self.assertEqual((code, text), (3, ""))
        self.assertIn("set NEAP_ADMIN_TOKEN", said)

    def test_a_token_that_is_not_taken_is_told_from_none(self):
        code, _, said = self.status(token="wrong")
        self.assertEqual(code, 3)
        self.assertIn("does not take the token", said)
        self.assertNotIn("set NEAP_ADMIN_TOKEN", said)

    def test_an_instance_that_listens_on_every_address_is_asked_on_loopback(self):
        flags = ("--admin", "0.0.0.0:0")
        server = self.serve(self.policies, flags=flags)
        self.addCleanup(server.stop)
        env = {"NEAP_ADMIN_TOKEN": "status-token", "NEAP_ADMIN": f"0.0.0.0:{server.admin_port}"}
        code, text, said = procs.run("status", env=env)
        self.assertEqual((code, said), (0, ""))
        self.assertIn("/api/assistant/reply", text)

    def test_where_nobody_answers_it_names_the_address(self):
        code, text, said = procs.run("status", "--admin", "127.0.0.1:1")
        self.assertEqual((code, text), (3, ""))
        self.assertIn("127.0.0.1:1", said)

    def test_a_server_of_another_kind_is_told_from_a_neap(self):
        code, _, said = procs.run("status", "--admin", f"127.0.0.1:{self.mock.port}")
        self.assertEqual(code, 3)
        self.assertTrue(said)

    def test_watching_draws_anew_and_leaves_the_screen_as_it_was(self):
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [procs.NEAP, "status", "--watch"],
            env=procs.environment(
                {
                    "NEAP_ADMIN_TOKEN": "status-token",
                    "NEAP_ADMIN": f"127.0.0.1:{self.server.admin_port}",
                    "TERM": "xterm",
                }
            ),
            stdout=slave,
            stderr=slave,
            stdin=slave,
        )
        os.close(slave)
        seen, end = b"", time.monotonic() + 15
        while seen.count(b"\033[H") < 2 and time.monotonic() < end:
            if select.select([master], [], [], 0.2)[0]:
                seen += os.read(master, 65536)
        process.send_signal(signal.SIGINT)
        try:
            while piece := os.read(master, 65536):
                seen += piece
        except OSError:  # what a terminal says when nobody writes to it any more
            pass
        self.assertEqual(process.wait(10), 0)
        os.close(master)
        self.assertGreaterEqual(seen.count(b"\033[H"), 2)
        self.assertTrue(seen.startswith(b"\033[?1049h"), seen[:40])
        self.assertTrue(seen.rstrip().endswith(b"\033[?1049l"), seen[-40:])
        self.assertTrue(re.search(rb"\033\[3[123]m", seen))


if __name__ == "__main__":
    case.main()

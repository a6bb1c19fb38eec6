"""neap explain: a request told from its decision record."""

import json
import os
import shutil
import tempfile

import case
import procs

QUICK = {"first_ms": 1, "total_ms": 2}
GOLD = 'if req.endpoint == "/api/assistant/reply" then '
ROUTE = GOLD + 'return { { model = "first" }, { model = "second" } }, "gold goes to the first" end'
ROUTE += ' if req.endpoint == "/api/fails/reply" then\n error("no such tier") end'
BUDGET = 'if req.endpoint == "/api/fails/reply" and candidate.model == "first" then return "next", "too dear" end'
RETRY = GOLD + 'return "next", "one try is enough" end'


class Explain(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.provider("closed", breaker={"failures": 1, "rate": 0, "open_ms": 60000})
        prices = {"input": 1000, "output": 2000}
        policies.model("first", "p", usd_per_million=prices)
        policies.model("second", "p", usd_per_million=prices)
        policies.model("shut", "closed", usd_per_million=prices)
        policies.endpoint("assistant", ["first", "second"])
        policies.endpoint("fails", ["first", "second"])
        policies.endpoint("plain", ["second"])
        policies.endpoint("skips", ["shut", "second"], max_attempts=2)
        policies.endpoint("only", ["shut"], max_attempts=1)
        policies.endpoint("lost", ["second"], max_attempts=1)
        policies.budgets = [
            {"account": "tenant", "window": "day", "limit_usd": 50},
            {"account": "model:second", "window": "week", "limit_usd": 50},
        ]
        policies.hook("route", "(req, plan) " + ROUTE)
        policies.hook("retry", "(req, attempt) " + RETRY)
        policies.hook("budget", "(req, candidate) " + BUDGET)

    def ask(self, name, **kw):
        reply = self.server.ask("hello", f"/api/{name}/reply", **kw)
        self.server.decision(reply)
        return reply.get("X-Request-Id")

    def explain(self, request_id, *flags, decisions=None):
        path = decisions or self.server.path("decisions")
        return procs.run("explain", request_id, "--decisions", path, *flags)

    def told(self, request_id, **kw):
        code, text, said = self.explain(request_id, **kw)
        self.assertEqual((code, said), (0, ""))
        self.assertLessEqual(max(map(len, text.splitlines())), 80, text)
        return text

    def test_a_request_is_told_in_order(self):
        self.mock.control(first={"status": 429, **QUICK})
        text = self.told(self.ask("assistant"))
        self.mock.control()
        self.assertRegex(text, r"outcome +ok 200, answered by second, after \d+ ms, for \$0\.\d+")
        self.assertRegex(text, r"plan +first, then second; route wanted it so")
        order = ["route  ", "because gold goes", "attempt 1  first of p", "429 rate_limited, the provider asked"]
        order += ["cost nothing", "retry  ", "next, because one try is enough", "attempt 2  second of p"]
        order += ["tokens in and", "(as the provider billed it)", "paid  ", "tenant:anonymous/day", "time  "]
        places = [text.find(piece) for piece in order]
        self.assertNotIn(-1, places, text)
        self.assertEqual(places, sorted(places), text)

    def test_an_account_of_one_model_paid_for_its_own_attempts(self):
        self.mock.control(first={"reset_at": 200, **QUICK})
        request_id = self.ask("assistant")
        self.mock.control()
        record = self.server.decision(request_id)
        first, second = (attempt["costUsd"] for attempt in record["attempts"])
        self.assertGreater(first, 0)
        text = " ".join(self.told(request_id).split())
        self.assertIn(f"from tenant:anonymous/day, model:second/week (${second:.6f}".rstrip("0"), text)

    def test_without_a_route_hook_the_order_is_the_endpoints(self):
        self.assertIn("the endpoint's own order", self.told(self.ask("plain")))

    def test_a_hook_that_failed_says_where_and_how_and_one_that_said_next_is_believed(self):
        text = self.told(self.ask("fails"))
        self.assertRegex(text, r"route +failed: error: no such tier \(route\.lua:2\)  \d+ us")
        self.assertRegex(text, r"plan +first, then second; the endpoint's own order, for the route hook\s+failed")
        self.assertRegex(text, r"skipped +first: budget, the budget hook wanted the next")

    def test_what_was_passed_over_stands_where_it_happened(self):
        self.mock.control(shut={"status": 500, **QUICK})
        self.ask("skips")
        text = self.told(self.ask("skips"))
        self.mock.control()
        self.assertRegex(text, r"skipped +shut: breaker, its breaker is open")
        self.assertLess(text.index("skipped"), text.index("attempt 1"), text)

    def test_where_nobody_could_be_asked_no_estimate_is_told(self):
        self.mock.control(shut={"status": 500, **QUICK}, second={"status": 500, **QUICK})
        self.ask("only")
        text = self.told(self.ask("only"))
        self.mock.control()
        self.assertIn("reason breaker", text)
        self.assertNotIn("estimate", text)

    def test_a_body_that_is_none_is_said_to_be_none(self):
        reply = self.server.ask(b"{", "/api/plain/reply", {"Content-Type": "application/json"})
        self.assertEqual(reply.status, 400)
        self.server.decision(reply)
        self.assertIn("invalid_request 400: the body is no valid request", self.told(reply.get("X-Request-Id")))

    def test_a_degraded_reply_says_why(self):
        self.mock.control(second={"status": 503, **QUICK})
        text = self.told(self.ask("lost"))
        self.mock.control()
        self.assertRegex(text, r"outcome +degraded.*reason exhausted: nothing in the plan")
        self.assertIn("503 overloaded, the provider is overloaded", text)

    def test_json_is_the_record(self):
        request_id = self.ask("plain")
        code, text, _ = self.explain(request_id, "--json")
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(text)["requestId"], request_id)

    def test_the_beginning_of_an_id_is_enough_where_only_one_begins_so(self):
        for name in ("ticket-41", "ticket-42", "tick"):
            self.ask("plain", headers={"X-Request-Id": name})
        self.assertIn("ticket-42", self.told("ticket-42"))
        self.assertRegex(self.told("tick"), r"request +tick\n")
        code, text, said = self.explain("ticket-4")
        self.assertEqual((code, text), (1, ""))
        self.assertIn("more than one id begins with ticket-4: ticket-42, ticket-41", said)

    def test_rotated_files_are_read_too(self):
        request_id = self.ask("plain")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "d.jsonl")
            shutil.copy(self.server.path("decisions"), path + ".2")
            for name in (path, path + ".1"):
                with open(name, "w", encoding="utf-8"):
                    pass
            self.assertIn(request_id, self.told(request_id, decisions=path))

    def test_what_is_not_there_is_said(self):
        code, _, said = self.explain("req_nobody")
        self.assertEqual(code, 1)
        self.assertRegex(said, r"no id of the \d+ records in .* begins with req_nobody")
        code, _, said = self.explain("req_1", decisions="/nowhere/d.jsonl")
        self.assertEqual(code, 3)
        self.assertIn("/nowhere/d.jsonl can't be read", said)
        self.assertEqual(procs.run("explain")[0], 2)
        self.assertEqual(self.explain("../status")[0], 2)

    def test_records_of_others_cannot_move_the_terminal(self):
        record = {"requestId": "evil", "tenant": "a\u001b[2Jb\u009b1m\u202ec", "outcome": "ok"}
        record["hooks"] = [{"name": "admit", "returned": "x" * 300, "why": "\r\n\u2028" * 3}]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "d.jsonl")
            with open(path, "w", encoding="utf-8") as f:
                for text in ("not a record\n", '{"requestId":"cut', "\n"):
                    f.write(text)
                f.write(json.dumps(record, separators=(",", ":")) + "\n")
            text = self.told("evil", decisions=path)
        self.assertIn("a\\x1b[2Jb", text)
        self.assertFalse([c for c in text if c != "\n" and not c.isprintable()], text)


if __name__ == "__main__":
    case.main()

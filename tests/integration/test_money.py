"""Money: caps and budgets are walls, what was billed is booked once, and lies about usage change
nothing."""

import hashlib

import case
import stub
from case import at_once

QUICK = {"first_ms": 1, "total_ms": 2}
ONE_CENT = {"usd_per_million": {"input": 0, "output": 0}, "usd_per_request": 0.01}


def key(name):
    return f"neap_{name}"


def key_hash(name):
    return "sha256:" + hashlib.sha256(key(name).encode()).hexdigest()


class Budgets(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        for name in ("wall", "reject", "tenant", "books", "model"):
            policies.model(name, "p", **ONE_CENT)
            policies.endpoint(name, [name])
        policies.model("spare", "p", usd_per_million={"input": 0, "output": 0})
        policies.endpoints["/api/model/reply"]["models"].append("spare")
        policies.tenants = {name: {"keys": [key_hash(name)]} for name in ("acme", "zeta")}
        policies.budgets = [
            {"account": "endpoint:/api/wall/reply", "window": "none", "limit_usd": 0.04},
            {
                "account": "endpoint:/api/reject/reply",
                "window": "day",
                "limit_usd": 0.02,
                "on_exceeded": "reject",
            },
            {
                "account": "tenant:zeta",
                "window": "hour",
                "limit_usd": 0.03,
                "on_exceeded": "reject",
            },
            {"account": "model:model", "window": "none", "limit_usd": 0.01},
            {"account": "global", "window": "month", "limit_usd": 1000},
        ]

    def ask(self, name, tenant="acme"):
        return self.server.ask(
            "hello", f"/api/{name}/reply", {"Authorization": f"Bearer {key(tenant)}"}, timeout=60
        )

    def account(self, name):
        rows = self.server.admin("GET", "/api/budgets").json()["budgets"]
        return next(row for row in rows if row["account"] == name)

    def test_a_budget_is_a_wall_for_200_at_once(self):
        self.mock.control(wall={"first_ms": 300, "total_ms": 300})
        replies = at_once(200, lambda i: self.ask("wall"))
        good = [r for r in replies if not r.json()["degraded"]]
        calls = self.mock.calls("wall")
        case.say(f"money for 4, 200 at once: {len(good)} good, {calls} calls")
        self.assertEqual((len(good), calls), (4, 4))
        for reply in replies:
            if reply not in good:
                self.assertDegraded(reply, "budget")
        account = self.account("endpoint:/api/wall/reply/none")
        self.assertEqual((account["spentUsd"], account["reservedUsd"]), (0.04, 0))
        record = self.server.decision(next(r for r in replies if r not in good))
        self.assertEqual(case.skips(record), [{"model": "wall", "why": "budget"}])
        self.assertEqual(record["reason"], "budget")

    def test_a_budget_that_rejects_gives_429_and_says_until_when(self):
        self.mock.control(reject=QUICK)
        self.assertGood(self.ask("reject"))
        self.assertGood(self.ask("reject"))
        reply = self.ask("reject")
        error = self.assertError(reply, 429, "budget_exceeded")
        self.assertTrue(0 < int(reply.get("Retry-After")) <= 86400)
        self.assertIn("endpoint:/api/reject/reply/day", error["message"])
        self.assertRegex(error["message"], r"resets at \d{4}-\d\d-\d\dT00:00:00")
        self.assertNotIn("0.02", error["message"])

    def test_a_tenant_hears_the_figures_of_its_own_budget(self):
        self.mock.control(tenant=QUICK)
        for _ in range(3):
            self.assertGood(self.ask("tenant", "zeta"))
        error = self.assertError(self.ask("tenant", "zeta"), 429, "budget_exceeded")
        self.assertIn("tenant:zeta/hour", error["message"])
        self.assertIn("limit 0.03 USD, spent 0.03 USD, reserved 0 USD", error["message"])
        self.assertGood(self.ask("tenant", "acme"))

    def test_a_models_budget_leaves_the_request_to_the_next(self):
        self.mock.control(model=QUICK, spare=QUICK)
        self.assertGood(self.ask("model"), model="model")
        reply = self.ask("model")
        self.assertGood(reply, model="spare")
        record = self.server.decision(reply)
        self.assertEqual(case.skips(record), [{"model": "model", "why": "budget"}])

    def test_the_three_books_agree(self):
        self.mock.control(books=[QUICK, {"status": 500, **QUICK}, {"reset_at": 300}, QUICK])
        before = self.account("global/month")["spentUsd"]
        metric = self.server.metrics().get("llm_cost_usd_total")
        replies = at_once(12, lambda i: self.ask("books"))
        records = sum(round(self.server.decision(r)["costUsd"] * 1e9) for r in replies)
        ledger = round((self.account("global/month")["spentUsd"] - before) * 1e9)
        counted = round((self.server.metrics().get("llm_cost_usd_total") - metric) * 1e9)
        case.say(f"ledger {ledger}, records {records}, metric {counted} nano-dollars")
        self.assertGreater(ledger, 0)
        self.assertEqual((ledger, counted), (records, records))
        self.assertEqual(self.account("global/month")["reservedUsd"], 0)

    def test_the_record_names_the_accounts(self):
        self.mock.control(tenant=QUICK)
        record = self.server.decision(self.ask("tenant", "acme"))
        self.assertEqual(record["budget"]["accounts"], ["global/month"])
        self.assertEqual(record["budget"]["reserved"], 0.01)
        self.assertEqual(record["budget"]["settled"], 0.01)
        self.assertEqual(record["costUsd"], 0.01)


class Caps(case.Case):
    """The endpoint's greatest cost over all attempts, seen from the provider."""

    scenario = False

    @classmethod
    def prepare(cls, policies):
        cls.stub = cls.own(stub.Stub(cls.handle))
        policies.url = cls.stub.url
        policies.provider("p")
        # 0.0001 USD for a token of the answer, nothing for the prompt.
        dear = {"usd_per_million": {"input": 0, "output": 100}}
        policies.model("dear", "p", **dear)
        policies.model("dearest", "p", usd_per_million={"input": 0, "output": 10000})
        policies.endpoint("capped", ["dear"], max_cost_usd=0.01)
        policies.endpoint("floor", ["dearest"], max_cost_usd=0.01)
        policies.endpoint("next", ["dearest", "dear"], max_cost_usd=0.01)
        policies.endpoint("twice", ["dear"], max_cost_usd=0.018, max_attempts=2)

    @classmethod
    def handle(cls, call):
        if b"lose me" in call.body and cls.lose:
            cls.lose -= 1
            return None
        return stub.reply(stub.openai("x", 10, call.json()["max_tokens"]))

    lose = 0

    def sent(self):
        return self.stub.calls[-1].json()["max_tokens"]

    def ask(self, name, prompt="hello", tokens=400):
        return self.server.ask({"prompt": prompt, "maxTokens": tokens}, f"/api/{name}/reply")

    def test_max_tokens_are_lowered_until_the_worst_cost_fits(self):
        reply = self.ask("capped")
        got = self.assertGood(reply)
        self.assertEqual(self.sent(), 100)
        self.assertEqual(got["usage"]["costUsd"], 0.01)
        record = self.server.decision(reply)
        self.assertEqual(record["estimate"]["worstUsd"], 0.01)

    def test_what_was_asked_for_is_not_raised(self):
        self.assertGood(self.ask("capped", tokens=7))
        self.assertEqual(self.sent(), 7)

    def test_a_candidate_that_can_not_fit_is_passed_over(self):
        calls = len(self.stub.calls)
        reply = self.ask("floor")
        self.assertDegraded(reply, "budget")
        self.assertEqual(len(self.stub.calls), calls)
        self.assertEqual(self.server.decision(reply)["skipped"][0]["why"], "budget")
        self.assertGood(self.ask("next"), model="dear")

    def test_a_lost_attempt_counts_towards_the_cap(self):
        type(self).lose = 1
        reply = self.ask("twice", "lose me", 100)
        got = self.assertGood(reply)
        record = self.server.decision(reply)
        self.assertEqual(self.classes(record), ["network", "ok"])
        self.assertEqual([a["settled"] for a in record["attempts"]], ["presumed", "exact"])
        costs = [a["costUsd"] for a in record["attempts"]]
        case.say(f"attempts cost {costs} of 0.018 USD")
        self.assertAlmostEqual(sum(costs), got["usage"]["costUsd"], 9)
        self.assertLessEqual(got["usage"]["costUsd"], 0.018)
        self.assertGreater(costs[0], 0)


# Usage that a provider reports: what it is booked as, and at how many tokens (None: the estimate).
LIES = {
    "none": ({}, "estimated", None),
    "zero": ({"prompt_tokens": 0, "completion_tokens": 0}, "exact", 0),
    "negative": ({"prompt_tokens": -5, "completion_tokens": 3}, "estimated", None),
    "huge": ({"prompt_tokens": 10, "completion_tokens": 10**12}, "estimated", None),
    "fraction": ({"prompt_tokens": 10, "completion_tokens": 2.5}, "estimated", None),
    "text": ({"prompt_tokens": "10", "completion_tokens": "3"}, "estimated", None),
    "nothing": ({"prompt_tokens": None, "completion_tokens": None}, "estimated", None),
    "list": ([1, 2], "estimated", None),
    "more_cached_than_sent": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 11},
        },
        "estimated",
        None,
    ),
    "above_the_reservation": ({"prompt_tokens": 5000, "completion_tokens": 9000}, "exact", 14000),
    "good": ({"prompt_tokens": 10, "completion_tokens": 3}, "exact", 13),
}


class Lies(case.Case):
    scenario = False

    @classmethod
    def prepare(cls, policies):
        cls.stub = cls.own(stub.Stub(cls.handle))
        policies.url = cls.stub.url
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        policies.budgets = [{"account": "global", "window": "none", "limit_usd": 100}]

    @staticmethod
    def handle(call):
        name = call.json()["messages"][-1]["content"]
        body = stub.openai("four words of text")
        body["usage"] = LIES[name][0]
        return stub.reply(body)

    def test_what_a_provider_says_of_usage_is_booked_or_replaced_by_the_estimate(self):
        for name, (_, settled, tokens) in LIES.items():
            with self.subTest(name=name):
                reply = self.server.ask(name)
                got = self.assertGood(reply, text="four words of text")
                attempt = self.server.decision(reply)["attempts"][0]
                self.assertEqual(attempt["settled"], settled, attempt)
                if tokens is not None:
                    booked = sum(attempt.get("tokens", {"prompt": 0}).values())
                    self.assertEqual(booked, tokens)
                else:
                    self.assertTrue(0 < got["usage"]["completionTokens"] < 50, got)
                    self.assertTrue(0 < got["usage"]["promptTokens"] < 50, got)

    def test_what_is_billed_above_the_reservation_is_booked_and_counted(self):
        before = self.server.metrics()
        reply = self.server.ask("above_the_reservation")
        cost = self.assertGood(reply)["usage"]["costUsd"]
        self.assertAlmostEqual(cost, 5000e-6 + 18000e-6, 9)
        after = self.server.metrics()
        name = "neap_budget_excess_usd_total"
        self.assertGreater(after.get(name) - before.get(name), 0.01)


if __name__ == "__main__":
    case.main()

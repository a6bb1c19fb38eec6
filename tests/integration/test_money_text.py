"""Money is printed from the integer, to the nano-dollar and never in another notation, wherever it is seen."""

import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing

import case
import procs
from policies import Lua, Policies

# One nano-dollar, what a double would write as 4.78e-07, and sums with and without zeros at their end.
COSTS = {"tiny": "0.000000001", "small": "0.000000478", "even": "0.0125", "long": "34.567890123"}
# As many digits as a number of Lua keeps for sure.
LIMIT = "123456.789012345"


class MoneyText(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        for name, usd in COSTS.items():
            policies.model(name, "p", usd_per_million={"input": 0, "output": 0}, usd_per_request=Lua(usd))
            policies.endpoint(name, [name])
        policies.budgets = [{"account": "global", "window": "none", "limit_usd": Lua(LIMIT)}]
        policies.budgets += [
            {"account": f"model:{name}", "window": "day", "limit_usd": 2000} for name in COSTS
        ]

    @classmethod
    def serve(cls, policies, **kw):
        cls.state = tempfile.mkdtemp(prefix="neap-text-")
        cls.addClassCleanup(shutil.rmtree, cls.state, ignore_errors=True)
        return super().serve(policies, store="sqlite:neap.db", flags=("--state", cls.state), **kw)

    def ask(self, name):
        reply = self.server.ask("hello", f"/api/{name}/reply")
        self.assertGood(reply)
        return reply

    def line(self, reply):
        """A decision record as it stands in the file."""
        name = reply.get("X-Request-Id")
        self.server.decision(reply)
        with open(self.server.path("decisions"), encoding="utf-8") as f:
            return next(line for line in f if name in line)

    def test_replies_records_and_what_operators_ask_for_say_the_same_digits(self):
        for name, usd in COSTS.items():
            with self.subTest(name):
                reply = self.ask(name)
                number = re.escape(usd) + r"(?![0-9e])"
                self.assertRegex(reply.body.decode(), rf'"costUsd": ?{number}')
                line = self.line(reply)
                self.assertEqual(len(re.findall(rf'"costUsd": ?{number}', line)), 3, line)
                self.assertRegex(line, rf'"settled": ?{number}')
                text = self.server.admin("GET", "/api/budgets").body.decode()
                account = next(a for a in text.split("{") if f'"model:{name}/day"' in a)
                self.assertRegex(account, rf'"spentUsd": ?{number}')
                self.assertRegex(
                    self.server.metrics().text, rf'(?m)^llm_cost_usd_total{{.*model="{name}"}} {number}$'
                )
                said = self.explain(reply)
                self.assertIn(usd, said)

    def explain(self, reply):
        code, out, err = procs.run(
            *("explain", reply.get("X-Request-Id"), "--admin", f"127.0.0.1:{self.server.admin_port}")
        )
        self.assertEqual(code, 0, err)
        return out

    def test_a_large_limit_keeps_each_of_its_digits(self):
        self.assertIn(f'"limitUsd":{LIMIT}', self.server.admin("GET", "/api/budgets").body.decode().replace(" ", ""))
        self.assertIn(f'neap_budget_limit_usd{{account="global/none"}} {LIMIT}\n', self.server.metrics().text)

    def test_the_sum_of_many_is_the_sum_of_the_ledger(self):
        for i in range(40):
            self.ask(("tiny", "small", "even")[i % 3])
        text = self.server.admin("GET", "/api/budgets").body.decode()
        account = next(a for a in text.split("{") if '"global/none"' in a)
        said = re.search(r'"spentUsd": ?([0-9.]+)', account).group(1)

        def booked():
            with closing(sqlite3.connect(os.path.join(self.state, "neap.db"))) as db:
                return db.execute("SELECT sum(cost_nusd) FROM settlements").fetchone()[0]

        whole, _, part = said.partition(".")
        nusd = int(whole) * 10**9 + int(part.ljust(9, "0"))
        self.assertTrue(procs.wait_for(lambda: booked() == nusd, 5), (booked(), nusd))


if __name__ == "__main__":
    case.main()

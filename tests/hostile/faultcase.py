"""What runs a table of providers' faults: each streamed and not, with another candidate and without."""

import collections
import concurrent.futures
import time

import case
import faults
import procs
import stub
import wire

DEADLINE = 5000
TIMES = {"first_token_timeout_ms": 900, "idle_timeout_ms": 700, "timeout_ms": 2000, "connect_timeout_ms": 500}
AGAIN = {"network", "timeout", "rate_limited", "overloaded", "server_error"}
HELP = "another helps out"


class Run:
    """One request: a fault, streamed or not, alone or with another candidate behind."""

    def __init__(self, place, name, fault, streamed, other):
        self.place = place
        self.name = name
        self.fault = fault
        self.streamed = streamed
        self.other = other

    def __str__(self):
        return f"{self.name}{', streamed' if self.streamed else ''}{', with another' if self.other else ''}"

    @property
    def endpoint(self):
        return f"/api/{'both' if self.other else 'one'}/reply"

    def body(self):
        """The request; the route hook reads its plan."""
        plan = [f"m{self.place}"] + (["good"] if self.other else [])
        return {"prompt": "hello", "maxTokens": 100, "metadata": {"plan": plan}}

    def attempts(self):
        """The classes that must stand in the record."""
        kind = self.fault.kind
        if not self.other or kind in ("ok", "cut", "rejected", "filtered"):
            return [kind]
        return [kind] * (2 if kind in AGAIN and self.fault.again else 1) + ["ok"]


class Answer:
    """What came for a request, in the same words for whole and streamed ones."""

    def __init__(self, conn, run):
        body = run.body()
        self.broken, self.done, self.error, self.text = False, {}, None, ""
        if not run.streamed:
            reply = conn.ask("POST", run.endpoint, body)
            self.head = reply
            self.take(reply)
            return
        got = wire.Stream(conn, body, run.endpoint)
        self.head = got.head
        if got.status != 200:
            self.head.body = conn.take(int(got.get("Content-Length")))
            self.take(self.head)
            return
        got.follow()
        self.done, self.text = got.done, got.text
        self.broken, self.error = got.error is not None, got.error
        if [name for name in got.order if name].count("done") != 1:
            raise AssertionError(f"not one end: {got.order}")

    def take(self, reply):
        got = reply.json()
        self.error = got.get("error")
        self.done, self.text = got, got.get("text", "")


def help_out(call):
    """What the other candidate says."""
    if not call.json().get("stream"):
        return stub.reply(stub.openai(HELP))
    frames = [faults.delta(content=HELP), faults.delta("stop"), faults.USAGE, faults.DONE]
    return faults.STREAM + b"".join(faults.chunk(frame) for frame in frames) + faults.END


class FaultCase(case.Case):
    """One server for a table of faults; begin() makes what is there besides the faults' own providers."""

    scenario = False
    table = {}
    hands = 12  # requests at once

    @classmethod
    def begin(cls, policies):
        cls.good = cls.own(stub.Stub(help_out))
        policies.provider("good", base_url=cls.good.url + "/v1")
        policies.model("good", "good")
        policies.endpoint("one", ["good"], max_attempts=1, deadline_ms=DEADLINE)
        policies.endpoint("both", ["good"], max_attempts=3, deadline_ms=DEADLINE)
        policies.hook("route", "(req) return req.metadata.plan")
        policies.budgets = [{"account": "global", "window": "none", "limit_usd": 1000}]

    def books(self):
        rows = self.server.admin("GET", "/api/budgets").json()["budgets"]
        account = next(row for row in rows if row["account"] == "global/none")
        metric = self.server.metrics().get("llm_cost_usd_total")
        return round(account["spentUsd"] * 1e9), round(metric * 1e9), account["reservedUsd"]

    def counted(self):
        """Attempts by class, as the metrics have them."""
        counts = collections.Counter()
        for name, labels, value in self.server.metrics().samples:
            if name == "llm_attempts_total" and value:
                counts[labels["model"], labels["class"]] += int(value)
        return counts

    def runs(self):
        for place, (name, fault) in enumerate(self.table.items()):
            for streamed in (False, True):
                if fault.stream in (None, streamed):
                    for other in (False, True):
                        yield Run(place, name, fault, streamed, other)

    def one(self, run):
        """The answer, and the time in which it came; what follows on its connection must be the answer to
        what is asked next."""
        began = time.monotonic()
        try:
            with self.server.conn(timeout=30) as conn:
                answer = Answer(conn, run)
                answer.ms = (time.monotonic() - began) * 1000
                answer.after = conn.ask("GET", "/nowhere").status
                return answer
        except (OSError, wire.Cut, ValueError, AssertionError) as fault:
            return fault

    def check_end(self, run, answer):
        """What the client got is what the class means."""
        kind = run.fault.kind
        if kind == "cut":
            self.assertTrue(answer.broken, answer.done)
            self.assertEqual(answer.done["finishReason"], "error")
            return
        self.assertFalse(answer.broken, answer.error)
        if kind == "rejected":
            self.assertEqual((answer.head.status, answer.error["type"]), (400, "invalid_request"))
            return
        self.assertEqual(answer.head.status, 200, answer.error)
        if kind == "ok":
            self.assertEqual((answer.text, answer.done["degraded"]), (faults.TEXT, False))
        elif run.attempts()[-1] == "ok":
            self.assertEqual((answer.text, answer.done["provider"]), (HELP, "good"))
        else:
            reason = "filtered" if kind == "filtered" else "exhausted"
            self.assertEqual((answer.done["degraded"], answer.done["reason"]), (True, reason))

    def check(self, run, answer):
        """The record of a run, when all of it is as it must be."""
        self.assertIsInstance(answer, Answer)
        record = self.server.decision(answer.head)
        self.assertEqual(self.classes(record), run.attempts(), record["attempts"])
        for attempt in record["attempts"]:
            if attempt["provider"] != "good":
                self.assertIn(attempt["settled"], run.fault.paid.split("|"), record["attempts"])
                self.assertEqual(attempt["costUsd"] > 0, attempt["settled"] != "void", record["attempts"])
        self.check_end(run, answer)
        self.assertEqual(answer.after, 404, "another reply came")
        return record

    def run_table(self):
        """Asks all of it and checks what came."""
        runs = sorted(self.runs(), key=lambda run: run.fault.heavy)
        light = [run for run in runs if not run.fault.heavy]
        before = self.books()
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(self.hands) as pool:
            answers = list(pool.map(self.one, light))
        answers += [self.one(run) for run in runs[len(light):]]
        took = time.monotonic() - began
        past, helped, paid = -DEADLINE, 0, collections.Counter()
        for run, answer in zip(runs, answers):
            with self.subTest(run=str(run)):
                record = self.check(run, answer)
                past = max(past, record["latencyMs"] - DEADLINE)
                helped += record["attempts"][-1]["provider"] == "good"
                paid.update(attempt["settled"] for attempt in record["attempts"])
        spread = ", ".join(f"{n} {kind}" for kind, n in paid.most_common())
        case.say(f"{len(self.table)} faults, {len(runs)} requests in {took:.0f} s: one reply each, the slowest "
                 f"{DEADLINE + past:.0f} ms of {DEADLINE}; {helped} answered by another; attempts: {spread}")
        self.assertLessEqual(past, 50)
        self.check_books(before)

    def check_books(self, before):
        records = self.server.read_records().values()
        told = collections.Counter(
            (attempt["model"], attempt["class"]) for record in records for attempt in record["attempts"])
        self.assertEqual(self.counted(), told)
        spent, counted, reserved = self.books()
        cost = sum(round(record["costUsd"] * 1e9) for record in records)
        case.say(f"books: ledger {spent - before[0]}, records {cost}, metric {counted - before[1]} nano-dollars")
        self.assertEqual((spent - before[0], counted - before[1], reserved), (cost, cost, 0))
        self.assertTrue(procs.wait_for(lambda: self.server.metrics().get("llm_inflight") == 0))

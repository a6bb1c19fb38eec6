"""The hooks: what each may want and what comes of it, and that its default decides when it has no
opinion, errs, overruns, uses up its memory or returns the wrong kind."""

import glob
import time

import case
import policies as sets
import stub

HOOKS = ("admit", "route", "truncate", "budget", "retry", "respond", "degrade")

FAULTS = """
local M = {}
function M.fail(kind)
  if kind == "nil" then return nil end
  if kind == "error" then error("deliberate") end
  if kind == "type" then return 42 end
  if kind == "time" then while true do end end
  local half = ("x"):rep(2200000)
  return half .. half  -- over the cap of one block
end
return M
"""

# Each hook does what the request's metadata says; otherwise it has no opinion.
ADMIT = """
local faults = require "lib.faults"
local wills = {
  refuse = function() return { status = 403, type = "forbidden", message = "not today" }, "a test" end,
  own_type = function() return { status = 422, type = "off_topic", message = "about cats", retry_after_s = 9 } end,
  rewrite = function(req)
    req.system, req.max_tokens, req.temperature = "new system", 11, 0.5
    req.messages = { { role = "user", content = "rewritten" } }
    req.context, req.tags = {}, { team = "red" }
  end,
  read_only = function(req) req.id = "mine" end,
}
return function(req)
  local m = req.metadata or {}
  if m.hook ~= "admit" then return end
  if wills[m.will] then return wills[m.will](req) end
  return faults.fail(m.will)
end
"""
ROUTE = """
local faults = require "lib.faults"
return function(req)
  local m = req.metadata or {}
  if m.hook == "route" then return faults.fail(m.will) end
  return m.plan, m.why
end
"""
TRUNCATE = """
local faults = require "lib.faults"
return function(req, room)
  local m = req.metadata or {}
  if m.hook ~= "truncate" then return end
  if m.will == "first" then return { req.context[1] }, "room for " .. math.type(room) end
  return faults.fail(m.will)
end
"""
OTHER = """
local faults = require "lib.faults"
return function(req, it)
  local m = req.metadata or {}
  if m.hook ~= "%s" then return end
  if type(m.give) == "table" or m.give then return m.give, "as told" end
  if m.upper then
    it.text = it.text:upper()
    return it
  end
  return faults.fail(m.will)
end
"""


class Hooks(case.Case):
    scenario = False

    @classmethod
    def prepare(cls, policies):
        cls.stub = cls.own(stub.Stub(cls.handle))
        policies.url = cls.stub.url
        policies.provider("p")
        policies.model("good", "p")
        policies.model("bad", "p", tier="premium")
        policies.model("gone", "p")
        policies.model("slow", "p")
        policies.model("small", "p", context=300)
        policies.endpoint("assistant", ["good", "bad"], max_tokens=64)
        policies.endpoint("strict", ["good"], max_tokens=64, on_error={h: "refuse" for h in HOOKS})
        policies.files["lib/faults.lua"] = FAULTS
        policies.files["templates/policy.txt"] = "{{reason}} at {{endpoint}} for {{tenant}}: {{requestId}}\n"
        policies.hook("admit", ADMIT)
        policies.hook("route", ROUTE)
        policies.hook("truncate", TRUNCATE)
        for name in ("budget", "retry", "respond", "degrade"):
            policies.hook(name, OTHER % name)

    @staticmethod
    def handle(call):
        model = call.json()["model"]
        if model == "bad":
            return stub.reply({"error": {"message": "broken", "type": "server_error"}}, 500)
        if model == "gone":
            return stub.reply({"error": {"message": "no such model", "type": "x"}}, 404)
        if model == "slow":
            time.sleep(0.6)
        return stub.reply(stub.openai("the answer"))

    def ask(self, path="assistant", body=(), **metadata):
        return self.server.ask(
            {"prompt": "hello", "metadata": metadata, **dict(body)}, f"/api/{path}/reply"
        )

    def note(self, record, hook):
        return next(n for n in record["hooks"] if n["name"] == hook)

    def sent(self):
        return self.stub.calls[-1].json()


# What a request needs so that a hook is called, and what its default makes of it.
CONTEXT = [{"id": f"k{i}", "text": "one two three four five " * 12, "priority": i} for i in range(6)]
NEEDS = {
    "admit": ({}, {}),
    "route": ({}, {}),
    "truncate": ({"context": CONTEXT}, {"plan": ["small"]}),
    "budget": ({}, {}),
    "retry": ({}, {"plan": ["gone", "good"]}),
    "respond": ({}, {}),
    "degrade": ({}, {"plan": ["gone"]}),
}


class Failures(Hooks):
    def ask_for(self, hook, kind, path="assistant"):
        body, metadata = NEEDS[hook]
        return self.ask(path, body, hook=hook, will=kind, **metadata)

    def check_default(self, hook, reply):
        if hook == "degrade":
            self.assertDegraded(reply, "exhausted")
            return
        got = self.assertGood(reply, text="the answer")
        self.assertEqual(got["model"], "small" if hook == "truncate" else "good")
        if hook == "truncate":
            self.assertIn("k0", got["dropped"])
            self.assertNotIn("k5", got["dropped"])

    def test_a_hook_without_an_opinion_leaves_it_to_the_default(self):
        for hook in HOOKS:
            with self.subTest(hook=hook):
                before = self.server.metrics().get("neap_hook_errors_total", hook=hook)
                reply = self.ask_for(hook, "nil")
                self.check_default(hook, reply)
                self.assertEqual(
                    self.server.metrics().get("neap_hook_errors_total", hook=hook), before
                )
                self.assertTrue(self.note(self.server.decision(reply), hook))

    def test_a_hook_that_fails_is_replaced_by_its_default_counted_and_logged(self):
        for kind in ("error", "type", "time", "memory"):
            for hook in HOOKS:
                with self.subTest(hook=hook, kind=kind):
                    self.check_failure(hook, kind)

    def check_failure(self, hook, kind):
        labels = {"hook": hook, "kind": kind}
        before = self.server.metrics().get("neap_hook_errors_total", **labels)
        # With sanitizers on a busy machine the limit of time may strike before that of memory.
        for _ in range(8 if kind == "memory" else 1):
            reply = self.ask_for(hook, kind)
            self.check_default(hook, reply)
            after = self.server.metrics().get("neap_hook_errors_total", **labels)
            if after > before:
                break
        self.assertEqual(after, before + 1, self.server.tail())
        record = self.server.decision(reply)
        self.assertIn(kind, self.note(record, hook)["returned"])
        if kind == "time":  # 5 ms of CPU are neap's own time, before a call as after it
            self.assertGreater(record["overheadUs"], 4000)
        request = reply.get("X-Request-Id")
        line = self.assertLogged(f"warn hook failed request={request} ")
        self.assertEqual(self.server.log().count(f"hook failed request={request} "), 1)
        self.assertIn(f"hook={hook}", line)
        self.assertRegex(line, r"(faults|%s)\.lua:\d+" % hook)

    def test_with_on_error_refuse_a_failure_is_503(self):
        for hook in HOOKS:
            if hook != "degrade":
                with self.subTest(hook=hook):
                    reply = self.ask_for(hook, "error", "strict")
                    error = self.assertError(reply, 503, "policy_failed")
                    self.assertIn(hook, error["message"])
                    self.assertNotIn("deliberate", error["message"])

    def test_a_hook_that_loops_is_stopped_within_its_time(self):
        """Its time is its thread's: on a machine that does other things it ends later, with no more work."""
        wall, cpu, n = 0.0, self.cpu_ms(), 10
        for _ in range(n):
            reply = self.ask_for("admit", "time")
            self.check_default("admit", reply)
            note = self.note(self.server.decision(reply), "admit")
            wall = max(wall, note["us"] / 1000)
        cpu = (self.cpu_ms() - cpu) / n
        case.say(f"a hook that loops was stopped after {wall:.1f} ms at most; all took {cpu:.1f} ms of CPU a request")
        self.assertLess(cpu, 40)
        self.assertLess(wall, 2000)

    def cpu_ms(self):
        """What all threads of the server have run for."""
        ns = 0
        for path in glob.glob(f"/proc/{self.server.process.pid}/task/*/schedstat"):
            with open(path, encoding="ascii") as file:
                ns += int(file.read().split()[0])
        return ns / 1e6


class Wills(Hooks):
    def test_admit_may_refuse(self):
        reply = self.ask(hook="admit", will="refuse")
        error = self.assertError(reply, 403, "forbidden")
        self.assertEqual(error["message"], "not today")
        record = self.server.decision(reply)
        self.assertEqual(record["outcome"], "forbidden")
        self.assertEqual(self.note(record, "admit")["why"], "a test")
        self.assertEqual(record["attempts"], [])

    def test_admit_may_refuse_with_a_type_of_its_own(self):
        reply = self.ask(hook="admit", will="own_type")
        error = self.assertError(reply, 422, "off_topic")
        self.assertEqual(error["message"], "about cats")
        self.assertEqual(reply.get("Retry-After"), "9")

    def test_admit_may_change_the_request(self):
        body = {"system": "old", "context": CONTEXT[:1], "maxTokens": 50, "temperature": 1}
        self.assertGood(self.ask(body=body, hook="admit", will="rewrite"))
        sent = self.sent()
        self.assertEqual(
            sent["messages"],
            [{"role": "system", "content": "new system"}, {"role": "user", "content": "rewritten"}],
        )
        self.assertEqual((sent["max_tokens"], sent["temperature"]), (11, 0.5))

    def test_what_is_read_only_says_so(self):
        before = self.server.metrics().get("neap_hook_errors_total", hook="admit", kind="type")
        reply = self.ask(hook="admit", will="read_only")
        self.assertGood(reply)
        self.assertNotEqual(reply.get("X-Request-Id"), "mine")
        after = self.server.metrics().get("neap_hook_errors_total", hook="admit", kind="type")
        self.assertEqual(after, before + 1)
        self.assertLogged(r"admit\.lua:\d+:.*read-only")

    def test_route_gives_the_plan_and_its_why(self):
        reply = self.ask(plan=["gone", "good"], why="because")
        self.assertGood(reply, model="good")
        record = self.server.decision(reply)
        self.assertEqual(record["plan"], ["gone", "good"])
        self.assertEqual(self.note(record, "route")["why"], "because")

    def test_route_may_lower_tokens_and_time_of_a_candidate(self):
        self.assertGood(self.ask(plan=[{"model": "good", "max_tokens": 5}]))
        self.assertEqual(self.sent()["max_tokens"], 5)
        reply = self.ask(plan=[{"model": "slow", "timeout_ms": 100}, "good"])
        self.assertGood(reply, model="good")
        self.assertEqual(self.classes(self.server.decision(reply))[0], "timeout")

    def test_route_to_a_model_that_is_not_there_is_a_failure_with_a_guess(self):
        reply = self.ask(plan=["goood"])
        self.assertGood(reply, model="good")
        self.assertLogged(r'there is no model \\?"goood\\?"; did you mean \\?"good')

    def test_truncate_chooses_what_is_kept(self):
        body, metadata = NEEDS["truncate"]
        got = self.assertGood(self.ask(body=body, hook="truncate", will="first", **metadata))
        self.assertEqual(got["dropped"], ["k1", "k2", "k3", "k4", "k5"])

    def test_budget_may_lower_tokens(self):
        self.assertGood(self.ask(hook="budget", give={"max_tokens": 9}))
        self.assertEqual(self.sent()["max_tokens"], 9)

    def test_budget_may_not_raise_tokens(self):
        self.assertGood(self.ask(hook="budget", give={"max_tokens": 4000}))
        self.assertEqual(self.sent()["max_tokens"], 64)

    def test_budget_may_pass_a_candidate_over(self):
        reply = self.ask(hook="budget", give="next")
        self.assertDegraded(reply, "budget")
        record = self.server.decision(reply)
        self.assertEqual([s["why"] for s in record["skipped"]], ["budget", "budget"])
        self.assertEqual(self.note(record, "budget")["why"], "as told")

    def test_budget_may_degrade_or_refuse(self):
        self.assertDegraded(self.ask(hook="budget", give="degrade"), "budget")
        refusal = {"status": 429, "type": "rate_limited", "message": "slow down"}
        error = self.assertError(self.ask(hook="budget", give=refusal), 429, "rate_limited")
        self.assertEqual(error["message"], "slow down")

    def test_retry_may_ask_for_a_repeat_but_not_for_a_third_try(self):
        reply = self.ask(plan=["bad", "good"], hook="retry", give={"retry_in_ms": 10})
        self.assertGood(reply, model="good")
        record = self.server.decision(reply)
        self.assertEqual([a["model"] for a in record["attempts"]], ["bad", "bad", "good"])
        self.assertEqual(record["attempts"][0]["retryInMs"], 10)
        self.assertNotIn("retryInMs", record["attempts"][1])

    def test_retry_may_go_to_the_next_at_once(self):
        reply = self.ask(plan=["bad", "good"], hook="retry", give="next")
        self.assertGood(reply, model="good")
        self.assertEqual(self.classes(self.server.decision(reply)), ["server_error", "ok"])

    def test_retry_may_degrade(self):
        reply = self.ask(plan=["bad", "good"], hook="retry", give="degrade")
        got = self.assertDegraded(reply, "policy")
        self.assertEqual(
            got["text"], f"policy at /api/assistant/reply for anonymous: {got['requestId']}"
        )

    def test_retry_may_fail(self):
        reply = self.ask(plan=["bad", "good"], hook="retry", give="fail")
        self.assertError(reply, 502, "upstream_failed")
        plan = [{"model": "slow", "timeout_ms": 100}]
        reply = self.ask(plan=plan, hook="retry", give="fail")
        self.assertError(reply, 504, "deadline_exceeded")

    def test_respond_may_change_the_text(self):
        self.assertGood(self.ask(hook="respond", give={"text": "changed"}), text="changed")
        self.assertGood(self.ask(hook="respond", upper=True), text="THE ANSWER")

    def test_respond_may_degrade_and_the_cost_stays(self):
        got = self.assertDegraded(self.ask(hook="respond", give="degrade"), "policy")
        self.assertGreater(got["usage"]["costUsd"], 0)

    def test_degrade_gives_text_status_and_retry_after(self):
        give = {"text": "sorry", "status": 503, "retry_after_s": 7}
        reply = self.ask(plan=["gone"], hook="degrade", give=give)
        self.assertEqual(reply.status, 503)
        self.assertEqual(reply.get("Retry-After"), "7")
        got = reply.json()
        self.assertEqual((got["text"], got["degraded"], got["reason"]), ("sorry", True, "exhausted"))


class Absent(case.Case):
    """Without any hook the endpoint's models answer in their order."""

    def test_a_set_without_hooks_serves(self):
        files = sets.Policies(self.mock.url)
        files.provider("p")
        files.model("a", "p")
        files.model("b", "p")
        files.endpoint("assistant", ["a", "b"], max_attempts=2)
        self.mock.control(a={"status": 404, "first_ms": 1, "total_ms": 1})
        server = self.serve(files)
        try:
            reply = server.ask("hello")
            self.assertGood(reply, model="b")
            record = server.decision(reply)
            self.assertNotIn("hooks", record)
            self.assertFalse(server.metrics().get("neap_hook_duration_seconds_count"))
        finally:
            server.stop()


if __name__ == "__main__":
    case.main()

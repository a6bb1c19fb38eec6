"""The same scenarios on both grounds: `neap serve` before `neap mock`, and `neap test`. Each scenario
has providers, models, an endpoint and an account of its own, so that breakers, keys and money are as
fresh as at the start of a test; within it, requests follow one another and all of that carries on. Some are
streamed, some come from one tenant and some from another, some bring more context than fits, some wait until
breakers that opened let a call through again, and some are of clients that leave while a slow call is under way."""

import hashlib
import os
import random
import re
import threading
import time

import case
import policies as sets
import procs

BATCH = 30  # two providers each: a process has room for 64
OPEN_MS = 4000  # of breakers that open for less than a scenario lasts
WAIT_MS = 4500
# A client leaves long after what is quick, and long before a slow answer is there.
LEAVES_MS, SLOW_MS = 1500, 4000

# How a class comes about: what play is told, and what the mock answers in either dialect.
CLASSES = {
    "rate_limited": ({"status": 429}, {"status": 429}),
    "overloaded": ({"status": 503}, {"status": 529}),
    "server_error": ({"status": 500}, {"status": 500}),
    "quota": (
        {"status": 429, "error": {"type": "insufficient_quota", "code": "insufficient_quota"}},
        {"status": 402, "error": {"type": "billing_error"}},
    ),
    "credential": ({"status": 401}, {"status": 401}),
    "model_gone": ({"status": 404}, {"status": 404}),
    "too_long": (
        {"status": 400, "error": {"code": "context_length_exceeded", "message": "prompt is too long"}},
        {"status": 400, "error": {"type": "invalid_request_error", "message": "prompt is too long"}},
    ),
    "filtered": (
        {"status": 400, "error": {"code": "content_filter", "message": "blocked"}},
        {"status": 400, "error": {"type": "invalid_request_error",
                                  "message": "blocked by content filtering policy"}},
    ),
    "rejected": ({"status": 400}, {"status": 400}),
    "network": ({"reset_at": 0}, {"reset_at": 0}),
    "bad_reply": ({"malformed": True}, {"malformed": True}),
    "timeout": ({"first_ms": 20000, "total_ms": 20000},) * 2,
}
COMMON = ["server_error", "overloaded", "network", "bad_reply", "model_gone", "credential", "quota",
          "too_long", "filtered", "rejected", "rate_limited"]

HOOKS = {
    "admit": """(req)
  local m = req.metadata or {}
  if m.refuse then return { status = 403, type = "forbidden", message = "not today" }, "asked to" end
  if m.short then req.max_tokens = 20 end""",
    "route": """(req)
  local order = (req.metadata or {}).order
  if not order then return end
  local list = {}
  for name in order:gmatch("%S+") do list[#list + 1] = name end
  return list, "as asked: " .. order""",
    "truncate": """(req, room)
  return nil, "room " .. tostring(room > 0)""",
    "budget": """(req, candidate)
  local m = req.metadata or {}
  if m.dear == candidate.model then return "next", "too dear" end
  if m.less == candidate.model then return { max_tokens = 70 } end
  if m.poor == candidate.model then return "degrade" end""",
    "retry": """(req, attempt)
  local m = req.metadata or {}
  local word = m[attempt.class] or m.any
  if word == "wait" then return { retry_in_ms = 1 }, "again, class " .. attempt.class end
  if word then return word, attempt.class .. " by " .. attempt.model .. " number " .. attempt.number end
  return { retry_in_ms = 2 }""",
    "respond": """(req, reply)
  if reply.text:find("bad", 1, true) then return "degrade", "bad words" end
  if reply.text:find("secret", 1, true) then
    reply.text = reply.text:gsub("secret", "******")
    return reply
  end""",
    "degrade": """(req, reason)
  if reason == "budget" then return { text = "no money", status = 200 }, "poor" end""",
}

# What a test makes of a run, as decided() below makes it of a decision record.
DECIDED = """
local function decided(run)
  local made = {
    outcome = run.cancelled and "cancelled" or run.error and run.error.type or run.degraded and "degraded" or "ok",
    reason = run.reason, model = run.model, cost = run.cost_usd, plan = run.plan, hedge = run.hedge,
    skipped = run.skipped, text = run.text, dropped = run.dropped, attempts = {}, hooks = {},
  }
  for i, a in ipairs(run.attempts) do
    made.attempts[i] = { model = a.model, class = a.class, status = a.status, cost = a.cost_usd,
      hedge = a.hedge, lost = a.lost }
  end
  for i, c in ipairs(run.calls) do
    made.hooks[i] = { hook = c.hook, returned = c.returned, why = c.why }
  end
  return made
end
"""


def decided(record, body):
    """What was decided, by a decision record and what the client has read."""
    good = record["outcome"] == "ok"
    return {
        "outcome": record["outcome"],
        "reason": record.get("reason"),
        "model": body.get("model") if good else None,
        "cost": record["costUsd"],
        "hedge": record.get("hedge"),
        "plan": record.get("plan", []),
        "skipped": [{"model": s["model"], "why": s["why"]} for s in record.get("skipped", [])],
        "text": body.get("text"),
        "dropped": record.get("dropped", []),
        "attempts": [
            {"model": a["model"], "class": a["class"], "status": a.get("status"), "cost": a["costUsd"],
             "hedge": a.get("hedge"), "lost": a.get("lost")}
            for a in record.get("attempts", [])
        ],
        "hooks": [
            {"hook": h["name"], "returned": h.get("returned"), "why": h.get("why")}
            for h in record.get("hooks", [])
        ],
    }


def read(stream):
    """What the client has of a stream, as of a whole reply; of a refusal nothing."""
    if stream.get("Content-Type") != "text/event-stream":
        return {}
    stream.follow()
    return {"text": stream.text, **stream.done}


class Scenario:
    """Some requests in a row, and what each model answers to each."""

    warm = 0  # quick requests before each, that count for the share of hedges and for nothing else

    def __init__(self, number):
        self.number = number
        self.rng = random.Random(number)
        self.models = [f"{letter}{number}" for letter in "xyz"]
        self.path = f"/api/s{number}/reply"
        self.tenants = [f"t{number}{letter}" for letter in "vw"]
        self.heals = self.rng.random() < 0.12
        self.drains = self.rng.random() < 0.4
        self.requests = [self.request(i) for i in range(5 if self.heals else self.rng.randint(1, 4))]

    def metadata(self):
        rng, m = self.rng, {}
        if rng.random() < 0.05:
            m["refuse"] = "yes"
        if rng.random() < 0.3:
            m["order"] = " ".join(rng.sample(self.models, rng.randint(1, 3)))
        if rng.random() < 0.2:
            m["short"] = "yes"
        for word in ("dear", "less", "poor"):
            if rng.random() < 0.12:
                m[word] = rng.choice(self.models)
        for name in rng.sample(COMMON, 3) + ["any"]:
            if rng.random() < 0.4:
                m[name] = rng.choice(["wait", "wait", "next", "next", "degrade", "fail"])
        return m

    def answer(self):
        rng = self.rng
        if rng.random() < 0.45:
            text = rng.choice(["Sure.", "A bad word.", "The secret is 42.", "One two three."])
            usage = {"prompt": rng.randint(1, 500), "completion": rng.randint(1, 60), "cached": 0}
            return "ok", {"text": text, "usage": usage}
        if rng.random() < 0.01:
            return "timeout", {}
        return rng.choice(COMMON), {}

    def request(self, i):
        answers = {m: [self.answer() for _ in range(self.rng.randint(1, 4))] for m in self.models}
        rng, context = self.rng, None
        if rng.random() < 0.3:
            context = [{"id": f"c{k}", "text": "some words of it " * rng.randint(1, 40),
                        "priority": rng.randint(1, 5)} for k in range(rng.randint(1, 6))]
        leaves = not self.heals and rng.random() < 0.15
        for each in answers.values():
            if leaves and rng.random() < 0.7:
                each[0] = (each[0][0], {**each[0][1], "after_ms": SLOW_MS})
        return {"prompt": f"scenario {self.number}, request {i}", "metadata": self.metadata(),
                "answers": answers, "leaves_ms": LEAVES_MS if leaves else 0, "stream": rng.random() < 0.3, "context": context,
                "tenant": rng.choice(self.tenants),
                "wait_ms": WAIT_MS if self.heals and i == 3 else 0}

    @staticmethod
    def key(tenant):
        return f"key-of-{tenant}-0123456789abcdef0123456789abcdef"

    def declare(self, policies):
        n, rng = self.number, self.rng
        breaker = {"failures": 2 if self.heals else rng.randint(2, 6), "rate": 0,
                   "open_ms": OPEN_MS if self.heals else 600000}
        for name, adapter in ((f"a{n}", "openai"), (f"b{n}", "anthropic")):
            keys = [sets.env(f"KEY_{name.upper()}_{i}") for i in range(rng.randint(1, 2))]
            policies.provider(name, adapter, breaker=breaker, api_keys=keys,
                              first_token_timeout_ms=5000)
        for model in self.models:
            policies.model(model, f"b{n}" if model[0] == "z" else f"a{n}",
                           context=rng.choice([128000, 128000, 450, 700]))
        for tenant in self.tenants:
            digest = hashlib.sha256(self.key(tenant).encode()).hexdigest()
            policies.tenants[tenant] = {"keys": [f"sha256:{digest}"]}
        if rng.random() < 0.2:
            policies.budgets.append({"account": f"tenant:{self.tenants[0]}", "window": "day",
                                     "limit_usd": 0.0008})
        policies.endpoint(f"s{n}", self.models, deadline_ms=120000,
                          max_attempts=rng.randint(1, 6), max_tokens=200)
        if self.drains:
            policies.endpoints[self.path]["on_disconnect"] = "drain"
        if rng.random() < 0.4:
            policies.budgets.append({"account": f"endpoint:{self.path}", "window": "day",
                                     "limit_usd": rng.choice([0.0005, 0.001, 0.002])})

    def mocked(self):
        """Prompt and model to the mock's answers."""
        made = {}
        for request in self.requests:
            for model, answers in request["answers"].items():
                dialect = 1 if model[0] == "z" else 0
                made[f"{request['prompt']}|{model}"] = [
                    {"first_ms": fields.get("after_ms", 1), "total_ms": fields.get("after_ms", 1),
                     **(CLASSES[c][dialect] if c != "ok"
                        else {key: fields[key] for key in ("text", "usage")})}
                    for c, fields in answers
                ]
        return made

    def test(self, wanted):
        """A test of the same requests that wants these decisions."""
        lines = [f'test("scenario_{self.number}", function()\n']
        for request, decisions in zip(self.requests, wanted):
            providers = {
                model: [{"error": c, **fields} if c != "ok" else fields for c, fields in answers]
                for model, answers in request["answers"].items()
            }
            given = {"request": {"endpoint": self.path, "prompt": request["prompt"],
                                 "metadata": sets.Lua(lua(request["metadata"])),
                                 "tenant": request["tenant"], "context": request["context"],
                                 "stream": request["stream"] or None},
                     "after_ms": request["wait_ms"] or None,
                     "leaves_after_ms": request["leaves_ms"] or None,
                     "providers": providers}
            lines.append(f"  expect(decided(play({lua(given)})), {lua(decisions)})\n")
        return "".join(lines) + "end)\n"


class Hedged(Scenario):
    """A second provider is asked beside a slow first; either may be the first to answer, or fail."""

    warm = 22
    AFTER_MS, LATER_MS, LAST_MS = 300, 800, 1400

    def __init__(self, number):
        super().__init__(number)
        self.requests, self.heals = self.requests[:2], False

    def metadata(self):
        m = super().metadata()
        if self.rng.random() < 0.7:
            m["order"] = " ".join([self.rng.choice("xy") + str(self.number), f"z{self.number}"])
        return m

    def request(self, i):
        made = {**super().request(i), "stream": False, "context": None, "leaves_ms": 0}
        for model, answers in made["answers"].items():
            ok = {"text": "Sure.", "usage": {"prompt": 9, "completion": 5, "cached": 0}}
            slow = self.LATER_MS if model[0] != "z" else self.rng.choice([1, self.LAST_MS])
            kind = self.rng.choice(["ok", "ok", "ok", "server_error", "model_gone"])
            answers[0] = (kind, {**(ok if kind == "ok" else {}), "after_ms": slow})
        return made

    def declare(self, policies):
        super().declare(policies)
        policies.endpoints[self.path]["hedge_after_ms"] = self.AFTER_MS


def lua(value):
    """One line of Lua; an empty dictionary as one."""
    return re.sub(r"\n\s*", " ", sets.lua(value)) if value != {} else "{}"


class Grounds(case.Case):
    """Plays scenarios live, then tests them with what came."""

    scenario = False
    def start(self, scenarios):
        answers = {}
        for scenario in scenarios:
            answers.update(scenario.mocked())
        answers["warm"] = [{"status": 400, "first_ms": 0, "total_ms": 0}]
        mock = procs.Mock(f"""
local answers, asked = {sets.lua(answers)}, {{}}
return {{ models = {{ ["*"] = function(call)
  local key = call.prompt == "warm" and "warm" or call.prompt .. "|" .. call.model
  asked[key] = (asked[key] or 0) + 1
  return answers[key][math.min(asked[key], #answers[key])]
end }} }}
""")
        self.addCleanup(mock.stop)
        policies = sets.Policies(mock.url)
        policies.budgets, policies.tenants = [], {}
        for scenario in scenarios:
            scenario.declare(policies)
        for name, body in HOOKS.items():
            policies.hook(name, body)
        env = {f"KEY_{side}{s.number}_{i}": f"sk-{side}-{s.number}-{i}-0123456789"
               for s in scenarios for side in "AB" for i in range(2)}
        server = self.serve(policies, env=env)
        self.addCleanup(server.stop)
        return policies, server

    def live(self, server, scenario):
        made = []
        for request in scenario.requests:
            headers = [("Authorization", f"Bearer {scenario.key(request['tenant'])}")]
            for _ in range(scenario.warm):
                # The caller's own fault: no statistic, breaker or budget knows it afterwards.
                server.ask({"prompt": "warm", "metadata": {"any": "fail"}}, scenario.path, headers)
            time.sleep(request["wait_ms"] / 1000)
            body = {name: request[name] for name in ("prompt", "metadata", "context") if request[name] is not None}
            if request["leaves_ms"]:
                made.append(self.leave(server, scenario, request, body, headers))
            elif request["stream"]:
                with server.conn(timeout=60) as conn:
                    stream = server.stream(body, scenario.path, headers, conn)
                    made.append((stream.get("X-Request-Id"), read(stream)))
            else:
                reply = server.ask(body, scenario.path, headers, timeout=60)
                made.append((reply.get("X-Request-Id"), reply.json()))
        return made

    def leave(self, server, scenario, request, body, headers):
        """Asks, and goes away where nothing comes for so long. The next one asks when all has ended."""
        name = f"left-{scenario.number}-{request['prompt'][-1]}"
        headers = [*headers, ("X-Request-Id", name)]
        got = {}
        with server.conn(timeout=request["leaves_ms"] / 1000) as conn:
            try:
                if request["stream"]:
                    got = read(server.stream(body, scenario.path, headers, conn))
                else:
                    got = conn.ask("POST", scenario.path, body, headers).json()
            except TimeoutError:
                pass

        def ended():
            with self.reading:
                return server.read_records().get(name)

        procs.wait_for(ended, 20)
        return name, got

    def batch(self, first, n, kind):
        """Plays n scenarios on both grounds; how many requests there were, and who differs."""
        scenarios = [kind(i) for i in range(first, first + n)]
        policies, server = self.start(scenarios)
        replies = case.at_once(n, lambda i: self.live(server, scenarios[i]))
        tests = DECIDED
        seen = []
        for scenario, row in zip(scenarios, replies):
            wanted = [decided(server.decision(key, 20), body) for key, body in row]
            seen += wanted
            tests += scenario.test(wanted)
            self.note(scenario, wanted)
        policies.put("grounds_test.lua", tests)
        status, out, err = procs.run("test", policies.path, timeout=120)
        differing = re.findall(r"^FAIL  .*: scenario_(\d+)$", out, re.MULTILINE)
        passed = re.search(r"^(\d+) passed, (\d+) failed$", out, re.MULTILINE)
        self.assertTrue(passed, out + err)
        self.assertEqual(int(passed[1]) + int(passed[2]), n, out + err)
        self.assertEqual(status, 1 if differing else 0, out + err)
        self.addCleanup(os.remove, os.path.join(policies.path, "grounds_test.lua"))
        return seen, differing, out

    def note(self, scenario, decisions):
        """Counts what no class or outcome tells: streams with text, context that was dropped, and models that
        were called again after their breaker was open."""
        opened = set()
        for request, decision in zip(scenario.requests, decisions):
            self.noted["streamed"] += request["stream"] and bool(decision["text"])
            self.noted["dropped"] += bool(decision["dropped"])
            self.noted["read on"] += scenario.drains and decision["outcome"] == "cancelled"
            called = {attempt["model"] for attempt in decision["attempts"]}
            self.noted["closed again"] += len(called & opened)
            opened |= {skip["model"] for skip in decision["skipped"] if skip["why"] == "breaker"}

    def compare(self, count, kind=Scenario):
        seen, differing, words = [], [], ""
        self.noted = {"streamed": 0, "dropped": 0, "closed again": 0, "read on": 0}
        self.reading = threading.Lock()
        for first in range(0, count, BATCH):
            got, differ, out = self.batch(first, min(BATCH, count - first), kind)
            self.doCleanups()
            seen += got
            differing += differ
            words = words or (out if differ else "")
        outcomes = {}
        for decision in seen:
            for what in [decision["outcome"], *(a["class"] for a in decision["attempts"]),
                         decision["hedge"] and "hedge " + decision["hedge"]]:
                if what:
                    outcomes[what] = outcomes.get(what, 0) + 1
        outcomes.update({what: n for what, n in self.noted.items() if n > 0})
        case.say(f"{len(seen)} requests: " + ", ".join(f"{k} {v}" for k, v in sorted(outcomes.items())))
        case.say(f"scenarios whose decisions differ: {len(differing)} of {count}")
        self.assertEqual(differing, [], words[:6000])
        return outcomes

-- Says what each name of a policy set means: the one table from which `neap check`, `.doc`, completion, the
-- editor types and the tables of policies/README.md are made. tests hold it against the running sandbox.
--
-- It returns plain tables, no functions; lists stand in the order in which people should read them.
--
--   hooks      { name, called, params, returns, default, on_error, text, example }
--   classes    { name, text, handle, fields = { { name, type, text, example, write, unit }, … } }
--   aliases    { name, type, text }: texts of which only some are known
--   functions  { name, params, returns, text, errors, example, files, lua, kind }
--   left_out   { name, text }: what Lua has and policies have not, and why
--
-- `type` is written as editors take it (LuaCATS): "integer", "string?", "neap.message[]", and names of
-- `aliases` and `classes`; `?` at the end means that it may be nil. `params` is a list of { name, type, text },
-- `returns` a list of types. `handle`: an object of neap's (a field that it has not is an error), else a plain
-- table. `write`: the hook in which the field may be written. `example`: a line that runs in a hook as it stands
-- (those of fields as an expression or statement; in them `req`, `candidate`, … are the hook's parameters).
-- `files`: "policy" (hooks, lib/ and tests), "data" (data files), "test" (*_test.lua). `lua`: one of Lua's own.
-- `kind`: "function" unless said; "value" for numbers and texts, whose type is in `returns`.
--
-- Units stand in the names (_ms, _s, _usd) and, for people, in `unit`.

local aliases = {
  { name = "neap.class", text = "How an attempt ended.",
    type = '"ok"|"network"|"timeout"|"rate_limited"|"quota"|"overloaded"|"server_error"|"bad_reply"|"cut"'
      .. '|"credential"|"model_gone"|"too_long"|"filtered"|"rejected"|"cancelled"|"deadline"' },
  { name = "neap.reason", text = "Why a reply is a stand-in.",
    type = '"budget"|"breaker"|"deadline"|"exhausted"|"filtered"|"shed"|"policy"' },
  { name = "neap.finish", text = "Why an answer ended.",
    type = '"stop"|"length"|"tool_calls"|"content_filter"|"degraded"|"error"' },
  { name = "neap.role", text = "Whose words a message is.", type = '"system"|"user"|"assistant"' },
  { name = "neap.breaker", text = "Whether a model is called.", type = '"closed"|"half_open"|"open"' },
  { name = "neap.window", text = "The span of a budget; calendar spans are in UTC.",
    type = '"minute"|"hour"|"day"|"week"|"month"|"none"' },
  { name = "neap.objective", text = "What endpoints.lua promises in slo.",
    type = '"p95_ms"|"error_rate"|"degraded_rate"|"cost_usd"' },
  { name = "neap.burn_window", text = "How far back a burn rate looks.", type = '"5m"|"30m"|"1h"|"6h"|"3d"' },
  { name = "neap.fault", text = "What a scripted provider can fail with.",
    type = '"network"|"timeout"|"rate_limited"|"quota"|"overloaded"|"server_error"|"bad_reply"|"credential"'
      .. '|"model_gone"|"too_long"|"filtered"|"rejected"|"cut"' },
}

local hooks = {
  { name = "admit", called = "when a request was read", params = "req: neap.req", returns = "neap.refusal?",
    default = "the request is admitted",
    text = "Decides whether a request is taken, and may change it: messages, system, context, max_tokens, "
      .. "temperature and tags can be written here and nowhere else.",
    example = 'return function(req)\n  if req.prompt_tokens > 8000 then\n'
      .. '    return { status = 413, type = "too_large", message = "the prompt is too long" }\n  end\nend' },
  { name = "route", called = "when a request was admitted", params = "req: neap.req",
    returns = "(string|neap.plan_entry)[]?", default = "the endpoint's models, in their order",
    text = "Decides which models are tried, in which order.",
    example = 'return function(req)\n'
      .. '  if req.metadata.tier == "gold" then return { "gpt-4.1", "gpt-4.1-mini" } end\nend' },
  { name = "truncate", called = "for a candidate whose context the prompt does not fit into",
    params = "req: neap.req, room: integer", returns = "(string|neap.context_item)[]?",
    default = "the highest priority stays first",
    text = "Decides which context items stay, of at most `room` tokens; what is pinned stays anyway.",
    example = 'return function(req)\n  return { req.context[1] }\nend' },
  { name = "budget", called = "before each attempt", params = "req: neap.req, candidate: neap.candidate",
    returns = 'neap.lower|neap.refusal|"next"|"degrade"|nil', default = "what budgets.lua declares",
    text = "Decides whether an attempt is worth its price. No answer of it lifts a budget.",
    example = 'return function(_, candidate)\n  if candidate.estimated_usd > 0.01 then return "next" end\nend' },
  { name = "retry", called = "when an attempt has failed", params = "req: neap.req, attempt: neap.attempt",
    returns = 'neap.wait|"next"|"degrade"|"fail"|nil', default = "by the attempt's class, see the table of classes",
    text = "Decides what follows a failed attempt: the same model again, the next of the plan, or the end.",
    example = 'return function(_, attempt)\n'
      .. '  if attempt.class == "overloaded" then return { retry_in_ms = 200 } end\nend' },
  { name = "respond", called = "when a good answer is in", params = "req: neap.req, reply: neap.reply",
    returns = 'neap.reply|neap.text|"degrade"|nil', default = "the answer goes out unchanged",
    text = "Decides whether an answer goes out as it is.",
    example = 'return function(_, reply)\n  if reply.text == "" then return "degrade" end\nend' },
  { name = "degrade", called = "when nothing else is left", params = "req: neap.req, reason: neap.reason",
    returns = "string|neap.stand_in|nil", default = "status 200 and the template that is called like the reason",
    text = "Decides what a caller reads when no model could answer.",
    example = 'return function(_, reason)\n  if reason == "shed" then return { retry_after_s = 2 } end\nend' },
  { name = "alert", called = "every 10 s", params = "stats: neap.lib.stats", returns = "neap.alarm[]?",
    default = "the rules of alerts.lua", text = "Decides what operators are told beside the rules, or not.",
    example = 'return function(stats)\n  if (stats.p95("gpt-4.1") or 0) > 5000 then\n'
      .. '    return { { alert = "slow", severity = "ticket", text = "gpt-4.1 is slow" } }\n  end\nend' },
}

-- F: name, type, sentence, example, and what else there is to say.
local function F(name, type, text, example, more)
  local field = { name = name, type = type, text = text, example = example }
  for key, value in pairs(more or {}) do field[key] = value end
  return field
end

local admit = { write = "admit" }
local ms, usd, tokens = { unit = "ms" }, { unit = "USD" }, { unit = "tokens" }

local req = {
  F("id", "string", "The request's id: what clients read as requestId and logs carry.", 'log.info(req.id)'),
  F("endpoint", "string", "The path that was called.", 'req.endpoint == "/api/assistant/reply"'),
  F("tenant", "string", 'Who calls, by its key; "anonymous" where there are no tenants.', 'req.tenant == "acme"'),
  F("messages", "neap.message[]", "The conversation, oldest first.", "#req.messages > 10", admit),
  F("system", "string?", "The instructions that stand before the conversation.", '(req.system or ""):len()', admit),
  F("context", "neap.context_item[]", "What the caller added for the model to know.", "#req.context", admit),
  F("prompt_tokens", "integer", "About how many tokens messages, system and context have.",
    "req.prompt_tokens > 2000", tokens),
  F("max_tokens", "integer", "How many tokens an answer may have: the caller's wish within the endpoint's bound.",
    "req.max_tokens > 500", { write = "admit", unit = "tokens" }),
  F("temperature", "number?", "From 0 to 2, where the caller gave one.", "(req.temperature or 1) > 1.5", admit),
  F("stream", "boolean", "Whether the caller wants the answer in pieces, as it is made.", "req.stream == false"),
  F("model", "string?", "The caller's wish for a model; nothing holds a policy to it.", 'req.model == "gpt-4.1"'),
  F("metadata", "table<string, any>", "What the caller sent under this name: take nothing in it for granted.",
    'req.metadata.tier == "gold"'),
  F("tags", "table<string, any>", "Notes for the decision record, at most 4 KB as JSON.", "req.tags.team", admit),
  F("elapsed_ms", "integer", "How long ago the request came.", "req.elapsed_ms > 1000", ms),
  F("remaining_ms", "integer", "How much is left of the endpoint's deadline.", "req.remaining_ms < 1500", ms),
  F("spent_usd", "number", "What the request's attempts have cost so far.", "req.spent_usd > 0.01", usd),
  F("attempts", "neap.past_attempt[]", "The attempts that have ended, oldest first.", "#req.attempts"),
}

local attempt = {
  F("number", "integer", "Counts the request's attempts from 1.", "attempt.number > 1"),
  F("model", "string", "Which model was asked.", 'attempt.model == "gpt-4.1"'),
  F("provider", "string", "Whose model it is.", 'attempt.provider == "openai"'),
  F("class", "neap.class", "How it ended.", 'attempt.class == "timeout"'),
  F("status", "integer", "The provider's HTTP status; 0 where none came.", "attempt.status == 429"),
  F("error", "string?", "The provider's own name for what went wrong.", 'attempt.error == "rate_limit_error"'),
  F("retry_after_ms", "integer?", "How long the provider asks to wait, where it does.",
    "(attempt.retry_after_ms or 0) > 500", ms),
  F("latency_ms", "integer", "How long it took.", "attempt.latency_ms > 2000", ms),
  F("remaining_ms", "integer", "How much is left of the endpoint's deadline.", "attempt.remaining_ms < 1500", ms),
  F("cost_usd", "number", "What it is booked at; more than 0 where the provider may bill it.",
    "attempt.cost_usd > 0", usd),
  F("emitted", "boolean", "Whether any of its text has reached the caller.", "attempt.emitted"),
}

-- An entry of req.attempts: the same but for what only the running hook knows.
local past_attempt = {}
for _, field in ipairs(attempt) do
  if field.name ~= "remaining_ms" then
    past_attempt[#past_attempt + 1] = F(field.name, field.type, field.text)
  end
end

local classes = {
  { name = "neap.req", handle = true, fields = req, text = "The request; every hook gets it." },
  { name = "neap.message", text = "One message of the conversation.", fields = {
    F("role", "neap.role", "Whose words they are.", 'req.messages[1].role == "user"', admit),
    F("content", "string", "The words; a message of several parts reads line by line.",
      'req.messages[1].content:find "urgent"', admit) } },
  { name = "neap.context_item", text = "One entry of req.context.", fields = {
    F("id", "string", "Its name, once in a request.", 'req.context[1].id', admit),
    F("text", "string", "What the model is given.", "#req.context[1].text", admit),
    F("priority", "number?", "What stays when not all of it fits: the higher first.", "req.context[1].priority", admit),
    F("pinned", "boolean?", "Whether it must stay.", "req.context[1].pinned", admit),
    F("tokens", "integer?", "About how many tokens it has.", "req.context[1].tokens", tokens) } },
  { name = "neap.candidate", handle = true, text = "The attempt that is about to be made; the hook budget gets it.",
    fields = {
      F("model", "string", "Which model would be asked.", 'candidate.model == "gpt-4.1"'),
      F("provider", "string", "Whose model it is.", 'candidate.provider == "openai"'),
      F("tier", "string", 'The tier that models.lua gives it, "" without one.', 'candidate.tier == "premium"'),
      F("prompt_tokens", "integer", "About how many tokens it would read.", "candidate.prompt_tokens > 4000", tokens),
      F("max_tokens", "integer", "How many tokens it may write at most.", "candidate.max_tokens > 500", tokens),
      F("estimated_usd", "number", "What it is likely to cost.", "candidate.estimated_usd > 0.01", usd),
      F("worst_usd", "number", "What it can cost at most; this much is held before it starts.",
        "candidate.worst_usd > 0.05", usd),
      F("timeout_ms", "integer", "How long it may take.", "candidate.timeout_ms > 10000", ms) } },
  { name = "neap.attempt", handle = true, fields = attempt, text = "The attempt that failed; the hook retry gets it." },
  { name = "neap.past_attempt", fields = past_attempt, text = "One entry of req.attempts." },
  { name = "neap.reply", handle = true, text = "The answer that is in; the hook respond gets it.", fields = {
    F("text", "string", "Its words.", "#reply.text", { write = "respond" }),
    F("model", "string?", "Which model answered.", 'reply.model == "gpt-4.1"'),
    F("provider", "string?", "Whose model it is.", 'reply.provider == "openai"'),
    F("finish_reason", "neap.finish", "Why it ended.", 'reply.finish_reason == "length"'),
    F("usage", "neap.usage", "The tokens that it took.", "reply.usage.completion_tokens"),
    F("cost_usd", "number", "What the request has cost, all attempts together.", "reply.cost_usd > 0.01", usd),
    F("latency_ms", "integer", "How long ago the request came.", "reply.latency_ms > 2000", ms) } },
  { name = "neap.usage", text = "Tokens as the provider counted them.", fields = {
    F("prompt_tokens", "integer", "Read, those of the cache included.", "reply.usage.prompt_tokens", tokens),
    F("completion_tokens", "integer", "Written.", "reply.usage.completion_tokens", tokens),
    F("cached_tokens", "integer", "Read from the provider's cache.", "reply.usage.cached_tokens", tokens),
    F("cache_write_tokens", "integer", "Written to the provider's cache.", "reply.usage.cache_write_tokens", tokens),
    F("reasoning_tokens", "integer", "Written while thinking.", "reply.usage.reasoning_tokens", tokens) } },
  -- What hooks return.
  { name = "neap.refusal", text = "An error for the caller; it needs a status or a type.", fields = {
    F("status", "integer?", "The HTTP status, 400 to 599."),
    F("type", "string?", 'What programs read, of a-z and _: "forbidden".'),
    F("message", "string?", "What people read."),
    F("retry_after_s", "integer?", "When to come again.", nil, { unit = "s" }) } },
  { name = "neap.plan_entry", text = "A model of a plan, with what differs for it.", fields = {
    F("model", "string", "Its name in models.lua."),
    F("timeout_ms", "integer?", "How long its attempts may take.", nil, ms),
    F("max_tokens", "integer?", "How many tokens it may write at most.", nil, tokens),
    F("hedge_after_ms", "number?", "After how long without a first token the next provider is asked beside it, "
      .. "rounded up; the endpoint's unless said.", nil, ms) } },
  { name = "neap.lower", text = "The attempt is made, with fewer tokens.", fields = {
    F("max_tokens", "integer", "How many tokens it may write at most.", nil, tokens) } },
  { name = "neap.wait", text = "The same model is asked again.", fields = {
    F("retry_in_ms", "number", "After how long.", nil, ms) } },
  { name = "neap.text", text = "An answer with other words.", fields = { F("text", "string", "The words.") } },
  { name = "neap.stand_in", text = "A degraded reply, or what differs in it.", fields = {
    F("text", "string?", "Its words."),
    F("status", "integer?", "Its HTTP status, 200 to 599."),
    F("retry_after_s", "integer?", "When to come again.", nil, { unit = "s" }) } },
  { name = "neap.alarm", text = "Something that operators are told.", fields = {
    F("alert", "string", "Its name: once a name and subject is told."),
    F("subject", "string?", "What it is about; a silence without one is for all of that name."),
    F("severity", "string?", 'How bad it is: "page", "ticket" or "info".'),
    F("text", "string?", "What people read."),
    F("silence", "boolean?", "Alerts of this name are not told now; then neither severity nor text is needed.") } },
  -- What functions take.
  { name = "neap.backoff_options", text = "How long to wait.", fields = {
    F("base_ms", "number?", "The first wait; 250 unless said.", nil, ms),
    F("cap_ms", "number?", "The longest wait without jitter; 2500 unless said.", nil, ms),
    F("jitter_ms", "number?", "Up to so much more, by chance; 120 unless said.", nil, ms),
    F("attempt", "integer?", "Which one it is: the wait is base_ms times 2^attempt; 1 unless said.") } },
  { name = "neap.pick_options", text = "Of what to pick, and how.", fields = {
    F("models", "string[]?", "Names of models; they may also stand first in the table, by position."),
    F("weights", "number[]|table<string, number>|nil", "How much of all each gets: beside the names or by name."),
    F("by", '"latency"|"cost"|"random"|nil', "By what: the lowest p95, where it fits and costs least, or chance."),
    F("sticky", "string?", "The same text always gets the same model, on every worker and after every restart.") } },
  -- What tests give and get.
  { name = "neap.play", text = "What a test plays.", fields = {
    F("request", "table<string, any>", "The body as clients send it; also `tenant` and `endpoint`."),
    F("budgets", "table<string, number>?", 'USD that are spent already: ["tenant:acme/day"] = 4.99; "tenant/day" is '
      .. "that of who asks.", nil, usd),
    F("breakers", "table<string, neap.breaker>?", "Which models are in trouble."),
    F("providers", "table<string, integer|string|neap.answer|(integer|string|neap.answer)[]>?",
      "What a provider or a model answers, one a call; the last one repeats."),
    F("after_ms", "integer?", "How much time passes before the request.", nil, ms),
    F("leaves_after_ms", "integer?", "When the client goes away, counted from its request; it stays unless said.", nil,
      ms),
    F("seed", "integer?", "Of chance, from this request on; each test begins with 1.") } },
  { name = "neap.look", text = "What stands when the alert hook is asked.", fields = {
    F("after_ms", "integer?", "How much time passes before.", nil, ms),
    F("budgets", "table<string, number>?", 'USD that are spent already: ["tenant:acme/day"] = 4.99.', nil, usd),
    F("breakers", "table<string, neap.breaker>?", "Which models are in trouble."),
    F("seed", "integer?", "Of chance, from here on.") } },
  { name = "neap.told", text = "What the alert hook says.", fields = {
    F("alarms", "neap.alarm[]", "Its list: what is told, and what is not."),
    F("returned", "string", 'What it returned, in short: "alarms", "nothing", or how it failed.'),
    F("why", "string?", "Its second value."), F("error", "string?", "What went wrong in it."),
    F("at", "string?", "Where: file and line."),
    F("steps", "integer", "About how many instructions it took.") } },
  { name = "neap.answer", text = "What a scripted provider answers.", fields = {
    F("text", "string?", "The words."),
    F("after_ms", "integer?", "How long it takes; 300 unless said.", nil, ms),
    F("status", "integer?", "An HTTP status."),
    F("retry_after", "integer|string|nil", "The header Retry-After: seconds or a date."),
    F("error", "neap.fault?", "A class of failure."),
    F("usage", "table<string, integer>?", "The tokens: { prompt=, completion=, cached= }.", nil, tokens),
    F("finish", "string?", "The provider's reason for ending.") } },
  { name = "neap.run", text = "What came of a play.", fields = {
    F("status", "integer", "The HTTP status that the caller got."),
    F("cancelled", "boolean?", "Whether the client had gone before it was answered."),
    F("text", "string?", "What the caller read."),
    F("model", "string?", "Which model answered."),
    F("provider", "string?", "Whose model it is."),
    F("degraded", "boolean", "Whether the reply is a stand-in."),
    F("reason", "neap.reason?", "Why it is one."),
    F("finish_reason", "neap.finish?", "Why the answer ended."),
    F("retry_after_s", "integer?", "When the caller may come again.", nil, { unit = "s" }),
    F("hedge", "string?", "What became of asking a second provider beside a slow first, or why it was not asked."),
    F("cost_usd", "number", "What all attempts cost together.", nil, usd),
    F("latency_ms", "integer", "How long it took.", nil, ms),
    F("plan", "string[]", "The models that were to be tried."),
    F("attempts", "neap.run_attempt[]", "The calls that were made."),
    F("skipped", "neap.run_skip[]", "The candidates that were passed over without a call."),
    F("dropped", "string[]", "Ids of the context items that were left out."),
    F("hooks", "table<string, neap.run_hook[]>", "What each call of each hook returned."),
    F("calls", "neap.run_call[]", "All calls of hooks, in their order."),
    F("error", "neap.run_error?", "What a refused caller read.") } },
  { name = "neap.run_attempt", text = "One entry of run.attempts.", fields = {
    F("model", "string", "Which model was asked."), F("provider", "string", "Whose model it is."),
    F("class", "neap.class", "How it ended."), F("status", "integer?", "The provider's HTTP status."),
    F("error", "string?", "The provider's own name for what went wrong."),
    F("latency_ms", "integer", "How long it took.", nil, ms),
    F("max_tokens", "integer", "How many tokens it might write.", nil, tokens),
    F("cost_usd", "number", "What it is booked at.", nil, usd),
    F("retry_in_ms", "integer?", "How long was waited before the next.", nil, ms),
    F("hedge", "boolean?", "Whether it was asked beside the one before."),
    F("lost", "boolean?", "Whether it was ended because another answered first.") } },
  { name = "neap.run_skip", text = "One entry of run.skipped.", fields = {
    F("model", "string", "Which model was passed over."),
    F("why", '"budget"|"breaker"|"busy"|"quota"|"deadline"', "What stood in the way.") } },
  { name = "neap.run_hook", text = "One call of a hook.", fields = {
    F("returned", "string", 'What it returned, in short: "nothing", "next", "max_tokens 200".'),
    F("why", "string?", "Its second value.") } },
  { name = "neap.run_call", text = "One entry of run.calls.", fields = {
    F("hook", "string", "Which hook was called."),
    F("returned", "string", "What it returned, in short."), F("why", "string?", "Its second value."),
    F("error", "string?", "What went wrong in it."), F("at", "string?", "Where: file and line."),
    F("steps", "integer", "About how many instructions it took.") } },
  { name = "neap.run_error", text = "What a refused caller read.", fields = {
    F("type", "string", "What programs read."), F("message", "string", "What people read."),
    F("param", "string?", "Which field of the request it is about.") } },
}

-- N: name, params, returns, sentence, example, and what else there is to say. Errors are of kind type.
local functions = {}

local function N(name, params, returns, text, example, more)
  local entry = { name = name, params = params, returns = returns, text = text, example = example, files = "policy" }
  for key, value in pairs(more or {}) do entry[key] = value end
  functions[#functions + 1] = entry
end

local ACCOUNT = "an account that is not written global, tenant:NAME, endpoint:PATH, model:NAME or provider:NAME"

N("stats.p95", "name: string", "number?", "The 95th percentile of the latency of an endpoint or a model in ms; nil "
  .. "while fewer than 20 are known.", '(stats.p95("gpt-4.1") or 0) > 2500', { errors = "a name that is no text" })
N("stats.error_rate", "name: string", "number?", "Which part of an endpoint's requests or a model's attempts failed "
  .. "of late, 0 to 1.", '(stats.error_rate("gpt-4.1") or 0) > 0.2', { errors = "a name that is no text" })
N("stats.burn", "endpoint: string, objective: neap.objective?, window: neap.burn_window?", "number?",
  "How many times too fast an endpoint's objective burns; the worst of them, over the last hour, unless said.",
  'stats.burn(req.endpoint, "cost_usd", "30m") > 1',
  { errors = "a name that is no text; an unknown objective or window" })
N("stats.cost_usd", "account: string, window: neap.window?", "number?", "What was spent in the running window; nil "
  .. "where budgets.lua has no such account and window.", 'stats.cost_usd("global", "day")',
  { errors = ACCOUNT .. "; an unknown window" })
N("budget.remaining", "account: string", "number?", "What may still be spent, with what running attempts hold taken "
  .. "off; nil where budgets.lua has no such account.", 'budget.remaining("tenant:" .. req.tenant .. "/day")',
  { errors = ACCOUNT })
N("breaker.state", "model: string", "neap.breaker?", "Whether a model is called, is being probed, or is left alone; "
  .. "nil where there is no such model.", 'breaker.state("gpt-4.1") == "open"', { errors = "a name that is no text" })
N("tokens", "text: string, model: string?", "integer", "About how many tokens a text has.",
  'tokens(req.messages[1].content, "gpt-4.1")', { errors = "a text that is none" })
N("backoff", "options: neap.backoff_options", "integer", "A wait in ms that doubles from attempt to attempt, with "
  .. "jitter.", "backoff { base_ms = 250, cap_ms = 2500, jitter_ms = 120, attempt = 1 }",
  { errors = "an unknown option, or one that is no number of at least 0" })
N("pick", "options: string[]|neap.pick_options", "string", "One of some models: by chance and weight, by what it "
  .. "costs or how fast it is, or always the same for the same text.",
  'pick { { "gpt-4.1", "gpt-4.1-mini" }, weights = { 1, 9 }, sticky = req.tenant }',
  { errors = "an unknown model or option, weights that are all 0" })
N("template", "name: string, values: table<string, string|number|boolean>?", "string", "The text of "
  .. "templates/NAME.txt with its places filled.", 'template("budget", { hint = "ask later" })',
  { errors = "a template that is not there" })
N("shared.get", "key: string", "string|number|boolean|nil", "A value that all workers see.", 'shared.get("canary")',
  { errors = "a key that is no text of 1 to 256 bytes" })
N("shared.set", "key: string, value: string|number|boolean|nil, ttl_s: number?", "", "Sets it, for so many seconds "
  .. "or for good; nil takes it away.", 'shared.set("canary", true, 600)',
  { errors = "a table, a text of over 4 KB, more than 4,096 keys" })
N("shared.incr", "key: string, by: number?, ttl_s: number?", "number", "Adds to a number and returns the sum; the "
  .. "time to live counts from the first one.", 'shared.incr("asked:" .. req.tenant, 1, 60) > 100',
  { errors = "a value that is no number" })
N("random", "", "number", "By chance, from 0 to below 1; the same in each run of a test.", "random() < 0.05")
N("now_ms", "", "integer", "The time in ms since 1970, UTC.", "now_ms() // 3600000 % 24 -- the hour of the day")
for _, level in ipairs { "debug", "info", "warn", "error" } do
  N("log." .. level, "message: string, fields: table<string, string|number|boolean>?", "",
    "A line in the log with the request's id, at level " .. level .. "; no texts of callers, please.",
    "log." .. level .. '("canary", { tenant = req.tenant })',
    { errors = "more than 16 fields, or one that is a table" })
end
N("json.encode", "value: any", "string", "A value as JSON, at most 4 MiB and 64 levels.",
  'json.encode { a = { 1, 2 } }', { errors = "functions, circles, NaN" })
N("json.decode", "text: string", "any", "What JSON stands for, of at most 256 KiB; null in lists is json.null.",
  "json.decode('{\"a\": [1, 2]}').a[2]", { errors = "text that is not JSON, or too long" })
N("json.null", "", "userdata", "What stands for null in lists.", 'json.decode("[null]")[1] == json.null',
  { kind = "value" })
N("require", "name: string", "any", "What lib/NAME.lua returns; a library is run once.", 'require "lib.plan"',
  { errors = "a name that is not lib.NAME, a library that is not there or requires itself" })

N("env", "name: string", "userdata", "A key out of the environment; policies never see its value.",
  'env "OPENAI_API_KEY"', { files = "data", errors = "a name that is no text" })
N("file", "path: string", "userdata", "A key out of a file, read again at each reload; policies never see its value.",
  'file "/run/secrets/openai"', { files = "data", errors = "a path that is no text" })

N("test", "name: string, fn: fun()", "", "Announces a test; its name is a sentence.",
  'test("gold_tenants_get_premium", function() end)', { files = "test", errors = "two tests of one name" })
N("test.each", "name: string, list: any[], fn: fun(item: any)", "", "Announces a test for each item of a list.",
  'test.each("no_fault_degrades", { 500, 503 }, function(status) end)', { files = "test", errors = "an empty list" })
N("play", "given: neap.play", "neap.run", "Sends a request through the real engine, with virtual time and scripted "
  .. "providers.", 'play { request = { prompt = "hi" }, providers = { openai = 500 } }',
  { files = "test", errors = "an unknown name in what is given" })
N("alerts", "given: neap.look", "neap.told", "Asks the alert hook, as happens every 10 s; it sees what was played "
  .. "before in this test.", 'alerts { after_ms = 10000 }',
  { files = "test", errors = "an unknown name in what is given, a set without alert.lua" })
N("recorded", "pattern: string", "", "Announces a test for each file of recorded requests with the outcome that is "
  .. "wanted.", 'recorded("cases/*.json")', { files = "test", errors = "a pattern that no file has" })
N("expect", "got: any, wanted: any", "", "Fails the test unless both are equal; tables are compared by content.",
  'expect(run.model, "gpt-4.1")', { files = "test" })

-- Lua's own. Numbers of elements and bytes are bounded, and each call can be stopped.
local function L(name, params, returns, text, example, more)
  N(name, params, returns, text, example, more)
  functions[#functions].lua = true
end
local function V(name, type, text, example) L(name, "", type, text, example, { kind = "value" }) end

L("assert", "value: any, message: any?", "any", "Raises an error unless the value holds.", "assert(req.tenant)")
L("error", "message: any, level: integer?", "", "Raises an error: the hook's default decides.",
  'pcall(function() error("no") end)')
L("getmetatable", "object: any", "table?", "The metatable; false where it is locked.", "getmetatable({})")
L("ipairs", "list: table", "fun(), table, integer", "For lists, in order.", "ipairs(req.messages)")
L("next", "t: table, key: any?", "any, any", "The next key and value of a table.", "next({})")
L("pairs", "t: table", "fun(), table, any", "For tables, in no order.", "pairs(req.metadata)")
L("pcall", "f: function, ...: any", "boolean, any", "Calls and catches errors; the stop at a limit is not caught.",
  "pcall(json.decode, req.tenant)")
L("rawequal", "a: any, b: any", "boolean", "Whether both are the same.", "rawequal(1, 1)")
L("rawget", "t: table, key: any", "any", "A field without metamethods.", "rawget({ a = 1 }, 'a')")
L("rawlen", "t: table|string", "integer", "The length without metamethods.", "rawlen({ 1 })")
L("select", "n: integer|\"#\", ...: any", "any", "The arguments from n on.", 'select("#", 1, 2)')
L("setmetatable", "t: table, meta: table?", "table", "Sets a copy of the metatable; without __gc, __concat, weak keys.",
  "setmetatable({}, { __index = function() return 0 end })")
L("tonumber", "value: any, base: integer?", "number?", "What a text says as a number.", 'tonumber("12")')
L("tostring", "value: any", "string", "A value as a text.", "tostring(12)")
L("type", "value: any", "string", "What kind a value is of.", 'type(req.metadata.tier) == "string"')
L("xpcall", "f: function, handler: fun(message: any): any, ...: any", "boolean, any",
  "As pcall; the handler is called once the stack has unwound.", "xpcall(function() end, tostring)")
V("_VERSION", "string", "Lua's version.", "_VERSION")
L("string.byte", "s: string, i: integer?, j: integer?", "integer", "The codes of bytes.", '("a"):byte()')
L("string.char", "...: integer", "string", "The text of these bytes.", "string.char(65)")
L("string.find", "s: string, pattern: string, init: integer?, plain: boolean?", "integer?, integer?",
  "Where a pattern is met.", 'req.messages[1].content:find("refund", 1, true)')
L("string.format", "form: string, ...: any", "string", "A text with values in it, up to 250.",
  '("%d tokens"):format(3)')
L("string.gmatch", "s: string, pattern: string, init: integer?", "fun(): string?", "Each match of a pattern.",
  'for word in ("a b"):gmatch("%a+") do log.debug(word) end')
L("string.gsub", "s: string, pattern: string, repl: string|table|function, n: integer?", "string, integer",
  "The text with matches replaced, and how many.", '("a1"):gsub("%d", "")')
L("string.len", "s: string", "integer", "How many bytes.", '("abc"):len()')
L("string.lower", "s: string", "string", "In small letters (ASCII).", '("ABC"):lower()')
L("string.match", "s: string, pattern: string, init: integer?", "string?", "What a pattern matches.",
  '("tenant-7"):match("%d+")')
L("string.pack", "form: string, ...: any", "string", "Values as bytes.", 'string.pack("<I2", 7)')
L("string.packsize", "form: string", "integer", "How many bytes pack makes.", 'string.packsize("<I2")')
L("string.rep", "s: string, n: integer, sep: string?", "string", "A text several times, at most 4 MiB.",
  '("ab"):rep(3, "-")')
L("string.reverse", "s: string", "string", "Byte by byte from the end.", '("abc"):reverse()')
L("string.sub", "s: string, i: integer, j: integer?", "string", "A piece of a text.", '("abcdef"):sub(2, 3)')
L("string.unpack", "form: string, s: string, pos: integer?", "any", "Bytes as values.", 'string.unpack("<I2", "ab")')
L("string.upper", "s: string", "string", "In capitals (ASCII).", '("abc"):upper()')
L("table.concat", "list: table, sep: string?, i: integer?, j: integer?", "string", "Texts put together.",
  'table.concat({ "a", "b" }, ", ")')
L("table.insert", "list: table, ...: any", "", "Puts a value into a list.", "local t = {} table.insert(t, 1)")
L("table.move", "from: table, f: integer, e: integer, t: integer, to: table?", "table", "Moves elements, at most "
  .. "65,536.", "table.move({ 1, 2 }, 1, 2, 1, {})")
L("table.pack", "...: any", "table", "The arguments as a list with n.", "table.pack(1, nil).n")
L("table.remove", "list: table, pos: integer?", "any", "Takes a value out of a list.", "table.remove({ 1, 2 })")
L("table.sort", "list: table, less: fun(a: any, b: any): boolean|nil", "", "Sorts a list.",
  "local t = { 2, 1 } table.sort(t)")
L("table.unpack", "list: table, i: integer?, j: integer?", "any", "A list as values.", "table.unpack({ 1, 2 })")
for _, one in ipairs { { "abs", "Without its sign." }, { "ceil", "The next whole number." },
  { "floor", "The whole number below." }, { "acos", "The arc cosine." }, { "asin", "The arc sine." },
  { "cos", "The cosine." }, { "sin", "The sine." }, { "tan", "The tangent." }, { "deg", "An angle in degrees." },
  { "rad", "An angle in radians." }, { "exp", "The power of e." }, { "sqrt", "The square root." } } do
  L("math." .. one[1], "x: number", "number", one[2], "math." .. one[1] .. "(0.5)")
end
L("math.atan", "y: number, x: number?", "number", "The arc tangent.", "math.atan(1)")
L("math.fmod", "x: number, y: number", "number", "The rest of a division.", "math.fmod(7, 4)")
L("math.log", "x: number, base: number?", "number", "The logarithm.", "math.log(8, 2)")
L("math.max", "x: number, ...: number", "number", "The largest.", "math.max(1, 2)")
L("math.min", "x: number, ...: number", "number", "The smallest.", "math.min(req.max_tokens, 200)")
L("math.modf", "x: number", "number, number", "Its whole part and the rest.", "math.modf(2.5)")
L("math.random", "m: integer?, n: integer?", "number", "By chance; the same in each run of a test.", "math.random(6)")
L("math.tointeger", "x: any", "integer?", "As an integer, where it is whole.", "math.tointeger(3.0)")
L("math.type", "x: any", '"integer"|"float"|nil', "Which kind of number.", "math.type(1)")
L("math.ult", "m: integer, n: integer", "boolean", "Whether m is below n without signs.", "math.ult(1, -1)")
V("math.huge", "number", "More than every number.", "math.huge")
V("math.maxinteger", "integer", "The largest integer.", "math.maxinteger")
V("math.mininteger", "integer", "The smallest integer.", "math.mininteger")
V("math.pi", "number", "The ratio of a circle to its diameter.", "math.pi")
L("utf8.char", "...: integer", "string", "The text of these code points.", "utf8.char(228)")
V("utf8.charpattern", "string", "The pattern that matches one letter of UTF-8.", "utf8.charpattern")
L("utf8.codepoint", "s: string, i: integer?, j: integer?, lax: boolean?", "integer", "Code points of a text.",
  'utf8.codepoint("ä")')
L("utf8.codes", "s: string, lax: boolean?", "fun(), string, integer", "For each letter of a text.",
  'for _, code in utf8.codes("ä") do log.debug("code", { code = code }) end')
L("utf8.len", "s: string, i: integer?, j: integer?, lax: boolean?", "integer?", "How many letters.", 'utf8.len("ä")')
L("utf8.offset", "s: string, n: integer, i: integer?", "integer?", "Where the n-th letter begins.",
  'utf8.offset("äb", 2)')

local left_out = {
  { name = "coroutine", text = "loops in coroutines would not be seen by the limits" },
  { name = "load", text = "code comes from files that were checked" },
  { name = "loadfile", text = "code comes from files that were checked; shared code: require \"lib.name\"" },
  { name = "dofile", text = "code comes from files that were checked; shared code: require \"lib.name\"" },
  { name = "rawset", text = "it could write where policies must not; assign instead" },
  { name = "collectgarbage", text = "neap collects between requests" },
  { name = "debug", text = "it reaches behind every wall; for a look at values: log.debug" },
  { name = "os", text = "policies touch nothing but requests; the time: now_ms()" },
  { name = "io", text = "policies touch no files; for a line in the log: log.info" },
  { name = "package", text = "libraries are files of lib/: require \"lib.name\"" },
  { name = "print", text = "standard output is not a policy's; use log.info(message, fields)" },
  { name = "warn", text = "use log.warn(message, fields)" },
  { name = "_G", text = "there are no globals to keep things in; use local, or shared.set(key, value, ttl_s)" },
  { name = "string.dump", text = "bytecode is not taken anywhere" },
  { name = "math.randomseed", text = "chance is neap's own, so that simulations repeat" },
  { name = "__gc", text = "finalizers run where no limit holds" },
  { name = "__concat", text = "it crashes Lua 5.4.4; write a function that joins" },
}

-- ---------------------------------------------------------------------------------- from text to lists

-- "a: string, f: fun(x: any, y: any)?" at its commas outside of brackets.
local function split(text)
  local list, depth, from = {}, 0, 1
  for i = 1, #text do
    local c = text:sub(i, i)
    depth = depth + ((c == "(" or c == "<") and 1 or (c == ")" or c == ">") and -1 or 0)
    if c == "," and depth == 0 then
      list[#list + 1] = text:sub(from, i - 1)
      from = i + 2
    end
  end
  if from <= #text then list[#list + 1] = text:sub(from) end
  return list
end

local function read_params(text)
  local params = {}
  for i, param in ipairs(split(text)) do
    local name, type = param:match("^([%w_.]+): (.+)$")
    params[i] = { name = name, type = type }
  end
  return params
end

for _, entry in ipairs(functions) do
  entry.params, entry.returns = read_params(entry.params), split(entry.returns)
  entry.kind = entry.kind or "function"
end
for _, hook in ipairs(hooks) do
  hook.params, hook.returns = read_params(hook.params), { hook.returns, "string?" }
  hook.on_error = { "default", "refuse" }
end
return { hooks = hooks, classes = classes, aliases = aliases, functions = functions, left_out = left_out }

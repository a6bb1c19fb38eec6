-- Decides what an imitation provider answers: reads scenarios, and makes one answer of a scenario's
-- word for a model.
--
-- A scenario is {seed=, models={NAME=SPEC}}, where NAME is a model as the provider calls it (a date at
-- its end may be left out), "openai/*" or "anthropic/*", or "*". A SPEC is an answer, a list of answers
-- (in turn, the last one stays), or function(call) that returns either. All chance is a pure function of
-- seed, model, number of the call and purpose: native.chance(model, number, purpose).

local M = {}

local match, floor = string.match, math.floor

-- ------------------------------------------------------------------------------------- reading

local function whole(k) return k.integer(0, 1000000000) end

local function any_number(k)
  return function(value, at)
    if type(value) ~= "number" then
      return k.tell(at, "N202", "must be a number, got %s", k.show(value))
    end
    return value + 0.0
  end
end

local function some_text(k, most)
  return function(value, at)
    if type(value) ~= "string" then return k.tell(at, "N202", "must be a text, got %s", k.show(value)) end
    if #value > most then return k.tell(at, "N203", "must have at most %d bytes, has %d", most, #value) end
    return value
  end
end

-- A number of milliseconds, or how they are spread: {p50=, p95=}.
local function latency(k)
  local number = k.number(0, 86400000)
  local spread = k.record({ p50 = k.need(number), p95 = k.need(number) }, function(made, at)
    if made.p50 and made.p95 and not (made.p50 > 0 and made.p95 >= made.p50) then
      k.tell(at, "N203", "needs 0 < p50 <= p95")
      return false
    end
    return true
  end)
  return function(value, at)
    if type(value) == "table" then return spread(value, at) end
    local ms = number(value, at)
    return ms and { p50 = ms, p95 = ms }
  end
end

local function answer_fields(k)
  return {
    status = k.may(k.integer(100, 599)),
    text = k.may(some_text(k, 4095)),
    error = k.may(k.record {
      type = k.may(some_text(k, 63)), code = k.may(some_text(k, 63)), message = k.may(some_text(k, 255)),
    }),
    retry_after_s = k.may(whole(k)),
    first_ms = k.may(latency(k)),
    total_ms = k.may(latency(k)),
    stall_at = k.may(whole(k)),
    reset_at = k.may(whole(k)),
    fin_at = k.may(whole(k)),
    malformed = k.may(k.boolean),
    empty = k.may(k.boolean),
    no_usage = k.may(k.boolean),
    byte_by_byte = k.may(k.boolean),
    usage = k.may(k.record {
      prompt = k.may(any_number(k)), completion = k.may(any_number(k)), cached = k.may(any_number(k)),
    }),
    usd_per_million = k.may(k.record { input = k.may(k.number(0, 1e6), 0), output = k.may(k.number(0, 1e6), 0) }),
    usd_per_request = k.may(k.number(0, 1000000)),
    finish = k.may(some_text(k, 23)),
    content_type = k.may(some_text(k, 63)),
    content_encoding = k.may(some_text(k, 31)),
    raw = k.may(some_text(k, 65536)),
  }
end

local function answer_kind(k)
  local fault = answer_fields(k)
  fault.rate = k.need(k.number(0, 1))
  fault.burst = k.may(k.integer(1, 1000), 1)
  local fields = answer_fields(k)
  fields.faults = k.may(k.list(k.record(fault), 0, 16, "faults"))
  return k.record(fields)
end

-- An answer, or a list of them, as a list; functions stand for themselves.
local function spec_kind(k)
  local answer = answer_kind(k)
  local answers = k.list(answer, 1, 10000, "answers")
  return function(value, at)
    if type(value) == "function" then return value end
    if type(value) == "table" and rawget(value, 1) ~= nil then return answers(value, at) end
    local one = answer(value, at)
    return one and { one }
  end
end

local function scenario_kind(k)
  local spec = spec_kind(k)
  local name = some_text(k, 128)
  local models = k.map(name, function(value, at)
    local made = spec(value, at)
    return made and { spec = made }
  end, 0, 1000, "models")
  return k.record {
    seed = k.may(k.integer(0, math.maxinteger)),
    models = k.need(function(value, at)
      local by_name = {}
      for _, entry in ipairs(models(value, at)) do by_name[entry.name] = entry.spec end
      return by_name
    end),
  }
end

-- The scenario made plain, or nil and the problems as text, a line each. source may be nil.
function M.read(value, native, kinds, locate, file, source)
  local problems = kinds.begin(native)
  local made = scenario_kind(kinds)(value, kinds.file(file))
  local lines = {}
  for i, p in ipairs(problems) do
    local line, column
    if source then line, column = locate.locate(source, kinds.path_of(p.at)) end
    lines[i] = (file ~= "" and file .. ":" or "") .. (line and line .. ":" .. column .. ":" or "")
    lines[i] = lines[i] .. (lines[i] ~= "" and " " or "") .. p.text
  end
  if #lines > 0 then return nil, table.concat(lines, "\n") end
  return made
end

local answer_of_function

-- What a function of a scenario returned, made plain; errors are raised.
function M.read_spec(value, native, kinds)
  local problems = kinds.begin(native)
  answer_of_function = answer_of_function or spec_kind(kinds)
  local made = answer_of_function(value, kinds.file(""))
  if problems[1] then error("the answer of a scenario's function: " .. problems[1].text, 0) end
  if type(made) ~= "table" then error("a scenario's function returns a table, not a function", 0) end
  return made
end

-- ------------------------------------------------------------------------------------ choosing

-- The spec for a model in a table of specs.
local function choose(models, provider, model)
  if not models then return nil end
  local dateless = match(model, "^(.-)%-%d%d%d%d%-?%d%d%-?%d%d$")
  return models[model] or (dateless and models[dateless]) or models[provider .. "/*"] or models["*"]
end

-- The spec for a call, and which of a list's answers it would be: overrides count from their own start.
function M.choose(state, call)
  local over = choose(state.overrides, call.provider, call.model)
  if over then
    state.since[call.model] = state.since[call.model] or call.number - 1
    return over, call.number - state.since[call.model]
  end
  return choose(state.scenario.models, call.provider, call.model), call.number
end

-- ------------------------------------------------------------------------------------- answers

local default_errors = {
  [400] = { "invalid_request_error", "", "The request was refused." },
  [401] = { "authentication_error", "invalid_api_key", "Incorrect API key provided." },
  [402] = { "billing_error", "insufficient_quota", "You exceeded your current quota." },
  [403] = { "permission_error", "", "The key has no right to use this." },
  [404] = { "not_found_error", "model_not_found", "The model does not exist." },
  [413] = { "request_too_large", "", "The request is too large." },
  [429] = { "rate_limit_error", "rate_limit_exceeded", "Rate limit reached." },
  [503] = { "overloaded_error", "", "The engine is overloaded." },
  [529] = { "overloaded_error", "", "Overloaded." },
}

-- A draw of the normal distribution (Box and Muller): how slow this call is, its first byte as its last.
local function slowness(call, native)
  local u = 1 - native.chance(call.model, call.number, "time")
  local v = native.chance(call.model, call.number, "time'")
  return math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
end

-- Of the log-normal distribution with this median and 95th percentile, in whole milliseconds.
local function spread_to_ms(spread, normal)
  if not spread then return nil end
  if spread.p95 <= spread.p50 then return floor(spread.p50 + 0.5) end
  local sigma = math.log(spread.p95 / spread.p50) / 1.6448536269514722
  return floor(math.min(spread.p50 * math.exp(sigma * normal), spread.p50 * 20) + 0.5)
end

-- The fault that hits this call: one of its own beginning, or the rest of a burst.
local function fault_of(answer, call, native)
  for i, fault in ipairs(answer.faults or {}) do
    for back = 0, math.min(fault.burst, call.number) - 1 do
      if native.chance(call.model, call.number - back, "fault" .. i) < fault.rate then return fault end
    end
  end
  return nil
end

local function with_error(made, given, status)
  local default = default_errors[status] or { "api_error", "", "The provider failed." }
  given = given or {}
  made.error_type = given.type or default[1]
  made.error_code = given.code or (given.type and "" or default[2])
  made.error_message = given.message or default[3]
end

-- When its first and its last byte are sent; a fault that says nothing of it is as slow as the answer.
local function with_times(made, a, base, call, native)
  local first, total, normal = a.first_ms or base.first_ms, a.total_ms or base.total_ms, slowness(call, native)
  made.total_ms = spread_to_ms(total or first, normal) or 0
  made.first_ms = first and spread_to_ms(first, normal) or made.total_ms // 4
  made.total_ms = math.max(made.total_ms, made.first_ms)
end

-- What is to be sent, all plain values.
function M.answer(spec, turn, call, native)
  local base = spec[math.min(turn, #spec)]
  local a = fault_of(base, call, native) or base
  local made = {
    status = a.status or 200, text = a.text or base.text or "OK.",
    retry_after_s = a.retry_after_s or -1,
    stall_at = a.stall_at or -1, reset_at = a.reset_at or -1, fin_at = a.fin_at or -1,
    malformed = a.malformed, empty = a.empty, no_usage = a.no_usage, byte_by_byte = a.byte_by_byte,
    usd_per_million = a.usd_per_million, usd_per_request = a.usd_per_request,
    usage = a.usage, finish = a.finish, content_type = a.content_type,
    content_encoding = a.content_encoding, raw = a.raw,
  }
  if made.status >= 400 then with_error(made, a.error, made.status) end
  with_times(made, a, base, call, native)
  return made
end

return M

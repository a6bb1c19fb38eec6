-- Makes the four decisions (admit, route, budget, respond) of the benchmark's policy set inside nginx.
--
-- The same question and the same reply as neap's POST /api/assistant/reply: JSON is decoded and encoded
-- both ways with lua-cjson. Money is in whole nano-dollars; a request reserves its worst cost in a
-- counter that all workers share, and settles it to what the provider billed.

local cjson = require "cjson.safe"

local ngx = ngx
local floor, min, ceil = math.floor, math.min, math.ceil
local concat = table.concat
local budget = ngx.shared.budget

cjson.encode_keep_buffer(true)

local M = {}

local NONE = {}
local LIMIT_NUSD = 1e15
local REQUEST_NUSD = 20000000

-- Prices in nano-dollars a token.
local MODELS = {
  small = { id = "gpt-4.1-mini-2025-04-14", input = 400, cached = 100, output = 1600, max_output = 32768 },
  large = { id = "gpt-4.1-2025-04-14", input = 2000, cached = 500, output = 8000, max_output = 32768 },
}
local LONG_PROMPT = 6000

local REPLY_FIELDS = {
  prompt = "string", messages = "table", system = "string", context = "table", maxTokens = "number",
  temperature = "number", stop = "table", stream = "boolean", model = "string", metadata = "table",
}
local CHAT_FIELDS = {
  messages = "table", max_tokens = "number", temperature = "number", stop = "table", stream = "boolean",
  model = "string",
}

local FINISH = { stop = "stop", length = "length", tool_calls = "tool_calls", content_filter = "content_filter" }

local function refuse(status, kind, message)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.print(cjson.encode { error = { type = kind, message = message, requestId = ngx.ctx.id } })
  return ngx.exit(status)
end

local function request_id()
  local given = ngx.var.http_x_request_id
  if given and #given <= 128 and not given:find("[^%w._-]") then
    return given
  end
  return "req_" .. ngx.var.request_id
end

local function tokens(text)
  return ceil(#text / 4)
end

-- What is wrong with the question's fields, or nil.
local function fault(question, fields)
  for name, value in pairs(question) do
    if type(value) ~= fields[name] then
      return fields[name] and name .. " must be a " .. fields[name] or "unknown field " .. name
    end
  end
  local most = question.maxTokens or question.max_tokens
  if most and (most < 1 or most > 1048576 or most ~= floor(most)) then
    return "maxTokens must be a whole number from 1 to 1048576"
  end
  if (question.prompt == nil) == (question.messages == nil) then
    return "one of prompt and messages is required"
  end
end

-- Answers the estimate of the prompt's tokens, or nil and what is wrong.
local function admit(question, fields)
  local wrong = fault(question, fields)
  if wrong then
    return nil, wrong
  end
  local total = 4 + tokens(question.prompt or "") + tokens(question.system or "")
  for _, item in ipairs(question.context or NONE) do
    if type(item) ~= "table" or type(item.text) ~= "string" or type(item.id) ~= "string" then
      return nil, "context must be a list of {id, text}"
    end
    total = total + 4 + tokens(item.text)
  end
  for _, message in ipairs(question.messages or NONE) do
    if type(message) ~= "table" or type(message.content) ~= "string" then
      return nil, "content must be text"
    end
    total = total + 4 + tokens(message.content)
  end
  return total
end

local function route(wish, estimate)
  if estimate > LONG_PROMPT then
    return "large"
  end
  return MODELS[wish] and wish or "small"
end

-- Reserves the worst cost; answers it, or nil where it does not fit.
local function reserve(model, estimate, max_tokens)
  local worst = estimate * model.input + max_tokens * model.output
  if worst > REQUEST_NUSD then
    return nil
  end
  if budget:incr("global", worst, 0) > LIMIT_NUSD then
    budget:incr("global", -worst)
    return nil
  end
  return worst
end

-- Checks what the provider said and settles its cost. Answers the reply's parts, or nil.
local function respond(answer, ctx)
  local usage = type(answer) == "table" and answer.usage
  local choice = usage and answer.choices and answer.choices[1]
  local text = choice and choice.message and choice.message.content
  local cost = ctx.worst
  if usage then
    local cached = usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens or 0
    local model = ctx.model
    ctx.cached = cached
    cost = (usage.prompt_tokens - cached) * model.input + cached * model.cached + usage.completion_tokens * model.output
  end
  budget:incr("global", cost - ctx.worst)
  if type(text) ~= "string" or text == "" then
    return nil
  end
  return text, FINISH[choice.finish_reason] or "stop", usage, cost
end

local function messages_of(question)
  local messages, n = {}, 0
  if question.system then
    n = n + 1
    messages[n] = { role = "system", content = question.system }
  end
  for _, item in ipairs(question.context or NONE) do
    n = n + 1
    messages[n] = { role = "user", content = concat { item.id, ": ", item.text } }
  end
  for _, message in ipairs(question.messages or NONE) do
    n = n + 1
    messages[n] = message
  end
  if question.prompt then
    messages[n + 1] = { role = "user", content = question.prompt }
  end
  return messages
end

-- Reads, checks and decides. Answers the question and the greatest number of tokens for its answer.
local function decide(fields)
  local ctx = ngx.ctx
  ctx.id = request_id()
  ctx.started = ngx.now()
  ngx.req.read_body()
  local body = ngx.req.get_body_data()
  local question = body and cjson.decode(body)
  if type(question) ~= "table" then
    return refuse(400, "invalid_request", "the body is not JSON")
  end
  local estimate, wrong = admit(question, fields)
  if not estimate then
    return refuse(400, "invalid_request", wrong)
  end
  local name = route(question.model, estimate)
  local model = MODELS[name]
  local max_tokens = min(question.maxTokens or question.max_tokens or 1024, model.max_output)
  local worst = reserve(model, estimate, max_tokens)
  if not worst then
    return refuse(429, "budget_exceeded", "the budget is spent")
  end
  ctx.name, ctx.model, ctx.worst = name, model, worst
  return question, max_tokens
end

-- The reply's body from the provider's.
local function reply(body)
  local ctx = ngx.ctx
  local text, finish, usage, cost = respond(cjson.decode(body), ctx)
  if not text then
    return cjson.encode {
      requestId = ctx.id, text = "Please try again later.", finishReason = "degraded", degraded = true,
      reason = "exhausted", attempts = 1, usage = { costUsd = 0 },
    }
  end
  return cjson.encode {
    requestId = ctx.id, text = text, model = ctx.name, provider = "openai", finishReason = finish,
    usage = {
      promptTokens = usage.prompt_tokens, completionTokens = usage.completion_tokens,
      cachedTokens = ctx.cached, costUsd = cost / 1e9,
    },
    degraded = false, attempts = 1, latencyMs = floor((ngx.now() - ctx.started) * 1000),
    policy = "bench",
  }
end

function M.ask()
  local question, max_tokens = decide(REPLY_FIELDS)
  ngx.req.set_body_data(cjson.encode {
    model = ngx.ctx.model.id, messages = messages_of(question), max_completion_tokens = max_tokens,
    temperature = question.temperature, stop = question.stop,
  })
end

function M.head()
  ngx.header.content_length = nil
  ngx.header["X-Request-Id"] = ngx.ctx.id
end

-- Gathers the provider's body chunk by chunk and sends the reply with the last.
function M.answer()
  local ctx = ngx.ctx
  if not ctx.model then
    return
  end
  local chunk, last = ngx.arg[1], ngx.arg[2]
  local parts = ctx.parts
  if not last then
    if parts then
      parts[#parts + 1] = chunk
    else
      ctx.parts = { chunk }
    end
    ngx.arg[1] = nil
    return
  end
  if parts then
    parts[#parts + 1] = chunk
    chunk = concat(parts)
  end
  ngx.arg[1] = reply(chunk)
end

-- The OpenAI dialect: the same decisions, the bodies as they came.
function M.pass()
  decide(CHAT_FIELDS)
end

function M.passed()
  local ctx = ngx.ctx
  if not ctx.model then
    return
  end
  local chunk, last = ngx.arg[1], ngx.arg[2]
  ctx.seen = ctx.seen and ctx.seen .. chunk or chunk
  if last then
    respond(cjson.decode(ctx.seen), ctx)
  end
end

return M

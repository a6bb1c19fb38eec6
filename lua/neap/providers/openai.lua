-- Decides how OpenAI's chat completions are asked for, and what an answer of theirs means.
--
-- request(call, body): call has model, max_tokens, stream, and as raw JSON messages, stop, temperature (nil
-- where not given); fills body, returns the path below base_url, and whether the model spends tokens that
-- no answer shows.
-- answer(reply, out): reply has what `reads` names of the body, status, and class, which the status alone
-- means; fills out: class, text, finish, error, limit_tokens, prompt_seen, and with has_usage prompt, completion,
-- cached, reasoning. Any of it may be of any kind: a server sent it. `stream` says where in the events
-- of a streamed answer what stands; C reads them by it.

local find, match, lower = string.find, string.match, string.lower

local M = {}

M.system_as = "message" -- the system text travels as the first message
M.headers = {}

-- Models that think take their limit, thinking included, under another name.
local function thinks(model)
  return find(model, "^o[1-9]") ~= nil or find(model, "^gpt%-[5-9]") ~= nil
end

function M.request(call, body)
  local model = call.model
  local long = thinks(model)
  body.model = model
  body.messages = call.messages
  body.max_completion_tokens = long and call.max_tokens or nil
  body.max_tokens = not long and call.max_tokens or nil
  body.temperature = call.temperature
  body.stop = call.stop
  body.stream = call.stream or nil
  body.stream_options = call.stream and { include_usage = true } or nil
  return "/chat/completions", long
end

local function text_of(value)
  return type(value) == "string" and value or nil
end

-- Where in a body stands what answer() wants; what is not there is nil.
M.reads = {
  error = "error",
  message = "message",
  detail = "detail",
  code = "code",
  kind = "type",
  content = "choices.1.message.content",
  refusal = "choices.1.message.refusal",
  tool_calls = "choices.1.message.tool_calls",
  finish = "choices.1.finish_reason",
  prompt = "usage.prompt_tokens",
  completion = "usage.completion_tokens",
  cached = "usage.prompt_tokens_details.cached_tokens",
  reasoning = "usage.completion_tokens_details.reasoning_tokens",
}

-- ------------------------------------------------------------------------------------ faults

local quota_codes = { insufficient_quota = true, billing_hard_limit_reached = true, billing_not_active = true }
local filter_codes = { content_filter = true, content_policy_violation = true, invalid_prompt = true }

-- The words that servers use, and in them the real limit and how long the prompt was found.
local limits = {
  "maximum context length is (%d+)", "maximum context length of (%d+)", "with (%d+) maximum context length",
  "(%d+) tokens or fewer", "available context size %((%d+)", "maximum number of tokens allowed %((%d+)",
}
local prompts = {
  "%((%d+) in the messages", "%((%d+) in your prompt", "resulted in (%d+) tokens", "has (%d+) input tokens",
  "prompt contains (%d+) tokens", "request %((%d+) tokens%)", "input token count %((%d+)",
}

local function first_of(patterns, message)
  for _, pattern in ipairs(patterns) do
    local figure = match(message, pattern)
    if figure then return tonumber(figure) end
  end
end

local long_codes = { context_length_exceeded = true, string_above_max_length = true, exceed_context_size_error = true }
local long_words = {
  "maximum context length", "context window", "prompt is too long", "available context size",
  "maximum number of tokens allowed",
}

local function is_too_long(code, kind, message)
  if long_codes[code] or long_codes[kind] then return true end
  for _, words in ipairs(long_words) do
    if find(message, words, 1, true) then return true end
  end
  return false
end

local function fault_class(reply, code, kind, message)
  local class = reply.class
  if quota_codes[code] or quota_codes[kind] then
    if class == "rate_limited" or class == "quota" or class == "credential" then return "quota" end
  end
  if class == "rate_limited" and find(message, "billing", 1, true) then return "quota" end
  if class == "rejected" and (reply.status == 400 or reply.status == 413) then
    if is_too_long(code, kind, message) then return "too_long" end
    if filter_codes[code] or find(message, "content management policy", 1, true) then return "filtered" end
    if code == "model_not_found" then return "model_gone" end
  end
  return class
end

-- A text, or a list of what is wrong where: {msg =, loc = {"body", "messages", 0}}.
local function detail_of(detail)
  if type(detail) ~= "table" then return text_of(detail) end
  local texts = {}
  for i = 1, math.min(#detail, 8) do
    local item = type(detail[i]) == "table" and detail[i] or {}
    local where = {}
    for _, part in ipairs(type(item.loc) == "table" and item.loc or {}) do
      where[#where + 1] = (type(part) == "string" or math.type(part) == "integer") and tostring(part) or nil
    end
    local place = #where > 0 and table.concat(where, ".") .. ": " or ""
    if text_of(item.msg) then texts[#texts + 1] = place .. item.msg end
  end
  return #texts > 0 and table.concat(texts, "; ") or nil
end

-- What it says, code and type: below `error`, or at the top, as servers of this dialect also do.
local function words_of(reply)
  local e = reply.error
  if type(e) == "table" then return text_of(e.message), text_of(e.code) or "", text_of(e.type) or "", e end
  local told = type(reply.message) == "table" and detail_of(reply.message.detail) or text_of(reply.message)
  return text_of(e) or told or detail_of(reply.detail), text_of(reply.code) or "", text_of(reply.kind) or "", {}
end

local function fault(reply, out)
  local message, code, kind, e = words_of(reply)
  if reply.class == "ok" then
    out.class = "bad_reply"
  else
    out.class = fault_class(reply, code, kind, lower(message or ""))
  end
  if out.class == "too_long" then
    local low = lower(message or "")
    out.limit_tokens = first_of(limits, low) or math.tointeger(e.n_ctx)
    out.prompt_seen = first_of(prompts, low) or math.tointeger(e.n_prompt_tokens)
  end
  -- What is said of a key may quote it.
  if out.class == "credential" or not message then
    out.error = code ~= "" and code or (kind ~= "" and kind) or nil
  else
    out.error = message
  end
end

-- ----------------------------------------------------------------------------------- answers

local finishes = {
  stop = "stop", length = "length", tool_calls = "tool_calls", function_call = "tool_calls",
  content_filter = "content_filter",
}

M.stream = {
  reads = {
    text = { "choices.1.delta.content", "choices.1.delta.refusal" },
    thought = {
      "choices.1.delta.reasoning_content", "choices.1.delta.reasoning",
      "choices.1.delta.tool_calls.1.function.arguments",
    },
    choice = "choices.1.index",
    finish = "choices.1.finish_reason",
    error = "error",
    prompt = "usage.prompt_tokens",
    completion = "usage.completion_tokens",
    cached = "usage.prompt_tokens_details.cached_tokens",
    reasoning = "usage.completion_tokens_details.reasoning_tokens",
  },
  finishes = finishes,
  end_data = "[DONE]",
}

-- The text of a message: a string, the texts of a list of parts, or why it refused.
local function content(reply)
  local c = reply.content
  if type(c) == "string" and c ~= "" then return c end
  if type(c) == "table" then
    local texts = {}
    for _, part in ipairs(c) do
      texts[#texts + 1] = type(part) == "table" and text_of(part.text) or nil
    end
    if #texts > 0 then return table.concat(texts) end
  end
  return text_of(reply.refusal) or ""
end

function M.answer(reply, out)
  if reply.prompt ~= nil and reply.completion ~= nil then
    out.has_usage = true
    out.prompt, out.completion = reply.prompt, reply.completion
    out.cached, out.reasoning = reply.cached, reply.reasoning
  end
  if reply.class ~= "ok" or reply.error then return fault(reply, out) end
  local text = content(reply)
  local finish = finishes[text_of(reply.finish) or "stop"] or "stop"
  local calls = type(reply.tool_calls) == "table" and reply.tool_calls[1]
  if text == "" and not calls and finish ~= "content_filter" and finish ~= "length" then
    out.class, out.error = "bad_reply", "the reply holds no message, or an empty one"
    return
  end
  out.class, out.text, out.finish = "ok", text, finish
end

return M

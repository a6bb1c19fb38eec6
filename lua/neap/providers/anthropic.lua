-- Decides how Anthropic's messages are asked for, and what an answer of theirs means.
--
-- request(call, body): call has model, max_tokens, stream, as raw JSON system, messages, stop, stop_words (stop
-- without those of blanks alone), temperature (nil where not given), and degrees, the temperature as a number;
-- fills body, returns the path below base_url.
-- answer(reply, out): reply has what `reads` names of the body, status, and class, which the status alone
-- means; fills out: class, text, finish, error, limit_tokens, prompt_seen, and with has_usage prompt, completion,
-- cached, cache_write (of which cache_write_5m and cache_write_1h are parts), reasoning. Any of it may be of
-- any kind: a server sent it.
-- `stream` says where in the events of a streamed answer what stands; C reads them by it.

local find, match, lower = string.find, string.match, string.lower

local M = {}

M.system_as = "field" -- beside the messages; those of role system join it
M.headers = { ["anthropic-version"] = "2023-06-01" }

function M.request(call, body)
  body.model = call.model
  body.max_tokens = call.max_tokens
  body.system = call.system
  body.messages = call.messages
  body.temperature = (call.degrees or 0) > 1 and 1 or call.temperature -- theirs ends at 1
  body.stop_sequences = call.stop_words -- blanks alone are refused
  body.stream = call.stream or nil
  return "/v1/messages"
end

local function text_of(value)
  return type(value) == "string" and value or nil
end

-- Where in a body stands what answer() wants; what is not there is nil.
M.reads = {
  error = "error",
  message = "message",
  detail = "detail",
  type = "type",
  content = "content",
  stop_reason = "stop_reason",
  input = "usage.input_tokens",
  output = "usage.output_tokens",
  cached = "usage.cache_read_input_tokens",
  cache_write = "usage.cache_creation_input_tokens",
  cache_write_5m = "usage.cache_creation.ephemeral_5m_input_tokens",
  cache_write_1h = "usage.cache_creation.ephemeral_1h_input_tokens",
  reasoning = "usage.output_tokens_details.reasoning_tokens",
}

-- ------------------------------------------------------------------------------------ faults

-- What the type of an error means, whatever the status.
local classes_of_types = {
  overloaded_error = "overloaded",
  billing_error = "quota",
}

local function is_too_long(message)
  return find(message, "prompt is too long", 1, true) ~= nil
    or find(message, "exceed context limit", 1, true) ~= nil
    or find(message, "context window", 1, true) ~= nil
end

-- The real limit, and how long the prompt was found, from "prompt is too long: 210000 tokens > 200000 maximum".
local function figures_in(message)
  local limit = match(message, "> (%d+) maximum") or match(message, "context limit: .-> (%d+)")
    or match(message, "limit of (%d+)")
  return tonumber(limit), tonumber(match(message, "too long: (%d+)") or match(message, "context limit: (%d+)"))
end

local function fault_class(reply, kind, message)
  if classes_of_types[kind] then return classes_of_types[kind] end
  if reply.class == "rate_limited" and find(message, "billing", 1, true) then return "quota" end
  if reply.class == "rejected" and (reply.status == 400 or reply.status == 413) then
    if is_too_long(message) then return "too_long" end
    if find(message, "credit balance", 1, true) then return "quota" end
    if find(message, "content filtering policy", 1, true) or find(message, "usage policy", 1, true) then
      return "filtered"
    end
  end
  return reply.class
end

local function fault(reply, out)
  local e = reply.error
  -- What stands between may tell it at the top.
  local message, kind = text_of(e) or text_of(reply.message) or text_of(reply.detail), ""
  if type(e) == "table" then message, kind = text_of(e.message), text_of(e.type) or "" end
  local low = lower(message or "")
  out.class = reply.class == "ok" and "bad_reply" or fault_class(reply, kind, low)
  if out.class == "too_long" then out.limit_tokens, out.prompt_seen = figures_in(low) end
  -- What is said of a key may quote it.
  if out.class == "credential" or not message then
    out.error = kind ~= "" and kind or nil
  else
    out.error = message
  end
end

-- ----------------------------------------------------------------------------------- answers

local finishes = {
  end_turn = "stop", stop_sequence = "stop", pause_turn = "stop", max_tokens = "length",
  model_context_window_exceeded = "length", tool_use = "tool_calls", refusal = "content_filter",
}

-- What message_start says of output_tokens is only the beginning, so it is not read.
M.stream = {
  reads = {
    kind = "type",
    text = { "delta.text", "content_block.text" },
    thought = { "delta.thinking", "delta.partial_json" },
    block = "index",
    opens = "content_block.type",
    part = "delta.type",
    finish = "delta.stop_reason",
    error = "error",
    prompt = { "message.usage.input_tokens", "usage.input_tokens" },
    completion = "usage.output_tokens",
    cached = { "message.usage.cache_read_input_tokens", "usage.cache_read_input_tokens" },
    cache_write = { "message.usage.cache_creation_input_tokens", "usage.cache_creation_input_tokens" },
    cache_write_5m = {
      "message.usage.cache_creation.ephemeral_5m_input_tokens", "usage.cache_creation.ephemeral_5m_input_tokens",
    },
    cache_write_1h = {
      "message.usage.cache_creation.ephemeral_1h_input_tokens", "usage.cache_creation.ephemeral_1h_input_tokens",
    },
    reasoning = "usage.output_tokens_details.reasoning_tokens",
  },
  finishes = finishes,
  kinds = { "message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop", "error" },
  text_parts = { "text", "text_delta" },
  end_kind = "message_stop",
  error_kind = "error",
  cache_apart = true, -- input_tokens leaves out what was read from the cache and what was written to it
}

local function usage(reply, out)
  if reply.input == nil or reply.output == nil then return end
  out.has_usage = true
  out.prompt, out.completion = reply.input, reply.output
  out.cached, out.cache_write = reply.cached, reply.cache_write
  out.cache_write_5m, out.cache_write_1h = reply.cache_write_5m, reply.cache_write_1h
  out.reasoning = reply.reasoning
end

-- The texts of the blocks, one behind the other, and whether a tool is called.
local function content(blocks)
  if type(blocks) ~= "table" then return "", false end
  local first = blocks[1]
  if #blocks == 1 and type(first) == "table" and first.type == "text" then
    return text_of(first.text) or "", false
  end
  local texts, calls = {}, false
  for _, block in ipairs(blocks) do
    local kind = type(block) == "table" and block.type
    if kind == "text" then
      texts[#texts + 1] = text_of(block.text)
    elseif kind == "tool_use" or kind == "server_tool_use" then
      calls = true
    end
  end
  return table.concat(texts), calls
end

function M.answer(reply, out)
  usage(reply, out)
  if reply.class ~= "ok" or reply.error or reply.type == "error" then return fault(reply, out) end
  local text, calls = content(reply.content)
  local finish = finishes[text_of(reply.stop_reason) or "end_turn"] or "stop"
  if text == "" and not calls and finish ~= "content_filter" and finish ~= "length" then
    out.class, out.error = "bad_reply", "the reply holds no message, or an empty one"
    return
  end
  out.class, out.text, out.finish = "ok", text, finish
end

return M

-- Tests of lua/neap/providers: pure functions, called here as C calls them, with values for spans.

local harness = require "lib.harness"
local openai, anthropic = require "neap.providers.openai", require "neap.providers.anthropic"
local test, equal = harness.test, harness.equal

test("thinking models take their limit under another name", function()
  local function limit_name(model)
    local body = {}
    openai.request({ model = model, max_tokens = 9, messages = "[]" }, body)
    return body.max_tokens == 9 and "max_tokens" or body.max_completion_tokens == 9 and "max_completion_tokens"
  end
  for _, model in ipairs { "o1", "o1-mini", "o3", "o4-mini-2025-04-16", "gpt-5", "gpt-5-nano", "gpt-6.1" } do
    equal(limit_name(model), "max_completion_tokens", model)
  end
  for _, model in ipairs { "gpt-4.1", "gpt-4o", "gpt-3.5-turbo", "omni", "llama-3", "my-gpt-5", "go1" } do
    equal(limit_name(model), "max_tokens", model)
  end
end)

test("a body that is used again keeps nothing of the call before", function()
  local body = {}
  openai.request({ model = "o3", max_tokens = 1, messages = "m", stop = "s", temperature = "t" }, body)
  openai.request({ model = "gpt-4.1", max_tokens = 2, messages = "n" }, body)
  equal(body, { model = "gpt-4.1", max_tokens = 2, messages = "n" })
  body = {}
  anthropic.request({
    model = "c", max_tokens = 1, messages = "m", system = "y", stop = "z", stop_words = "s", temperature = "t",
    degrees = 1,
  }, body)
  equal(body, { model = "c", max_tokens = 1, messages = "m", system = "y", stop_sequences = "s", temperature = "t" })
  anthropic.request({ model = "c", max_tokens = 1, messages = "m" }, body)
  equal(body, { model = "c", max_tokens = 1, messages = "m" })
end)

test("anthropic's temperature ends at 1, openai's goes on", function()
  local call = { model = "m", max_tokens = 1, messages = "m", temperature = "raw" }
  for degrees, wanted in pairs { [0] = "raw", [1] = "raw", [1.0001] = 1, [2] = 1 } do
    call.degrees = degrees
    local theirs, ours = {}, {}
    anthropic.request(call, theirs)
    openai.request(call, ours)
    equal(theirs.temperature, wanted, degrees)
    equal(ours.temperature, "raw", degrees)
  end
end)

test("a stream is asked for with its usage, and not by the call after it", function()
  local body = {}
  openai.request({ model = "gpt-4.1", max_tokens = 1, messages = "m", stream = true }, body)
  equal(body, {
    model = "gpt-4.1", max_tokens = 1, messages = "m", stream = true, stream_options = { include_usage = true },
  })
  openai.request({ model = "gpt-4.1", max_tokens = 1, messages = "m", stream = false }, body)
  equal(body, { model = "gpt-4.1", max_tokens = 1, messages = "m" })
  body = {}
  anthropic.request({ model = "c", max_tokens = 1, messages = "m", stream = true }, body)
  equal(body, { model = "c", max_tokens = 1, messages = "m", stream = true })
  anthropic.request({ model = "c", max_tokens = 1, messages = "m", stream = false }, body)
  equal(body, { model = "c", max_tokens = 1, messages = "m" })
end)

test("anthropic's counts are passed on as they were told", function()
  local out = {}
  anthropic.answer({
    class = "ok", status = 200, content = { { type = "text", text = "a" } }, stop_reason = "end_turn",
    input = 1, cached = 20, cache_write = 300, cache_write_5m = 200, cache_write_1h = 100, output = 5,
  }, out)
  equal(out, {
    class = "ok", text = "a", finish = "stop", has_usage = true, prompt = 1, completion = 5, cached = 20,
    cache_write = 300, cache_write_5m = 200, cache_write_1h = 100,
  })
end)

test("no kinds of values make an adapter fail", function()
  math.randomseed(5)
  local values = {
    "", "x", "stop", "end_turn", "insufficient_quota", "prompt is too long: 3 tokens > 2 maximum",
    0, -1, 1.5, true, false, {}, { 1 }, { {} }, { { type = "text", text = {} } }, { { type = {} } },
    { message = {}, code = 7, type = {} },
    { message = "maximum context length is 9 tokens", code = "x" }, { type = "overloaded_error" }, 1e300,
    { { msg = "m", loc = { "body", 0, {}, 1.5 } }, { msg = {}, loc = 7 }, 3 }, { detail = { { msg = "m" } } },
    { type = "exceed_context_size_error", n_ctx = "x", n_prompt_tokens = {} },
    "request (7 tokens) exceeds the available context size (5 tokens)",
  }
  local classes = { "ok", "rejected", "rate_limited", "credential", "server_error", "overloaded", "bad_reply" }
  local known = {}
  for _, class in ipairs(classes) do known[class] = true end
  for _, class in ipairs { "quota", "too_long", "filtered", "model_gone" } do known[class] = true end
  for _, adapter in ipairs { openai, anthropic } do
    for _ = 1, 20000 do
      local status = ({ 200, 400, 401, 413, 429, 500 })[math.random(6)]
      local reply = { class = classes[math.random(#classes)], status = status }
      for name in pairs(adapter.reads) do
        if math.random(3) > 1 then reply[name] = values[math.random(#values)] end
      end
      local out = {}
      local ok, why = pcall(adapter.answer, reply, out)
      if not ok then error(why .. "\n" .. harness.show(reply)) end
      assert(known[out.class], out.class)
      assert(out.class ~= "ok" or (type(out.text) == "string" and type(out.finish) == "string"))
      assert(out.error == nil or type(out.error) == "string")
      assert(out.limit_tokens == nil or math.type(out.limit_tokens))
      assert(out.prompt_seen == nil or math.type(out.prompt_seen))
    end
  end
end)

harness.finish()

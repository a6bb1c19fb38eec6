local function attempts(answers)
  local run = play { request = { prompt = "hi" }, providers = answers }
  local models = {}
  for i, attempt in ipairs(run.attempts) do models[i] = attempt.model end
  return models, run
end

test("who_asks_for_patience_is_not_waited_for", function()
  local models, run = attempts { ["gpt-4.1"] = { status = 429, retry_after = 2 } }
  expect(models, { "gpt-4.1", "gpt-4.1-mini" })
  expect(run.hooks.retry, { { returned = "next", why = "it wants 2000 ms of patience" } })
  expect(run.latency_ms, 600)
end)

test("a_first_model_that_is_too_slow_is_not_asked_again", function()
  local models, run = attempts { ["gpt-4.1"] = { error = "timeout" } }
  expect(models, { "gpt-4.1", "gpt-4.1-mini" })
  expect(run.hooks.retry[1].returned, "next")
end)

test("what_may_have_been_paid_for_is_not_repeated", function()
  local models, run = attempts { ["gpt-4.1"] = { error = "network" } }
  expect(models, { "gpt-4.1", "gpt-4.1-mini" })
  expect(run.hooks.retry[1].returned, "next")
end)

test.each("a_stumble_is_tried_again_by_the_same_model", { 429, 500, 503 }, function(status)
  local models, run = attempts { ["gpt-4.1"] = { status, "Sure." } }
  expect(models, { "gpt-4.1", "gpt-4.1" })
  expect(run.hooks.retry, { { returned = "nothing" } })
  expect(run.text, "Sure.")
end)

test("the_last_model_is_waited_for", function()
  local models = attempts {
    openai = { error = "model_gone" },
    anthropic = { { status = 429, retry_after = 1 }, "Sure." },
  }
  expect(models, { "gpt-4.1", "gpt-4.1-mini", "claude-haiku-4-5", "claude-haiku-4-5" })
end)

local function plan_of(tokens, given)
  given = given or {}
  given.request = { prompt = ("word "):rep(tokens), maxTokens = 500 }
  return play(given).plan
end

test("a_short_question_goes_to_the_cheapest_model", function()
  expect(plan_of(10), { "gpt-4.1-mini", "claude-haiku-4-5", "gpt-4.1" })
end)

test("a_prompt_too_long_for_it_goes_to_the_next", function()
  expect(plan_of(30000)[1], "claude-haiku-4-5")
end)

test("a_model_that_is_down_is_left_out", function()
  expect(plan_of(10, { breakers = { ["gpt-4.1-mini"] = "open" } }), { "claude-haiku-4-5", "gpt-4.1" })
end)

test("when_all_are_down_the_endpoint_decides", function()
  local down = { ["gpt-4.1-mini"] = "open", ["claude-haiku-4-5"] = "open", ["gpt-4.1"] = "open" }
  local run = play { request = { prompt = "hi" }, breakers = down }
  expect(run.hooks.route, { { returned = "nothing", why = "none works" } })
  expect(run.reason, "breaker")
end)

-- `neap test` plays these on the real engine, with virtual time and scripted providers; a set whose tests
-- fail does not go live.

test("the_gold_tier_gets_the_premium_model", function()
  local run = play { request = { prompt = "hi", metadata = { tier = "gold" } } }
  expect(run.model, "gpt-4.1")
  expect(run.hooks.route[1].why, "gold tier")
end)

test("everybody_else_starts_with_an_economical_model", function()
  expect(play({ request = { prompt = "hi" } }).model, "gpt-4.1-mini")
end)

test.each("another_provider_answers_while_one_is_down", { "timeout", "overloaded", "network" }, function(fault)
  local run = play { request = { prompt = "hi" }, providers = { openai = { error = fault } } }
  expect(run.model, "claude-haiku-4-5")
end)

test("a_model_that_asks_for_patience_is_not_waited_for", function()
  local run = play {
    request = { prompt = "hi" },
    providers = { openai = { status = 429, retry_after = 2 } },
  }
  expect(run.hooks.retry, { { returned = "next", why = "no time to wait" } })
  expect(run.model, "claude-haiku-4-5")
end)

test("answers_get_shorter_when_the_days_money_runs_low", function()
  local run = play { request = { prompt = "hi" }, budgets = { ["global/day"] = 19.5 } }
  expect(run.hooks.budget[1].returned, "max_tokens 200")
end)

test("when_no_model_answers_people_read_a_decent_text", function()
  local run = play { request = { prompt = "hi" }, providers = { openai = 500, anthropic = 500 } }
  expect(run.degraded, true)
  expect(run.text:find("can't answer right now", 1, true) ~= nil, true)
end)

local PREMIUM_FIRST = { "gpt-4.1", "gpt-4.1-mini", "claude-haiku-4-5" }
local ECONOMY_FIRST = { "gpt-4.1-mini", "claude-haiku-4-5", "gpt-4.1" }

local function plan_of(given)
  given.request = given.request or { prompt = "hi" }
  return play(given).plan
end

test("premium_answers_first", function()
  local run = play { request = { prompt = "hi" } }
  expect(run.plan, PREMIUM_FIRST)
  expect(run.model, "gpt-4.1")
end)

test("an_economical_model_answers_while_premium_is_down", function()
  local run = play { request = { prompt = "hi" }, providers = { ["gpt-4.1"] = 500 } }
  expect(run.model, "gpt-4.1-mini")
  expect(run.degraded, false)
end)

test.each("another_provider_answers_while_one_is_down", {
  "network", "timeout", "overloaded", "server_error", "rate_limited", "quota", "credential", "bad_reply",
}, function(fault)
  local run = play { request = { prompt = "hi" }, providers = { openai = { error = fault } } }
  expect(run.provider, "anthropic")
end)

test("the_bronze_tier_starts_with_the_economical_models", function()
  expect(plan_of { request = { prompt = "hi", metadata = { tier = "bronze" } } }, ECONOMY_FIRST)
end)

test.each("a_day's_budget_that_runs_low_pays_for_economical_models_only", {
  { ["global/day"] = 45 }, { ["tenant/day"] = 4.5 },
}, function(budgets)
  expect(plan_of { budgets = budgets }, { "gpt-4.1-mini", "claude-haiku-4-5" })
end)

test("while_premium_is_slow_it_comes_last", function()
  for _ = 1, 20 do
    expect(plan_of { providers = { ["gpt-4.1"] = { after_ms = 4000 } } }, PREMIUM_FIRST)
  end
  expect(plan_of {}, ECONOMY_FIRST)
  expect(plan_of { after_ms = 600000 }, PREMIUM_FIRST)
end)

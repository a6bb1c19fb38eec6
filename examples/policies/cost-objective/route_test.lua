local MINUTE_MS = 60000

-- A reply for which gpt-4.1 takes so many tokens.
local function reply(tokens, after_ms)
  local answer = { usage = { prompt = tokens, completion = 10 } }
  return play {
    request = { prompt = "hi" },
    after_ms = after_ms,
    providers = { ["gpt-4.1"] = answer, ["gpt-4.1-mini"] = answer },
  }
end

test("replies_within_the_objective_are_premium", function()
  for _ = 1, 50 do
    expect(reply(1500).model, "gpt-4.1") -- 0.0031 USD each, of 0.004
  end
end)

test("when_replies_cost_more_than_was_promised_economical_models_answer", function()
  reply(3000) -- 0.0061 USD
  local run = reply(3000)
  expect(run.model, "gpt-4.1-mini")
  expect(run.hooks.route[1].why, "replies cost more than was promised")
end)

test("the_mean_of_dear_replies_stays_at_the_objective", function()
  local spent, premium = 0, 0
  for _ = 1, 100 do
    local run = reply(3000)
    spent = spent + run.cost_usd
    premium = premium + (run.model == "gpt-4.1" and 1 or 0)
  end
  expect(spent / 100 < 0.0041, true)
  expect(premium > 50, true)
end)

test("a_burn_of_six_minutes_ago_is_over", function()
  reply(3000)
  expect(reply(3000, 6 * MINUTE_MS).model, "gpt-4.1")
end)

test("errors_that_burn_are_no_reason_to_save", function()
  for _ = 1, 10 do
    play { request = { prompt = "hi" }, providers = { openai = 500, anthropic = 500 } }
  end
  expect(reply(1500).hooks.route[1].why, nil)
end)

local HOUR_MS = 3600000

local function after_spending(usd)
  return play { request = { prompt = "hi" }, budgets = { ["global/hour"] = usd } }
end

test("a_cheap_hour_has_premium_answers", function()
  expect(after_spending(1.49).model, "gpt-4.1")
end)

test("a_dear_hour_has_economical_ones", function()
  local run = after_spending(1.50)
  expect(run.model, "gpt-4.1-mini")
  expect(run.hooks.route[1].why, "1.50 USD this hour")
end)

test("at_the_wall_nothing_is_called_and_people_hear_when_to_come_again", function()
  local run = after_spending(2)
  expect(run.reason, "budget")
  expect(run.attempts, {})
  expect(run.retry_after_s, 3600) -- tests begin at noon
end)

test("the_next_hour_begins_anew", function()
  after_spending(2)
  expect(play({ request = { prompt = "hi" }, after_ms = HOUR_MS }).model, "gpt-4.1")
end)

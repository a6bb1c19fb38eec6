-- Tests begin on a Saturday at noon, UTC: one o'clock in the office.
local HOUR_MS = 3600000
local MONDAY_OPENS = 43 * HOUR_MS -- seven o'clock, UTC

local function at(after_ms, metadata)
  return play { request = { prompt = "hi", metadata = metadata }, after_ms = after_ms }
end

test("in_business_hours_premium_answers", function()
  expect(at(MONDAY_OPENS + HOUR_MS).model, "gpt-4.1")
end)

test.each("outside_of_them_nothing_is_called", { 0, 6, 24, 42, 53, 60, 53 + 4 * 24 }, function(hours)
  local run = at(hours * HOUR_MS)
  expect(run.hooks.budget, { { returned = "degrade", why = "closed" } })
  expect(run.attempts, {})
end)

test("it_opens_and_closes_on_the_minute", function()
  expect(at(MONDAY_OPENS - 60000).degraded, true)
  expect(at(60000).degraded, false)
  expect(at(10 * HOUR_MS - 120000).degraded, false)
  expect(at(120000).degraded, true)
end)

test("people_read_when_to_come_again", function()
  local run = at(MONDAY_OPENS - 2 * HOUR_MS)
  expect(run.text, "The assistant is back in about 2 hours. For what can't wait, mark the request as urgent.")
  expect(run.retry_after_s, 2 * 3600)
  expect(at(12 * HOUR_MS).retry_after_s, 14 * 3600) -- Monday evening
end)

test("over_a_weekend_programs_are_told_a_day", function()
  expect(at(0).retry_after_s, 86400)
end)

test("what_is_urgent_is_answered_by_the_economical_model", function()
  expect(at(0, { urgent = true }).model, "gpt-4.1-mini")
  expect(at(0, { urgent = "yes" }).degraded, true)
end)

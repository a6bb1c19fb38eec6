-- What brings each reason about.
local causes = {
  { "budget", { budgets = { ["global/day"] = 50 } } },
  { "breaker", { breakers = { ["gpt-4.1"] = "open", ["gpt-4.1-mini"] = "open", ["claude-haiku-4-5"] = "open" } } },
  { "deadline", { providers = { openai = { after_ms = 9000 }, anthropic = { after_ms = 9000 } } } },
  { "exhausted", { providers = { openai = 500, anthropic = 500 } } },
  { "filtered", { providers = { openai = { error = "filtered" } } } },
  { "policy", { providers = { openai = " " } } },
}

test.each("a_reason_has_its_own_words", causes, function(cause)
  local reason, given = cause[1], cause[2]
  given.request = { prompt = "hi" }
  local run = play(given)
  expect(run.reason, reason)
  expect(run.status, 200)
  expect(run.text:match "%(request req_%w+%)$" ~= nil, true)
  expect(run.text:find("{{", 1, true), nil)
  expect(run.hooks.degrade, { { returned = "nothing" } })
end)

test("callers_may_ask_for_an_error_instead", function()
  local run = play {
    request = { prompt = "hi", metadata = { on_degraded = "error" } },
    providers = { openai = 500, anthropic = 500 },
  }
  expect(run.status, 503)
  expect(run.degraded, true)
  expect(run.hooks.degrade, { { returned = "status 503", why = "the caller asked for an error" } })
end)

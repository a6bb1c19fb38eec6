local THOUSAND = ("word "):rep(1000)

test("a_short_question_gets_a_premium_answer_under_a_cent", function()
  local run = play { request = { prompt = "How do I reset my VPN token?" } }
  expect(run.model, "gpt-4.1")
  expect(run.hooks.budget, { { returned = "nothing" } })
  expect(run.cost_usd < 0.01, true)
end)

test("a_long_prompt_is_left_to_an_economical_model", function()
  local run = play { request = { prompt = THOUSAND:rep(3) } }
  expect(run.hooks.budget[1].returned, "next")
  expect(run.skipped, { { model = "gpt-4.1", why = "budget" } })
  expect(run.model, "gpt-4.1-mini")
end)

test.each("the_longest_answer_to_any_prompt_costs_less_than_a_cent", { 0, 1, 2, 4, 7 }, function(thousands)
  local long = { text = THOUSAND:rep(2) }
  local run = play {
    request = { prompt = "Why?" .. THOUSAND:rep(thousands) },
    providers = { openai = { long }, anthropic = { long } },
  }
  expect(run.finish_reason, "length")
  expect(run.cost_usd < 0.01, true)
end)

test.each("so_does_one_of_the_last_fallback", { 0, 1, 2 }, function(thousands)
  local run = play {
    request = { prompt = "Why?" .. THOUSAND:rep(thousands) },
    providers = { openai = 500, anthropic = { text = THOUSAND:rep(2) } },
  }
  expect(run.model, "claude-haiku-4-5")
  expect(run.cost_usd < 0.01, true)
end)

test("lost_attempts_do_not_take_a_request_over_its_cap", function()
  local lost = { error = "network", after_ms = 100 }
  local run = play { request = { prompt = THOUSAND }, providers = { openai = lost, anthropic = lost } }
  expect(run.degraded, true)
  expect(run.cost_usd > 0, true)
  expect(run.cost_usd <= 0.02, true)
end)

test("a_tenant_whose_day_is_used_up_gets_the_degraded_reply", function()
  local run = play { request = { prompt = "hi" }, budgets = { ["tenant/day"] = 5 } }
  expect(run.status, 200)
  expect(run.reason, "budget")
  expect(run.attempts, {})
  expect(run.retry_after_s, 12 * 3600) -- tests play at noon
end)

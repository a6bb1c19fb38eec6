-- ~4 bytes a token.
local function words(tokens)
  return ("word "):rep(tokens)
end

test("an_ordinary_question_is_admitted", function()
  local run = play { request = { prompt = "How do I reset my VPN token?" } }
  expect(run.status, 200)
  expect(run.hooks.admit, { { returned = "nothing" } })
end)

test("a_prompt_that_no_affordable_model_takes_is_refused_before_it_costs", function()
  local run = play { request = { prompt = words(9000) } }
  expect(run.status, 413)
  expect(run.error.type, "too_large")
  expect(run.cost_usd, 0)
  expect(run.attempts, {})
end)

test("context_that_may_be_left_out_does_not_count", function()
  local request = { prompt = "Why?", context = { { id = "kb-1", text = words(9000) } } }
  expect(play({ request = request }).status, 200)
  request.context[1].pinned = true
  expect(play({ request = request }).status, 413)
end)

test("an_answer_goes_out_as_it_is", function()
  local run = play { request = { prompt = "hi" }, providers = { openai = "  Hello.\n" } }
  expect(run.text, "  Hello.\n")
  expect(run.hooks.respond, { { returned = "nothing" } })
end)

test("a_blank_answer_becomes_the_degraded_reply", function()
  local run = play { request = { prompt = "hi" }, providers = { openai = " \n\t" } }
  expect(run.hooks.respond, { { returned = "degrade", why = "the answer is blank" } })
  expect(run.degraded, true)
  expect(run.reason, "policy")
end)

test("what_is_personal_is_taken_out_everywhere", function()
  local run = play {
    request = {
      system = "You answer for ann@example.org.",
      prompt = "Call me at +44 20 7946 0958.",
      context = { { id = "a", text = "Paid with 4111 1111 1111 1111 by bob.b+x@mail.example.com." } },
    },
  }
  expect(run.hooks.admit, { { returned = "nothing", why = "4 redacted" } })
  expect(run.status, 200)
end)

test("an_ordinary_question_is_left_alone", function()
  local run = play { request = { prompt = "What do 12 users at 3 @ each cost in 2026?" } }
  expect(run.hooks.admit, { { returned = "nothing" } })
end)

test("a_text_that_is_made_to_be_slow_is_redacted_all_the_same", function()
  local nasty = ("a"):rep(50000) .. "@" .. ("1 "):rep(20000) .. "x@y.example"
  local run = play { request = { prompt = nasty } }
  expect(run.hooks.admit[1].why, "2 redacted")
end)

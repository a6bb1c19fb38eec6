local function asks(conversation, given)
  given = given or {}
  given.request = { prompt = "hi", metadata = { conversation = conversation } }
  return play(given)
end

test("a_conversation_stays_with_its_model", function()
  for i = 1, 10 do
    local first = asks("c" .. i).model
    expect(asks("c" .. i, { after_ms = 3600000 }).model, first)
  end
end)

test("conversations_are_shared_out_by_weight", function()
  local mini = 0
  for i = 1, 90 do
    if asks("c" .. i).model == "gpt-4.1-mini" then mini = mini + 1 end
  end
  expect(mini > 45 and mini < 75, true)
end)

test("while_its_model_is_down_another_answers", function()
  for i = 1, 5 do
    expect(asks("c" .. i, { providers = { openai = 500 } }).model, "claude-haiku-4-5")
  end
end)

test.each("what_is_no_id_of_a_conversation_goes_by_caller", { false, 7, {} }, function(id)
  expect(asks(id).status, 200)
  expect(asks(id).plan, asks(nil).plan)
end)

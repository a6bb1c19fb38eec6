-- About a thousand tokens.
local THOUSAND = ("word "):rep(1000)

local function item(id, priority, thousands, pinned)
  return { id = id, text = THOUSAND:rep(thousands), priority = priority, pinned = pinned }
end

-- Premium is too dear for prompts of this size, so that gpt-4.1-mini gets what fits it.
local function dropped(context)
  local run = play { request = { prompt = "Why?", context = context } }
  expect(run.model, "gpt-4.1-mini")
  return run.dropped
end

test("nothing_is_dropped_from_a_prompt_that_fits", function()
  local run = play { request = { prompt = "Why?", context = { item("a", 1, 2), item("b", 2, 2) } } }
  expect(run.dropped, {})
  expect(run.hooks.truncate, {})
end)

test("the_lowest_priority_goes_first", function()
  expect(dropped { item("low", 1, 4), item("high", 3, 4), item("middle", 2, 3) }, { "low" })
end)

test("what_is_pinned_stays_whatever_its_priority", function()
  expect(dropped { item("low", 1, 4, true), item("high", 3, 4), item("middle", 2, 3) }, { "middle" })
end)

test("of_equal_priority_the_shorter_ones_stay", function()
  expect(dropped { item("long", 1, 7), item("short", 1, 4), item("shorter", 1, 3) }, { "long" })
end)

test("a_short_item_takes_the_room_that_a_long_one_could_not", function()
  expect(dropped { item("first", 9, 5), item("long", 5, 6), item("short", 1, 2) }, { "long" })
end)

local MODELS = { ["arm A"] = "gpt-4.1-mini", ["arm B"] = "claude-haiku-4-5" }

local function asks(user, given)
  given = given or {}
  given.request = { prompt = "hi", system = "Be kind.", metadata = { user = user } }
  return play(given)
end

local function arm_of(run) return run.hooks.admit[1].why end

test("a_user_stays_in_its_arm", function()
  for i = 1, 10 do
    local arm = arm_of(asks("user" .. i))
    expect(arm_of(asks("user" .. i, { after_ms = 3600000 })), arm)
  end
end)

test("about_half_of_the_users_are_in_each", function()
  local a = 0
  for i = 1, 100 do
    if arm_of(asks("user" .. i)) == "arm A" then a = a + 1 end
  end
  expect(a > 35 and a < 65, true)
end)

test("the_plan_follows_the_arm", function()
  for i = 1, 10 do
    local run = asks("user" .. i)
    expect(run.hooks.route[1].why, arm_of(run))
    expect(run.model, MODELS[arm_of(run)])
  end
end)

test("when_one_arm_is_down_the_other_answers", function()
  for i = 1, 5 do
    expect(asks("user" .. i, { providers = { openai = 500 } }).model, "claude-haiku-4-5")
  end
end)

local TENANTS = { "acme", "bergamo", "cobalt", "dynamo", "everest" }

local function asks(tenant, given)
  given = given or {}
  given.request = { tenant = tenant, prompt = "hi" }
  return play(given)
end

local function first_where(canary)
  for _, tenant in ipairs(TENANTS) do
    if (asks(tenant).hooks.route[1].why == "canary") == canary then return tenant end
  end
end

test("some_tenants_try_the_canary_and_some_do_not", function()
  expect(asks(first_where(true)).model, "gpt-4.1-mini")
  expect(asks(first_where(false)).plan, { "gpt-4.1" })
end)

test("a_tenant_stays_on_its_side", function()
  for _, tenant in ipairs(TENANTS) do
    local plan = asks(tenant).plan
    expect(asks(tenant, { after_ms = 86400000 }).plan, plan)
  end
end)

test("when_the_canary_fails_the_stable_model_answers", function()
  expect(asks(first_where(true), { providers = { ["gpt-4.1-mini"] = 500 } }).model, "gpt-4.1")
end)

test("a_canary_that_errs_is_left_alone_until_it_is_forgotten", function()
  local tenant = first_where(true)
  for _ = 1, 20 do
    asks(tenant, { providers = { ["gpt-4.1-mini"] = { error = "bad_reply" } } })
  end
  local run = asks(tenant)
  expect(run.hooks.route[1].why, "the canary does not do well")
  expect(run.plan, { "gpt-4.1" })
  expect(asks(tenant, { after_ms = 86400000 }).hooks.route[1].why, "canary")
end)

local function asks(tenant, given)
  given = given or {}
  given.request = { tenant = tenant, prompt = "hi", metadata = { tier = "gold" } }
  return play(given)
end

test("a_gold_tenant_gets_the_premium_model", function()
  local run = asks("acme")
  expect(run.model, "gpt-4.1")
  expect(run.attempts[1].max_tokens, 1024)
end)

test("a_gold_tenant_falls_back_before_it_degrades", function()
  expect(asks("acme", { providers = { ["gpt-4.1"] = 500 } }).model, "gpt-4.1-mini")
end)

test("nobody_becomes_gold_by_saying_so", function()
  local run = asks("bergamo")
  expect(run.plan, { "gpt-4.1-mini", "claude-haiku-4-5" })
  expect(run.attempts[1].max_tokens, 400)
end)

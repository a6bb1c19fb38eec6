-- Decides which models are tried: premium first for gold tenants, economical ones alone for others.
local gold = require "lib.gold"

---@type neap.route
local function route(req)
  if gold[req.tenant] then
    return { "gpt-4.1", "gpt-4.1-mini", "claude-haiku-4-5" }, "gold tenant"
  end
  return { { model = "gpt-4.1-mini", max_tokens = 400 }, { model = "claude-haiku-4-5", max_tokens = 400 } }
end

return route

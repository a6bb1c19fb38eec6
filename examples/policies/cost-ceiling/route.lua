-- Decides which models are tried: premium while the hour is cheap, economical ones from three quarters on.
local CALM_USD = 1.50 -- of the 2 USD in budgets.lua

---@type neap.route
local function route(_)
  local spent = stats.cost_usd("global", "hour") or 0
  if spent >= CALM_USD then
    return { "gpt-4.1-mini", "claude-haiku-4-5" }, ("%.2f USD this hour"):format(spent)
  end
  return { "gpt-4.1", "gpt-4.1-mini", "claude-haiku-4-5" }
end

return route

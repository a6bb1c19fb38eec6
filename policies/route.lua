-- Decides which models are tried, in which order: premium first, economical as fallback; economical
-- first for the bronze tier and while premium is slow, alone once a day's budget runs low.
local plan = require "lib.plan"

local PREMIUM = { "gpt-4.1" }
local ECONOMY = { "gpt-4.1-mini", "claude-haiku-4-5" }
local SLOW_MS = 2500 -- the objective for p95 in endpoints.lua

-- Whether more than four fifths of a budget are spent.
local function low(account)
  local left, spent = budget.remaining(account), stats.cost_usd(account)
  return left and spent and left < spent / 4
end

return function(req)
  if low("global/day") or low("tenant:" .. req.tenant .. "/day") then
    return ECONOMY, "a day's budget runs low"
  end
  if req.metadata and req.metadata.tier == "bronze" then
    return plan.join(ECONOMY, PREMIUM), "bronze tier"
  end
  if (stats.p95(PREMIUM[1]) or 0) > SLOW_MS then
    return plan.join(ECONOMY, PREMIUM), "premium is slow"
  end
  return plan.join(PREMIUM, ECONOMY), "premium first"
end

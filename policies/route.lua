-- Decides which models are tried, in which order: premium first, then the economical ones; economical
-- first for bronze tenants, and for everybody while the objective for cost burns.
local plan = require "lib.plan"

local PREMIUM = { "gpt-4.1" }
local ECONOMY = { "gpt-4.1-mini", "claude-haiku-4-5" }

-- A burn of 2 uses up the budget of the objectives twice as fast as allowed.
local BURNING = 2

return function(req)
  if req.metadata and req.metadata.tier == "bronze" then
    return plan.join(ECONOMY, PREMIUM), "bronze tier"
  end
  local spent = stats.cost_usd("global", "day")
  local left = budget.remaining("global/day")
  if spent and left and left < spent * 0.25 then
    return ECONOMY, "the day's budget is nearly used up"
  end
  if (stats.burn(req.endpoint) or 0) > BURNING then
    return plan.join(ECONOMY, PREMIUM), "objectives are burning"
  end
  return plan.join(PREMIUM, ECONOMY), "premium first"
end

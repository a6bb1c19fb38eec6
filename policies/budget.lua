-- Decides whether an attempt is worth its price: one that is likely to cost more than 0.01 USD, the
-- objective for a reply, is left to the next, cheaper model.
local MOST_USD = 0.01

-- What several attempts may cost together is max_cost_usd in endpoints.lua: no hook can lift it.
return function(_, candidate)
  if candidate.estimated_usd > MOST_USD then
    return "next", ("likely %.4f USD"):format(candidate.estimated_usd)
  end
end

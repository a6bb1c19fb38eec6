-- Decides whether an attempt is worth its price: a premium answer that would probably cost more than
-- the objective for a reply is left to the next, cheaper candidate.
local OBJECTIVE_USD = 0.01

return function(_, candidate)
  if candidate.tier == "premium" and candidate.estimated_usd > OBJECTIVE_USD then
    return "next", ("probably %.4f USD"):format(candidate.estimated_usd)
  end
end

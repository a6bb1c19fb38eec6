-- Decides which models are tried: of those that work, the cheapest first into which the request fits.
local order = require "lib.order"

local MODELS = { "gpt-4.1-mini", "claude-haiku-4-5", "gpt-4.1" }

---@type neap.route
local function route(_)
  local working = {}
  for _, model in ipairs(MODELS) do
    if breaker.state(model) ~= "open" then working[#working + 1] = model end
  end
  if #working == 0 then return nil, "none works" end
  return order.by_cost(working)
end

return route

-- Decides whether an attempt is worth its price: outside of business hours only what is urgent is.
local clock = require "lib.clock"

---@type neap.budget
local function budget_hook(req)
  if not clock.is_open() and req.metadata.urgent ~= true then
    return "degrade", "closed"
  end
end

return budget_hook

-- Decides which models are tried: premium in business hours, the economical one outside of them.
local clock = require "lib.clock"

---@type neap.route
local function route(_)
  if clock.is_open() then return { "gpt-4.1", "gpt-4.1-mini" } end
  return { "gpt-4.1-mini" }, "outside of business hours"
end

return route

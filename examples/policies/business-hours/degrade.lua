-- Decides what people read when nothing answered: while the office is closed, when it opens.
local clock = require "lib.clock"

---@type neap.degrade
local function degrade(_, reason)
  if reason ~= "budget" or clock.is_open() then return nil end -- budget.lua's word
  local wait_s = clock.opens_in_s()
  return {
    text = template("closed", { hours = math.max(1, wait_s // 3600) }),
    retry_after_s = math.min(wait_s, 86400), -- the most that a reply may say
  }
end

return degrade

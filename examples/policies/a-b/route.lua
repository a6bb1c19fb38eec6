-- Decides which models are tried: that of the request's arm, then that of the other one.
local arms = require "lib.arms"

---@type neap.route
local function route(req)
  if req.tags.arm == "B" then return { arms.B.model, arms.A.model }, "arm B" end
  return { arms.A.model, arms.B.model }, "arm A"
end

return route

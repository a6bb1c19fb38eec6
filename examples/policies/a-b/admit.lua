-- Decides in which arm of the experiment a request is, and notes it for the decision record.
local arms = require "lib.arms"

-- Users are known by what the application calls them, else by their tenant.
local function user_of(req)
  local user = req.metadata.user
  return type(user) == "string" and user or req.tenant
end

---@type neap.admit
local function admit(req)
  local a, b = arms.A, arms.B
  local model = pick { { a.model, b.model }, weights = { a.weight, b.weight }, sticky = user_of(req) }
  local name = model == a.model and "A" or "B"
  req.tags = { arm = name }
  if arms[name].instruction then
    req.system = (req.system and req.system .. "\n" or "") .. arms[name].instruction
  end
  return nil, "arm " .. name
end

return admit

-- Decides which models are tried: the canary first for some of the tenants, while it does well.
local STABLE, CANARY = "gpt-4.1", "gpt-4.1-mini"
local SHARE = 1 / 3
local ERRORS = 0.05 -- a canary that errs more often is left alone

---@type neap.route
local function route(req)
  local model = pick { { STABLE, CANARY }, weights = { 1 - SHARE, SHARE }, sticky = "canary " .. req.tenant }
  if model == STABLE then return { STABLE } end
  if (stats.error_rate(CANARY) or 0) > ERRORS then
    return { STABLE }, "the canary does not do well"
  end
  return { CANARY, STABLE }, "canary"
end

return route

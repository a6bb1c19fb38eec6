-- Decides which models are tried, in which order: premium first for the gold tier, else economical first.

---@type neap.route
local function route(req)
  if req.metadata.tier == "gold" then
    return { "gpt-4.1", "gpt-4.1-mini" }, "gold tier"
  end
  return { "gpt-4.1-mini", "claude-haiku-4-5" }, "economical first"
end

return route

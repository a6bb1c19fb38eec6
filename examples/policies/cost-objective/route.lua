-- Decides which models are tried: premium while replies cost what was promised, economical ones while they cost more.
local function burns(endpoint, window)
  return (stats.burn(endpoint, "cost_usd", window) or 0) > 1
end

---@type neap.route
local function route(req)
  -- The hour, so that it matters; the five minutes, so that it is still so.
  if burns(req.endpoint, "1h") and burns(req.endpoint, "5m") then
    return { "gpt-4.1-mini", "claude-haiku-4-5" }, "replies cost more than was promised"
  end
  return { "gpt-4.1", "gpt-4.1-mini", "claude-haiku-4-5" }
end

return route

-- Decides what follows a failed attempt: when the first one was slow, cost money or asks for patience,
-- the next model answers at once; all else goes by neap's table.
local PATIENCE_MS = 500

return function(_, attempt)
  if attempt.number > 1 then return end
  if attempt.class == "timeout" or attempt.cost_usd > 0 then
    return "next", "slow or paid for, not to be repeated"
  end
  local wait_ms = attempt.retry_after_ms or 0
  if wait_ms > PATIENCE_MS then
    return "next", ("it wants %d ms of patience"):format(wait_ms)
  end
end

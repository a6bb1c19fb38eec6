-- Decides what follows a failed attempt: a model that was slow, or asks for patience, is not waited for. All
-- else goes by neap's own table.
local PATIENCE_MS = 500

---@type neap.retry
local function retry(_, attempt)
  if attempt.class == "timeout" or (attempt.retry_after_ms or 0) > PATIENCE_MS then
    return "next", "no time to wait"
  end
end

return retry

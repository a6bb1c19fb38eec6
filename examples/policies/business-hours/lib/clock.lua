-- The office's time of day. Policies know UTC alone: the offset is yours, and changes with summer time.
local M = {}

local UTC_OFFSET_H = 1
local OPENS_H, CLOSES_H = 8, 18
local HOUR_MS, DAY_MS = 3600000, 86400000

-- Day of the week (1 is Monday) and milliseconds since midnight. 1970 began on a Thursday.
local function today()
  local ms = now_ms() + UTC_OFFSET_H * HOUR_MS
  return (ms // DAY_MS + 3) % 7 + 1, ms % DAY_MS
end

function M.is_open()
  local day, ms = today()
  return day <= 5 and ms >= OPENS_H * HOUR_MS and ms < CLOSES_H * HOUR_MS
end

-- Seconds until it opens next, while it is closed.
function M.opens_in_s()
  local day, ms = today()
  local days = ms < OPENS_H * HOUR_MS and 0 or 1
  while (day + days - 1) % 7 + 1 > 5 do days = days + 1 end
  return (days * DAY_MS + OPENS_H * HOUR_MS - ms) // 1000
end

return M

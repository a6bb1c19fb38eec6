-- Takes mail addresses and long numbers out of a text.
local M = {}

local NAME_BYTES, HOST_BYTES = 64, 253 -- the longest that either side of an address may be
local DIGITS = 9 -- numbers of so many digits are somebody's

-- The text without addresses, and how many there were. Each is looked for around its @ alone.
local function without_emails(text)
  local out, from, n = {}, 1, 0
  local at = text:find("@", 1, true)
  while at do
    local name = text:sub(math.max(from, at - NAME_BYTES), at - 1):reverse():match "^[%w._%%+-]+"
    local host = text:sub(at + 1, at + HOST_BYTES):match "^[%w.-]*%w"
    if name and host and host:find(".", 1, true) then
      out[#out + 1] = text:sub(from, at - #name - 1)
      from, n = at + #host + 1, n + 1
    end
    at = text:find("@", math.max(at + 1, from), true)
  end
  out[#out + 1] = text:sub(from)
  return table.concat(out, "[email]"), n
end

local function without_numbers(text)
  local n = 0
  local rest = text:gsub("%d[%d -]*", function(run)
    local _, digits = run:gsub("%d", "")
    if digits < DIGITS then return nil end
    n = n + 1
    return "[number]" .. run:match "[ -]*$"
  end)
  return rest, n
end

-- The text as a provider may read it, and how much was taken out.
function M.redact(text)
  local addresses, numbers
  text, addresses = without_emails(text)
  text, numbers = without_numbers(text)
  return text, addresses + numbers
end

return M

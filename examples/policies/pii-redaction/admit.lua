-- Decides what of a request leaves the house: texts without mail addresses and long numbers.
local redact = require("lib.redact").redact

-- Changes a field of an entry where there is something to change; says how much.
local function clean(entry, name)
  local text, n = redact(entry[name])
  if n > 0 then entry[name] = text end
  return n
end

---@type neap.admit
local function admit(req)
  local n = 0
  for _, message in ipairs(req.messages) do n = n + clean(message, "content") end
  for _, item in ipairs(req.context) do n = n + clean(item, "text") end
  if req.system then n = n + clean(req, "system") end
  if n == 0 then return nil end
  req.tags = { redacted = n }
  return nil, n .. " redacted"
end

return admit

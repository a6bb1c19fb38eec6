-- What an instance holds of one account and window goes back, as though it had said so itself. Should it
-- live after all, lease.lua grants it the same again when it speaks.
--
-- KEYS: the hash of lease.lua. ARGV: instance, how long a lease lasts in ms.
--
-- Answers {word, amount}. word: "ok"; "none": it holds nothing here; "alive": its lease may not have run
-- out; "lost": the server lost something of late, and who lives has not all spoken.

local key, id, lease_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])

if redis.replicate_commands then redis.replicate_commands() end

local clock = redis.call("TIME")
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local fields = redis.call("HMGET", key, "g:" .. id, "r:" .. id, "s:" .. id, "t:" .. id, "lost")
local granted, returned, settled = fields[1], fields[2] or "0", fields[3] or "0"
local heard, lost = fields[4], tonumber(fields[5] or "0")

-- a - b where that is below 2^53: numbers of Lua are exact to there only.
local function minus(a, b)
  local ah, al = tonumber(a:sub(1, -10)) or 0, tonumber(a:sub(-9))
  local bh, bl = tonumber(b:sub(1, -10)) or 0, tonumber(b:sub(-9))
  return (ah - bh) * 1000000000 + (al - bl)
end

if not granted then return { "none", "0" } end
if heard and now - tonumber(heard) < lease_ms then return { "alive", "0" } end
if lost > 0 and now - lost < lease_ms then return { "lost", "0" } end

local amount = minus(granted, returned) - minus(settled, "0")
if amount <= 0 then return { "none", "0" } end
local text = string.format("%.0f", amount)
redis.call("HINCRBY", key, "r:" .. id, text)
redis.call("HINCRBY", key, "x:" .. id, text)
redis.call("HINCRBY", key, "seq", 1)
return { "ok", text }

-- One account and window in Redis: a hash with, for each instance i, what it was granted (g:i), gave
-- back (r:i) and settled (s:i); its boot (b:i), nonce (n:i), the time of its last call (t:i), the epoch
-- in which it last told all it knew (e:i), what was given back in its name (x:i) and how much of that was
-- granted to it once more (w:i). Amounts are decimal strings of up to 19 digits: a
-- number of Lua is exact to 2^53 only, so they are compared as text, taken apart to be subtracted, and
-- added by HINCRBY.
--
-- KEYS: the hash. ARGV: instance, boot, nonce, run (of the server), epoch and seq that the caller
-- knows ("" none), an epoch to begin with, limit, need, want, start and end of the window in ms ("" no
-- end), how long a lease lasts, how long everybody has to speak after a loss, how long the hash is
-- kept, how many ms ago the server may have lost what it knew (-1: it has not), the number of vectors; then
-- for each: instance, granted, returned, settled.
--
-- Answers {word, epoch, seq, now, waiting, live, then instance, granted, returned, settled for each}.
-- word: "ok", or "older" or "copied": the caller's journal is not the one that goes on.

local key = KEYS[1]
local me, boot, nonce, run = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local known_epoch, known_seq, fresh = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local limit, need, want = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local first, last = tonumber(ARGV[11]), tonumber(ARGV[12])
local lease_ms, speak_ms, keep_ms = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])
local lost_ago, told = tonumber(ARGV[16]), tonumber(ARGV[17])

if redis.replicate_commands then redis.replicate_commands() end

local clock = redis.call("TIME")
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local hash = {}
local pairs_of = redis.call("HGETALL", key)
for i = 1, #pairs_of, 2 do hash[pairs_of[i]] = pairs_of[i + 1] end

local function set(field, value)
  hash[field] = tostring(value)
  redis.call("HSET", key, field, hash[field])
end

local function larger(a, b)
  if #a ~= #b then return #a > #b and a or b end
  return a > b and a or b
end

-- a - b where that is below 2^53.
local function minus(a, b)
  local ah, al = tonumber(a:sub(1, -10)) or 0, tonumber(a:sub(-9))
  local bh, bl = tonumber(b:sub(1, -10)) or 0, tonumber(b:sub(-9))
  return (ah - bh) * 1000000000 + (al - bl)
end

local function whole(n) return string.format("%.0f", n) end

-- A later life of this instance, or another process with a copy of its journal, goes on.
local there = tonumber(hash["b:" .. me] or "0")
if there > boot then return { "older" } end
if there == boot and hash["n:" .. me] ~= nonce then return { "copied" } end
if there < boot then
  set("b:" .. me, boot)
  set("n:" .. me, nonce)
end

-- A loss: the server began anew or went back. Everybody has to say again what they know.
local function regress(at)
  if hash.epoch then set("p:" .. hash.epoch, 1) end
  set("epoch", fresh)
  set("run", run)
  set("lost", at)
end

if not hash.epoch then
  regress((known_epoch ~= "" and now) or (lost_ago >= 0 and now - lost_ago) or 0)
  set("seq", known_epoch ~= "" and known_seq or 0)
elseif hash.run ~= run then
  regress(now)
elseif known_epoch ~= "" and known_epoch ~= hash.epoch and not hash["p:" .. known_epoch] then
  regress(now)
elseif known_epoch == hash.epoch and known_seq > tonumber(hash.seq) then
  regress(now)
end

local changed = false

-- Something was given back in this instance's name: somebody thought it dead (release.lua). It may hold that
-- still, so as much as it does not know of is granted to it once more, above the limit if need be. That it
-- says less than is known is not enough: a call that was long under way does so too.
local function take_back(says)
  local released, done = hash["x:" .. me], hash["w:" .. me] or "0"
  if not released or larger(released, done) == done then return end
  local amount = math.min(minus(released, done), minus(hash["r:" .. me] or "0", says))
  set("w:" .. me, released)
  if amount > 0 then
    redis.call("HINCRBY", key, "g:" .. me, whole(amount))
    hash["g:" .. me] = redis.call("HGET", key, "g:" .. me)
    changed = true
  end
end

for i = 1, told do
  local at = 17 + (i - 1) * 4
  local id = ARGV[at + 1]
  for j, kind in ipairs({ "g:", "r:", "s:" }) do
    local field, value = kind .. id, ARGV[at + 1 + j]
    local old = hash[field]
    if not old or larger(old, value) ~= old then
      set(field, value)
      changed = true
    end
  end
  if id == me then take_back(ARGV[at + 3]) end
end
set("e:" .. me, hash.epoch)
set("t:" .. me, now)

-- Calls that are under way end with their instance: who has not spoken for the length of a lease holds none.
local calls = key:sub(1, 12) == "neap:{calls:"

local function over(id)
  return calls and id ~= me and now - tonumber(hash["t:" .. id] or "0") >= lease_ms
end

-- Who there is, and what they hold of the limit.
local ids, live, held, silent = {}, 0, 0, false
for field, value in pairs(hash) do
  local kind, id = field:sub(1, 2), field:sub(3)
  if kind == "g:" and not over(id) then
    ids[#ids + 1] = id
    local leased = minus(value, hash["r:" .. id] or "0")
    held = held + math.max(leased, minus(hash["s:" .. id] or "0", "0"))
    if hash["e:" .. id] ~= hash.epoch then silent = true end
  elseif kind == "t:" and now - tonumber(value) < lease_ms then
    live = live + 1
  end
end

local waiting = 0
local lost = tonumber(hash.lost)
if lost > 0 then
  local since = now - lost
  if since < speak_ms or (silent and since < lease_ms) then
    waiting = 1
  else
    set("lost", 0)
  end
end

local open = now >= first and (not last or now < last)
if open and waiting == 0 and want > 0 then
  local left = math.max(0, limit - held)
  local share = math.floor(left / 2 / math.max(1, live))
  local grant = math.min(left, math.max(need, math.min(want, share)))
  if grant > 0 then
    redis.call("HINCRBY", key, "g:" .. me, whole(grant))
    hash["g:" .. me] = redis.call("HGET", key, "g:" .. me)
    changed = true
  end
end
if changed then
  redis.call("HINCRBY", key, "seq", 1)
  hash.seq = redis.call("HGET", key, "seq")
end
if last then redis.call("PEXPIREAT", key, whole(last + keep_ms)) end

local answer = { "ok", hash.epoch, hash.seq, whole(now), tostring(waiting), tostring(live) }
for _, id in ipairs(ids) do
  answer[#answer + 1] = id
  answer[#answer + 1] = hash["g:" .. id]
  answer[#answer + 1] = hash["r:" .. id] or "0"
  answer[#answer + 1] = hash["s:" .. id] or "0"
end
return answer

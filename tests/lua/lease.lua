-- src/ledger/lease.lua, the script that Redis runs, against a fleet in virtual time: instances that spend,
-- crash, stop and lose replies, on a store that is lost or goes back to an old snapshot. What they really
-- spent is held against the limit.
--
-- ctest: timeout 180
-- NEAP_SEEDS=2000 runs that many fleets of each size; 25 unless said. lease_long.lua has more.

local harness = require "lib.harness"
local test, equal = harness.test, harness.equal

local root = os.getenv "NEAP_SOURCE" or "."
local LIMIT, CHUNK, STEP_MS, STEPS = 1000, 40, 500, 600
local LEASE_MS, SPEAK_MS = 30000, 5000
local SEEDS = package.loaded["lease seeds"] or tonumber(os.getenv "NEAP_SEEDS" or "25")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local source = read(root .. "/src/ledger/lease.lua")
local source_release = read(root .. "/src/ledger/release.lua")

-- --- a server -----------------------------------------------------------------------------------------

local function copy(of)
  local out = {}
  for key, value in pairs(of) do out[key] = value end
  return out
end

local function server_new(clock)
  return { hash = {}, run = "run1", runs = 1, clock = clock }
end

-- The script is loaded once; `now_at` is the server that it runs on.
local now_at
local commands = {
  TIME = function()
    local now = now_at.clock.now
    return { tostring(now // 1000), tostring(now % 1000 * 1000) }
  end,
  HGETALL = function()
    local out = {}
    for field, value in pairs(now_at.hash) do out[#out + 1], out[#out + 2] = field, value end
    return out
  end,
  HGET = function(field) return now_at.hash[field] end,
  HMGET = function(...)
    local out = {}
    for k, field in ipairs { ... } do out[k] = now_at.hash[field] or false end
    return out
  end,
  HSET = function(field, value) now_at.hash[field] = value end,
  HINCRBY = function(field, by)
    local old = math.tointeger(tonumber(now_at.hash[field] or "0"))
    now_at.hash[field] = tostring(old + math.tointeger(tonumber(by)))
  end,
  PEXPIREAT = function() end,
}
local env = {
  redis = { call = function(name, _, ...) return commands[name](...) end }, KEYS = { "key" }, tonumber = tonumber,
  tostring = tostring, math = math, string = string, pairs = pairs, ipairs = ipairs,
}
local script = assert(load(source, "=lease.lua", "t", env))
local release = assert(load(source_release, "=release.lua", "t", env))

local function server_call(server, argv)
  now_at, env.ARGV = server, argv
  return script()
end

-- What `neap ledger release` does: word and amount.
local function server_release(server, id)
  now_at, env.ARGV = server, { id, tostring(LEASE_MS + 2000) }
  local answer = release()
  return answer[1], math.tointeger(tonumber(answer[2]))
end

-- The server comes back with what it knew at a snapshot, or with nothing.
local function server_restart(server, snapshot)
  server.hash = copy(snapshot)
  server.runs = server.runs + 1
  server.run = "run" .. server.runs
end

-- --- an instance, as store_redis.c is one --------------------------------------------------------------

local function instance_new(id)
  return {
    id = id, boot = 1, nonce = "n1", journal = { [id] = { g = 0, r = 0, s = 0 } }, epoch = "", seq = 0,
    free = 0, spent = 0, until_ms = 0, wakes = 0, beat = 0, fresh = 0,
  }
end

local function own(i) return i.journal[i.id] end

local function args(i, server, now, need, variant)
  if i.run ~= server.run then
    i.suspect = i.run and now or nil
    i.run = server.run
  end
  local ago = i.suspect and now - i.suspect or -1
  i.fresh = i.fresh + 1
  local argv = {
    i.id, i.boot, i.nonce, server.run, i.epoch, i.seq, ("%s.%d.%d"):format(i.id, i.boot, i.fresh), LIMIT, need,
    need, 0, "", variant.lease_ms, variant.speak_ms, 1000, ago < SPEAK_MS and ago or -1, 0,
  }
  for id, v in pairs(i.journal) do
    if variant.whole or id == i.id then
      argv[17] = argv[17] + 1
      for _, x in ipairs { id, v.g, v.r, v.s } do argv[#argv + 1] = x end
    end
  end
  for k, v in ipairs(argv) do argv[k] = tostring(v) end
  return argv
end

-- Journals all that was answered; then a grant may be spent.
local function take(i, answer, began)
  i.epoch, i.seq = answer[2], math.tointeger(tonumber(answer[3]))
  for at = 7, #answer, 4 do
    local id = answer[at]
    local v = i.journal[id] or { g = 0, r = 0, s = 0 }
    local g = math.tointeger(tonumber(answer[at + 1]))
    if id == i.id then i.free = i.free + g - v.g - math.max(0, math.tointeger(tonumber(answer[at + 2])) - v.r) end
    v.g = math.max(v.g, g)
    v.r = math.max(v.r, math.tointeger(tonumber(answer[at + 2])))
    v.s = math.max(v.s, math.tointeger(tonumber(answer[at + 3])))
    i.journal[id] = v
  end
  i.until_ms = began + LEASE_MS
  i.beat = began
end

local function lease(fleet, i, need, lost)
  local argv = args(i, fleet.server, fleet.clock.now, need, fleet.variant)
  local answer = server_call(fleet.server, argv)
  fleet.spoke[i.id] = fleet.clock.now
  if answer[1] == "ok" and not lost then take(i, answer, fleet.clock.now) end
end

local function crash(i)
  local v = own(i)
  i.boot, i.nonce, i.free = i.boot + 1, "n" .. i.boot + 1, 0
  v.s = math.max(v.s, v.g - v.r) -- presumed
end

local function spend(fleet, i)
  local amount = math.min(i.free, fleet.rng(1, 30))
  if amount <= 0 or fleet.clock.now >= i.until_ms then return end
  i.free = i.free - amount
  i.spent = i.spent + amount
  own(i).s = own(i).s + amount
end

-- --- a fleet ------------------------------------------------------------------------------------------

local function random(seed)
  local state = seed * 2654435761 % 4294967296
  return function(low, high)
    state = (state * 6364136223846793005 + 1442695040888963407)
    return low + (state >> 33) % (high - low + 1)
  end
end

local function lose_store(fleet)
  local snapshot = fleet.rng(1, 2) == 1 and {} or fleet.snapshot
  -- What nobody but its owner will be able to tell, should that one not speak.
  fleet.losses[#fleet.losses + 1] = { at = fleet.clock.now, snapshot = copy(snapshot), seen = {} }
  for _, i in ipairs(fleet) do
    fleet.losses[#fleet.losses].seen[i.id] = own(i).g
  end
  server_restart(fleet.server, snapshot)
end

local function step(fleet, i)
  local now = fleet.clock.now
  if now < i.wakes then return end
  local chance = fleet.rng(1, 1000)
  if chance <= 4 then
    crash(i)
    i.wakes = now + fleet.rng(0, 3) * 20000
  elseif chance <= 8 then
    i.wakes = now + fleet.rng(1, 60000) -- stopped, and goes on as if nothing had been
  elseif i.free < CHUNK // 2 and chance <= 500 then
    lease(fleet, i, CHUNK, fleet.rng(1, 20) == 1)
  elseif now - i.beat >= 2000 then
    lease(fleet, i, 0, fleet.rng(1, 20) == 1)
  end
  if now >= i.wakes and fleet.rng(1, 100) <= fleet.pace then spend(fleet, i) end
end

-- What was granted before a loss to instances that did not speak in time after it, and that nobody else
-- could tell: the bound on over-spend.
local function unseen(fleet)
  local sum = 0
  for _, loss in ipairs(fleet.losses) do
    for _, i in ipairs(fleet) do
      local told = tonumber(loss.snapshot["g:" .. i.id] or "0")
      local late = true
      for _, at in ipairs(fleet.speaks[i.id]) do
        if at >= loss.at and at < loss.at + LEASE_MS then late = false end
      end
      if late then sum = sum + math.max(0, loss.seen[i.id] - told) end
    end
  end
  return sum
end

local function run(seed, n, variant)
  local fleet = {
    rng = random(seed), clock = { now = 1000000 }, variant = variant, losses = {}, spoke = {}, speaks = {},
    released = 0, snapshot = {}, pace = (variant.pace or 24) // n, -- so that the limit is reached towards the end
  }
  fleet.server = server_new(fleet.clock)
  for k = 1, n do
    fleet[k] = instance_new("i" .. k)
    fleet.speaks["i" .. k] = {}
  end
  for _ = 1, STEPS do
    fleet.clock.now = fleet.clock.now + STEP_MS
    local chance = fleet.rng(1, 120)
    if chance == 1 then lose_store(fleet) end
    if chance <= 4 then fleet.snapshot = copy(fleet.server.hash) end
    for k = 1, n do step(fleet, fleet[k]) end
    local one = fleet[fleet.rng(1, n)]
    if variant.releases and one.wakes > fleet.clock.now then
      local _, amount = server_release(fleet.server, one.id)
      fleet.released = fleet.released + amount
    end
    for id, at in pairs(fleet.spoke) do
      local list = fleet.speaks[id]
      list[#list + 1] = at
    end
    fleet.spoke = {}
  end
  local spent = 0
  for k = 1, n do spent = spent + fleet[k].spent end
  return math.max(0, spent - LIMIT), unseen(fleet) + fleet.released, #fleet.losses, spent
end

local function worst(variant, n)
  local over, above, losses, spent = 0, 0, 0, 0
  for seed = 1, SEEDS do
    local o, bound, lost, s = run(seed, n, variant)
    over = math.max(over, o)
    above = math.max(above, o - bound)
    losses, spent = losses + lost, spent + s
  end
  print(("  %-38s N=%d: worst over-spend %3d of %d, above the bound %d; %d losses, %d %% spent"):format(
    variant.name, n, over, LIMIT, above, losses, spent * 100 // (SEEDS * LIMIT)))
  return over, above, spent
end

local SHIPPED = { name = "shipped", whole = true, lease_ms = LEASE_MS + 2000, speak_ms = SPEAK_MS }
local NO_WAIT = { name = "whole vectors, no wait", whole = true, lease_ms = 0, speak_ms = 0 }
local OWN = { name = "each its own, no wait", whole = false, lease_ms = 0, speak_ms = 0 }

test("a fleet on a store that is lost never spends more than what nobody could tell", function()
  for _, n in ipairs { 2, 4, 8 } do
    local _, above, spent = worst(SHIPPED, n)
    equal(above, 0, "N=" .. n)
    assert(spent > SEEDS * LIMIT / 2, "hardly anything is spent")
  end
end)

test("what is released in the name of who sleeps is all that can be spent above the limit", function()
  local variant = { name = "shipped, with releases", releases = true, pace = 96 }
  for key, value in pairs(SHIPPED) do variant[key] = variant[key] or value end
  local over = 0
  for _, n in ipairs { 2, 4, 8 } do
    local o, above = worst(variant, n)
    equal(above, 0, "N=" .. n)
    over = over + o
  end
  assert(over > 0, "nobody came back")
end)

test("without the wait it does, so that this test can fail", function()
  local over = worst(NO_WAIT, 4) + worst(OWN, 4)
  assert(over > 0, "the fleet is too kind")
end)

-- --- single answers -----------------------------------------------------------------------------------

local function one(server, i, need, now)
  server.clock.now = now
  return server_call(server, args(i, server, now, need, SHIPPED))
end

test("a lost answer is found at the next call, and nothing is granted twice", function()
  local server, i = server_new { now = 1000 }, instance_new "a"
  one(server, i, 40, 1000)
  local answer = one(server, i, 0, 1100)
  take(i, answer, 1100)
  equal({ i.free, server.hash["g:a"] }, { 40, "40" })
end)

test("what was released is granted once more to who comes back, and once only", function()
  local server, a, b = server_new { now = 1000 }, instance_new "a", instance_new "b"
  take(a, one(server, a, 40, 1000), 1000)
  own(a).s, a.free = 10, 30
  equal({ server_release(server, "a") }, { "alive", 0 })
  server.clock.now = 40000
  equal({ server_release(server, "a") }, { "ok", 40 })
  equal({ server_release(server, "b") }, { "none", 0 })
  take(b, one(server, b, 1000, 40000), 40000)
  equal(b.free, 1000)
  one(server, a, 40, 40100) -- its answer is lost
  take(a, one(server, a, 40, 40200), 40200)
  equal({ a.free, own(a).g - own(a).r - own(a).s }, { 30, 30 })
  equal({ server.hash["g:a"], server.hash["r:a"] }, { "80", "40" })
end)

test("a call that arrives after later ones raises nothing", function()
  local server, a = server_new { now = 1000 }, instance_new "a"
  take(a, one(server, a, 40, 1000), 1000)
  local late = args(a, server, 1000, 0, SHIPPED)
  own(a).r, a.free = 30, 10
  take(a, one(server, a, 0, 2000), 2000)
  server_call(server, late)
  equal({ server.hash["g:a"], server.hash["r:a"] }, { "40", "30" })
  server.clock.now = 40000
  equal({ server_release(server, "a") }, { "ok", 10 })
  server_call(server, late)
  take(a, one(server, a, 0, 40100), 40100)
  equal({ a.free, own(a).g - own(a).r, server.hash["g:a"], server.hash["r:a"] }, { 10, 10, "50", "40" })
end)

test("a snapshot of after a release grants it not once more than once", function()
  local server, a = server_new { now = 1000 }, instance_new "a"
  take(a, one(server, a, 40, 1000), 1000)
  server.clock.now = 40000
  server_release(server, "a")
  local snapshot = copy(server.hash)
  take(a, one(server, a, 0, 40100), 40100)
  server_restart(server, snapshot)
  take(a, one(server, a, 0, 40200), 40200)
  equal({ a.free, server.hash["g:a"], server.hash["r:a"] }, { 40, "80", "40" })
end)

test("a server that has just lost something lets nobody be released", function()
  local server, a, b = server_new { now = 1000 }, instance_new "a", instance_new "b"
  take(a, one(server, a, 40, 1000), 1000)
  take(b, one(server, b, 0, 1000), 1000)
  server_restart(server, {})
  one(server, b, 0, 50000)
  server.clock.now = 51000
  equal({ server_release(server, "a") }, { "lost", 0 })
  server.clock.now = 83000
  equal({ server_release(server, "a") }, { "ok", 40 })
end)

test("calls of who has not spoken for a lease stand in nobody's way", function()
  local server, a, b = server_new { now = 1000 }, instance_new "a", instance_new "b"
  env.KEYS[1] = "neap:{calls:acme/none/0}"
  take(a, one(server, a, 1000, 1000), 1000)
  take(b, one(server, b, 10, 32000), 32000)
  equal(b.free, 0)
  take(b, one(server, b, 10, 33000), 33000)
  equal(b.free, 10)
  env.KEYS[1] = "neap:{global/none/0}"
  take(b, one(server, b, 10, 34000), 34000)
  equal(b.free, 10)
  env.KEYS[1] = "key"
end)

test("a later boot goes on, an earlier one and a copy are told", function()
  local server, a, b, c = server_new { now = 1000 }, instance_new "a", instance_new "a", instance_new "a"
  equal(one(server, a, 40, 1000)[1], "ok")
  c.nonce = "another"
  equal(one(server, c, 40, 1000)[1], "copied")
  b.boot, b.nonce = 2, "n2"
  equal(one(server, b, 0, 1000)[1], "ok")
  equal(one(server, a, 40, 1000)[1], "older")
end)

test("amounts beyond 2^53 are compared and added exactly", function()
  local server, a = server_new { now = 1000 }, instance_new "a"
  local v = own(a)
  v.g, v.r, v.s = 9007199254740993, 9007199254740900, 50
  one(server, a, 40, 1000)
  equal(server.hash["g:a"], "9007199254741033")
end)

test("nothing is granted before or after the window", function()
  local server, a = server_new { now = 5000 }, instance_new "a"
  for _, window in ipairs { { 5001, "6000" }, { 1000, "5000" } } do
    local argv = args(a, server, 5000, 40, SHIPPED)
    argv[11], argv[12] = tostring(window[1]), window[2]
    server_call(server, argv)
    equal(server.hash["g:a"], "0")
  end
end)

harness.finish()

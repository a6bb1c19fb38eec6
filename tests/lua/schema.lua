-- Tests of lua/neap/schema.lua and kinds.lua, with stand-ins for C's helpers.

local harness = require "lib.harness"
local schema, kinds, locate = require "neap.schema", require "neap.kinds", require "neap.locate"
locate.lex, kinds.doubts = require "neap.lex", require "neap.doubts"
local test, equal = harness.test, harness.equal

local native = {
  simulated = false,
  now_ms = 1795000000000,
  money = function(value, scale)
    local units = value * 10.0 ^ scale
    if value ~= value or units < 0 or units > 2 ^ 53 then return nil, "is negative or too much" end
    return math.tointeger(math.floor(units + 0.5))
  end,
  secret = function() return nil end,
  guess = function() return nil end,
  date = function(text) return text == "2026-11-01" and 1793491200000 or nil end,
  source = function() return nil end,
}

local function check(data)
  local made, problems = schema.check(data, native, locate, kinds)
  local errors = {}
  for _, p in ipairs(problems) do
    if not p.warning then errors[#errors + 1] = p.file .. " " .. p.code .. " " .. p.text end
  end
  return made, errors
end

local function good()
  return {
    ["providers.lua"] = { openai = { adapter = "openai", base_url = "https://a.b/v1//" } },
    ["models.lua"] = { m = { provider = "openai", usd_per_million = { input = 1, output = 2 } } },
    ["endpoints.lua"] = { ["/api/x/reply"] = { models = { "m" } } },
  }
end

test("a small set is good, and its names have become places", function()
  local made, errors = check(good())
  equal(errors, {})
  equal(made.providers[1].base_url, "https://a.b/v1")
  equal(made.models[1].provider_place, 1)
  equal(made.models[1].id, "m")
  equal(made.endpoints[1].model_places, { 1 })
  equal(made.tenants[1], nil)
end)

test("lists are sorted by name, whatever the order of the table", function()
  local data = good()
  for i = 1, 30 do data["models.lua"]["m" .. i] = data["models.lua"].m end
  local made = check(data)
  for i = 2, #made.models do
    assert(made.models[i - 1].name < made.models[i].name)
  end
end)

test("the tier above costs as many times more as its plain tokens do", function()
  local rows = {
    { { input = 3, cached_input = 0.3, output = 15, above = { tokens = 1, input = 6, output = 22.5 } },
      { 6000000, 600000, 6000000, 6000000, 22500000, 22500000 } },
    { { input = 3, cached_input = 0.3, output = 15, reasoning = 30, above = { tokens = 1, output = 20 } },
      { 3000000, 300000, 3000000, 3000000, 20000000, 40000000 } },
    { { input = 3, output = 15, above = { tokens = 1, input = 7, cached_input = 0.1 } },
      { 7000000, 100000, 7000000, 7000000, 15000000, 15000000 } },
    { { input = 0, cached_input = 1, output = 0, above = { tokens = 1, input = 6 } },
      { 6000000, 6000000, 6000000, 6000000, 0, 0 } },
    { { input = 0.3, cached_input = 0.1, output = 1, above = { tokens = 1, input = 0.7 } },
      { 700000, 233334, 700000, 700000, 1000000, 1000000 } },
  }
  for i, row in ipairs(rows) do
    local data = good()
    data["models.lua"].m.usd_per_million = row[1]
    local made, errors = check(data)
    equal(errors, {})
    local a = made.models[1].above
    equal({ a.input, a.cached_input, a.cache_write, a.cache_write_1h, a.output, a.reasoning }, row[2], "row " .. i)
  end
end)

test("addresses", function()
  local bad = {
    "", "a.b", "//a.b", "https:/a.b", "HTTP//a", "javascript:alert(1)", "https://", "https:///x", "https://:80/",
    "https://a@b", "https://a:b@c/", "https://a.b?x", "https://a.b/#", "https://a.b:0/", "https://a.b:65536",
    "https://a.b:x/", "https://a..b/", "https://[::1", "https://[::1]x/", "https://[1.2.3.4]/", "http://1/",
    "http://127.1/", "http://0x7f.1/", "http://169.254.0.1", "http://169.254.169.254./", "http://0.0.0.0/",
    "http://1.2.3.256/", "http://1.2.3.04/", "http://[FE80::1]/", "http://[febf::]/", "http://[fd00:0ec2::254]/",
    "http://Metadata.Google.Internal/", "https://a b", "https://ä.b", "https://a.b/\n", "https://a_b.c\\d",
  }
  for _, url in ipairs(bad) do
    if not schema.url_fault(url) then error("is taken: " .. url) end
  end
  local fine = {
    "https://api.openai.com/v1", "HTTPS://api.openai.com", "http://localhost:8081", "http://127.0.0.1:1/x/y",
    "http://[::1]:8080/", "https://a.b:65535", "https://a-b_c.example/", "https://x.azure.com/openai/deployments/a",
    "https://deadbeef/", "https://1password.com/", "https://a.b./v1", "http://[fec0::1]/", "http://10.0.0.1/",
  }
  for _, url in ipairs(fine) do
    local fault = schema.url_fault(url)
    if fault then error(url .. " " .. fault) end
  end
end)

test("no value that a data file can return makes the check itself fail", function()
  math.randomseed(3)
  local words = {
    "openai", "adapter", "base_url", "models", "m", "provider", "usd_per_million", "input", "output", "keys",
    "account", "global", "window", "day", "limit_usd", "breaker", "headers", "api_keys", "above", "tokens", "sinks",
    "/api/x/reply", "slo", "on_error", "https://a.b", "sha256:", "tenant:x", "expires", "2026-11-01", "\xff\n", "",
  }
  local make
  local scalars = {
    function() return words[math.random(#words)] end,
    function() return math.random(-5, 50) end,
    function() return math.random() * 10 ^ math.random(-10, 300) end,
    function() return 0 / 0 end,
    function() return math.huge end,
    function() return true end,
    function() return print end,
    function() return io.stdout end,
    function() return setmetatable({}, { __index = error, __pairs = error, __len = error }) end,
  }
  function make(depth)
    if depth == 0 or math.random(3) == 1 then return scalars[math.random(#scalars)]() end
    local t = {}
    for _ = 1, math.random(0, 6) do
      local key = math.random(4) == 1 and make(0) or words[math.random(#words)]
      if key == key then t[key] = make(depth - 1) end
    end
    for i = 1, math.random(0, 2) do t[i] = make(depth - 1) end
    return t
  end
  local files = { "providers.lua", "models.lua", "endpoints.lua", "tenants.lua", "budgets.lua", "alerts.lua" }
  for _ = 1, 3000 do
    local data = good()
    for _, file in ipairs(files) do
      if math.random(2) == 1 then
        local made = make(4)
        data[file] = type(made) == "table" and made or { made }
      elseif math.random(6) == 1 then
        data[file] = false
      end
    end
    local ok, why = pcall(check, data)
    if not ok then error(why .. "\n" .. harness.show(data)) end
  end
end)

harness.finish()

-- examples/scenarios/README.md and `neap mock --help` name each field that a scenario may have, and no other.

local top = os.getenv("NEAP_SOURCE") or "."
package.path = top .. "/lua/?.lua;" .. top .. "/tests/lua/?.lua;" .. package.path

local harness = require "lib.harness"
local imitate = require "neap.imitate"
local test, equal = harness.test, harness.equal

local function read(path)
  local f <close> = assert(io.open(top .. "/" .. path))
  return f:read("a")
end

-- The names of all fields that imitate.lua's kinds have: what is asked of these stand-ins for kinds.lua.
local function fields_of_code()
  local all = {}
  local function anything() return function() return {} end end
  local kinds = setmetatable({
    begin = function() return {} end,
    file = function() return {} end,
    may = function(kind) return kind end,
    need = function(kind) return kind end,
    record = function(fields)
      for name in pairs(fields) do all[name] = true end
      return function() return {} end
    end,
  }, { __index = function() return anything end })
  imitate.read({}, {}, kinds, nil, "", nil)
  return all
end

local function names_in(text)
  local all = {}
  for span in text:gmatch("`([^`\n]+)`") do
    for name in span:gmatch("%f[%w_][%a][%w_]*%f[^%w_]") do all[name] = true end
  end
  return all
end

test("the example's readme names each field of a scenario", function()
  local told, missing = names_in(read("examples/scenarios/README.md")), {}
  for name in pairs(fields_of_code()) do
    if not told[name] then missing[#missing + 1] = name end
  end
  table.sort(missing)
  equal(missing, {})
end)

test("each field in its table is one of a scenario", function()
  local known, wrong = fields_of_code(), {}
  for cell in read("examples/scenarios/README.md"):gmatch("\n| (`[^|]+) |") do
    for name in cell:gmatch("`([%w_]+)`") do
      if not known[name] then wrong[#wrong + 1] = name end
    end
  end
  equal(wrong, {})
end)

test("the help of neap mock names each field of an answer", function()
  local help, missing = read("src/cli/mock.c"), {}
  local nested = { type = 1, code = 1, message = 1, prompt = 1, completion = 1, cached = 1, input = 1, output = 1 }
  for name in pairs(fields_of_code()) do
    if not nested[name] and not help:find("%f[%w_]" .. name .. "%f[^%w_]") then missing[#missing + 1] = name end
  end
  table.sort(missing)
  equal(missing, {})
end)

test("each field of a call is in the readme", function()
  local source = read("src/script/scenario.c"):match("static void push_call(.-)\n}\n")
  local readme = read("examples/scenarios/README.md")
  for name in source:gmatch('"([%a_]+)"') do
    assert(readme:find("`call." .. name, 1, true), name)
  end
end)

harness.finish()

-- Every code that a source gives has its text in lua/neap/codes.lua, and every text its code.

local harness = require "lib.harness"
local codes = require "neap.codes"
local test = harness.test

local top = os.getenv("NEAP_SOURCE") or "."

local function used()
  local found = {}
  local list = assert(io.popen("find '" .. top .. "/src' '" .. top .. "/lua' -name '*.c' -o -name '*.lua'"))
  for path in list:lines() do
    if not path:find("codes%.lua$") then
      local file = assert(io.open(path))
      for code in file:read("a"):gmatch("\"(N%d%d%d)\"") do found[code] = path end
      file:close()
    end
  end
  list:close()
  return found
end

test("every code that is given has a text", function()
  for code, path in pairs(used()) do
    if not codes[code] then error(code .. " of " .. path .. " has no text") end
  end
end)

test("every text belongs to a code that is given", function()
  local found = used()
  for code in pairs(codes) do
    if not found[code] then error(code .. " is never given") end
  end
end)

harness.finish()

-- Tests of lua/neap/locate.lua: where in a data file a key stands.

local harness = require "lib.harness"
local locate = require("neap.locate").locate
require("neap.locate").lex = require "neap.lex"
local test, equal = harness.test, harness.equal

local function at(source, ...)
  local line, column = locate(source, { ... })
  return line and line .. ":" .. column
end

test("keys are found by name, by text and by place", function()
  local source = 'return {\n  a = 1,\n  ["b c"] = { 7, x = { 8 } },\n  ["d"] = 2; [3] = 4,\n}\n'
  equal(at(source, "a"), "2:3")
  equal(at(source, "b c"), "3:3")
  equal(at(source, "b c", 1), "3:15")
  equal(at(source, "b c", "x"), "3:18")
  equal(at(source, "b c", "x", 1), "3:24")
  equal(at(source, "d"), "4:3")
  equal(at(source, 3), "4:14")
  equal(at(source), "1:8")
end)

test("what is not written down has the place of what is above it", function()
  local source = "return {\n  a = { b = 1 } }"
  equal(at(source, "a", "zzz"), "2:3")
  equal(at(source, "a", "b", "c"), "2:9")
  equal(at(source, "nothing"), "1:8")
end)

test("comments and texts do not lead astray", function()
  local source = table.concat({
    "-- return { a = 0 }", "--[[ a = 1\n]] --[==[ } ]] ]==]", "return { -- a = 2",
    "  s = \"a = 3 }\", t = 'a\\'}', u = [[ } a = 4 ]], v = [=[ ]] } ]=],", "  a = 5 }",
  }, "\n")
  equal(at(source, "a"), "6:3")
  equal(at(source, "v"), "5:49")
end)

test("values may be calls, functions and operations", function()
  local source = table.concat({
    "return {", "  k = env \"X\",", "  l = { env \"A\", file(\"b, c\") },",
    "  f = function(a, b) if a then return b, a end return { x = 1 } end,",
    "  n = 1 + (2 * #\"}\") .. 'x' == 4, m = -0x1F, e = 1e-5, h = 3 ~= 4,", "  z = 9 }",
  }, "\n")
  equal(at(source, "l", 2), "3:18")
  equal(at(source, "m"), "5:35")
  equal(at(source, "h"), "5:56")
  equal(at(source, "z"), "6:3")
end)

test("the table may be a local that is returned", function()
  local source = "local price = { x = 1 }\nlocal models = {\n  a = price,\n}\nreturn models\n"
  equal(at(source, "a"), "3:3")
end)

test("escapes in keys are read", function()
  equal(at('return { ["a\\tb"] = 1, ["\\65\\x42\\u{43}"] = 2 }', "ABC"), "1:24")
  equal(at('return { ["a\\tb"] = 1 }', "a\tb"), "1:10")
end)

test("a file without a table has no places", function()
  equal(at(""), nil)
  equal(at("return"), nil)
  equal(at("x = 1", "x"), nil)
  equal(at("return make()", "x"), "1:8")
end)

test("every key of a generated table is found", function()
  math.randomseed(7)
  for _ = 1, 200 do
    local lines, want = { "return {" }, {}
    for i = 1, math.random(20) do
      local key = "k" .. i
      local forms = { key .. " = ", '["' .. key .. '"] = ', "['" .. key .. "']=" }
      local values = { "1", '"}"', "{ a = { 1, 2 } }", "env 'X'", "function() end", "{}", "[[\n]]" }
      lines[#lines + 1] = (" "):rep(math.random(5)) .. forms[math.random(#forms)] .. values[math.random(#values)]
        .. (math.random(2) == 1 and "," or ";")
      want[key] = #table.concat(lines, "\n", 1, #lines - 1):gsub("[^\n]", "") + 2
    end
    local source = table.concat(lines, "\n") .. "\n}"
    for key, line in pairs(want) do
      equal((locate(source, { key })), line, source .. "\n" .. key)
    end
  end
end)

test("no soup of tokens makes it fail or last for ever", function()
  math.randomseed(11)
  local tokens = {
    "return ", "{", "}", "(", ")", "[", "]", "=", ",", ";", '"', "'", "\\", "[[", "]]", "[=[", "--", "\n",
    "a", "local ", "function", "end", "do", "if", "until", "1", "0x", "1e", "..", "...", "\xff", "\0", "~=",
  }
  for _ = 1, 20000 do
    local parts = {}
    for i = 1, math.random(30) do parts[i] = tokens[math.random(#tokens)] end
    local source = table.concat(parts)
    local ok, why = pcall(locate, source, { "a", 1, "b" })
    if not ok then error(("%q: %s"):format(source, why)) end
  end
end)

harness.finish()

-- luacheck: ignore
-- Further attacks, in the form of attacks.lua: C functions that are given as much as a state can hold, so
-- that one call alone is long. Each is called at the end of the hook's time again and again.

local endless, refused, harmless = {}, {}, {}
local TEXT = 4000000 -- about the longest text that there can be

--------------------------------------------------------------------------------------- long texts

endless["texts of zeros compared"] = function()
  local a, b = ("\0"):rep(TEXT), ("\0"):rep(TEXT - 1)
  while true do local _ = a < b end
end
endless["texts of zeros that are alike"] = function()
  local a = ("\0"):rep(TEXT)
  while true do local _ = a <= a end
end
endless["texts of zeros sorted"] = function()
  local t = {}
  for i = 1, 60 do t[i] = ("\0"):rep(60000 + i) end
  while true do table.sort(t, function(a, b) return a > b end) table.sort(t) end
end
endless["upper of a long text"] = function() local s = ("x"):rep(TEXT) while true do local _ = s:upper() end end
endless["lower of a long text"] = function() local s = ("X"):rep(TEXT) while true do local _ = s:lower() end end
endless["reverse of a long text"] = function() local s = ("x"):rep(TEXT) while true do local _ = s:reverse() end end
endless["the length of a long text in characters"] = function()
  local s = ("é"):rep(TEXT // 2)
  while true do utf8.len(s) end
end
endless["the length of a long text in ASCII"] = function()
  local s = ("x"):rep(TEXT)
  while true do utf8.len(s) end
end
endless["the last character's place"] = function()
  local s = ("é"):rep(1 << 19)
  while true do utf8.offset(s, 1 << 19) end
end
endless["the first character's place, from the end"] = function()
  local s = ("\x80"):rep(1 << 20)
  while true do pcall(utf8.offset, s, -2) end
end
endless["a long text as a key"] = function()
  local t = {}
  while true do t[("x"):rep(TEXT)] = nil end
end
endless["a long text of digits"] = function() local s = ("1"):rep(TEXT) while true do tonumber(s) end end
endless["a long text of zeros as a number"] = function() local s = ("0"):rep(TEXT) while true do tonumber(s) end end
endless["a long text of digits after a point"] = function()
  local s = "." .. ("1"):rep(TEXT // 2)
  while true do tonumber(s) end
end
endless["a long number of base 16"] = function() local s = "0x" .. ("f"):rep(TEXT // 2) while true do tonumber(s) end end
endless["a long number of base 36"] = function() local s = ("z"):rep(TEXT) while true do tonumber(s, 36) end end
endless["a long text in arithmetic"] = function()
  local s = ("1"):rep(TEXT)
  while true do pcall(function() return s + 1 end) end
end
endless["a long text of blanks in arithmetic"] = function()
  local s = (" "):rep(TEXT - 1)
  while true do pcall(function() return s + 1 end) end
end
endless["a long text packed and unpacked"] = function()
  local s = ("x"):rep(TEXT // 2)
  while true do pcall(string.unpack, "z", (string.pack("z", s))) end
end
endless["hashes of texts that just differ"] = function()
  local t = {}
  for i = 1, math.huge do t[("x"):rep(40) .. i] = i if i % 100 == 0 then t = {} end end
end

-------------------------------------------------------------------------- long formats, many values

endless["quotes of a long text"] = function() local s = ("\1"):rep(1 << 15) while true do pcall(string.format, "%q", s) end end
endless["a long format of per cent signs"] = function()
  local s = ("%%"):rep(TEXT // 2)
  while true do pcall(string.format, s) end
end
endless["a long format of plain text"] = function() local s = ("x"):rep(TEXT) while true do pcall(string.format, s) end end
endless["a format of many numbers"] = function()
  local s, t = ("%.99f"):rep(9000), {}
  for i = 1, 9000 do t[i] = 1e308 end
  while true do pcall(string.format, s, table.unpack(t)) end
end
endless["a format of numbers, as many as are allowed"] = function()
  local s, t = ("%.99f"):rep(250), {}
  for i = 1, 250 do t[i] = 1e308 end
  while true do pcall(string.format, s, table.unpack(t)) end
end
endless["a long format to pack by"] = function() local s = (" "):rep(TEXT) while true do pcall(string.pack, s) end end
endless["a long format to unpack by"] = function() local s = ("<"):rep(TEXT) while true do pcall(string.unpack, s, "") end end
endless["the size of a long format"] = function() local s = ("!1"):rep(TEXT // 2) while true do pcall(string.packsize, s) end end
endless["concat of many numbers"] = function()
  local t = {}
  for i = 1, 20000 do t[i] = 1e308 / 7 end
  while true do table.concat(t) end
end
endless["concat of many numbers and long gaps"] = function()
  local t, gap = {}, ("y"):rep(100)
  for i = 1, 20000 do t[i] = i + 0.5 end
  while true do table.concat(t, gap) end
end
endless["a chain of numbers"] = function()
  local a = 1e308 / 7
  while true do
    local _ = a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a .. a
  end
end
endless["inserts in the middle of many"] = function()
  local t = {}
  for i = 1, 40000 do t[i] = i end
  while true do table.insert(t, 2, 1) table.remove(t, 2) end
end
endless["moves over itself"] = function()
  local t = {}
  for i = 1, 40000 do t[i] = i end
  while true do table.move(t, 1, 40000, 2) table.move(t, 2, 40000, 1) end
end
endless["tables that are made anew"] = function()
  while true do
    local t = {}
    for i = 1, 4097 do t[-i] = i end
    for i = 1, 4097 do t[-i] = nil end
    t.x = 1
  end
end
endless["characters of many"] = function()
  local t = {}
  for i = 1, 40000 do t[i] = 0x10ffff end
  while true do utf8.char(table.unpack(t)) end
end
endless["code points of a long text"] = function()
  local s = ("é"):rep(60000)
  while true do pcall(utf8.codepoint, s, 1, -1) end
end
endless["bytes of a long text"] = function() local s = ("x"):rep(100000) while true do pcall(string.byte, s, 1, -1) end end
endless["select of many, one by one"] = function()
  local t = table.pack(table.unpack({}, 1, 60000))
  local function f(...) for i = 1, select("#", ...) do local _ = select(i, ...) end end
  while true do f(table.unpack(t, 1, 60000)) end
end
endless["recursion in pcall, again and again"] = function()
  local function f(n) if n > 0 then return f(n - 1) + 1 end error({}) end
  while true do pcall(f, 15000) end
end
endless["recursion of wide calls, caught"] = function()
  local function f(...) return select("#", f(1, ...)) end
  while true do pcall(f) end
end

refused["a format that is too long"] = function() return (("%%"):rep(TEXT // 2)):format() end
refused["too many values to format"] = function() return ("%d"):rep(300):format(table.unpack({}, 1, 300)) end
refused["too long a text to quote"] = function() return ("%%%-5s%q"):format(1, ("\1"):rep(300000)) end
refused["a format to pack by that is too long"] = function() return string.pack((" "):rep(100000)) end
refused["a format to unpack by that is too long"] = function() return string.unpack(("<"):rep(100000), "") end
refused["a format's size that is too long"] = function() return string.packsize(("!1"):rep(100000)) end
refused["too long a text for utf8.offset"] = function() return utf8.offset(("x"):rep(TEXT), 1) end

refused["weak keys"] = function() return setmetatable({}, { __mode = "k" }) end
refused["weak keys and values"] = function() return setmetatable({}, { __mode = "kv" }) end

return { endless = endless, refused = refused, harmless = harmless }

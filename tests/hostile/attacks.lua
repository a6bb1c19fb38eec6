-- luacheck: ignore
-- What a policy might do to hold a worker, to break out, to crash the process or to spoil what is not
-- its own. Each is a function of what a hook gets: `endless` ones must be stopped by time or memory,
-- `refused` ones must end in an error, `harmless` ones must come to nothing. attacks.py reads the names.

local endless, refused, harmless = {}, {}, {}
local outside = _ENV -- so that names which are not there can be asked for
------------------------------------------------------------------------------- loops of the language

endless["a loop"] = function() while true do end end
endless["a repeat"] = function() repeat until false end
endless["a goto"] = function() ::again:: goto again end
endless["a numeric for"] = function() for i = 1, math.huge do end end
endless["a for over integers"] = function() for i = math.mininteger, math.maxinteger do end end
endless["an iterator that never ends"] = function() for _ in function() return 1 end do end end
endless["next of nothing"] = function() while true do next({}) end end
endless["tail calls"] = function() local function f() return f() end return f() end
endless["mutual tail calls"] = function()
  local g
  local function f() return g() end
  function g() return f() end
  return f()
end
endless["a tree of calls"] = function() local function f(n) if n > 0 then f(n - 1) f(n - 1) end end f(190) end
endless["arithmetic on texts"] = function() local x = "1" while true do x = x + 0 end end
endless["varargs"] = function()
  local function f(...) return ... end
  local t = {}
  for i = 1, 200 do t[i] = i end
  while true do f(table.unpack(t)) end
end
endless["select over many"] = function()
  local t = table.pack(table.unpack({}, 1, 60000))
  while true do select(-1, table.unpack(t, 1, 60000)) end
end
endless["pairs over a big table"] = function()
  local t = {}
  for i = 1, 5000 do t[i] = i end while true do for _ in pairs(t) do end end
end
endless["a search through a hole"] = function()
  local t = {}
  for i = 1, 20000 do t[i] = i end
  for i = 1, 19999 do t[i] = nil end
  while true do next(t) end
end
endless["the length of a border that jumps"] = function()
  local t = {}
  while true do t[#t + 1] = 1 t[#t] = nil end
end

-------------------------------------------------------------------------------- errors that are caught

endless["a loop of pcalls"] = function() while true do pcall(error) end end
endless["a loop in pcall"] = function() while true do pcall(function() while true do end end) end end
endless["pcall of pcall of pcall"] = function() while true do pcall(pcall, pcall, pcall, error) end end
endless["a tree of pcalls"] = function()
  local function f(n) if n > 0 then pcall(f, n - 1) pcall(f, n - 1) end end
  f(180)
end
endless["a loop in xpcall's handler"] = function() xpcall(error, function() while true do end end) end
endless["a handler that errs and loops"] = function()
  local function h() while true do pcall(error) end end
  while true do xpcall(error, h) end
end
refused["handlers in handlers"] = function()
  local function h() return xpcall(error, h) end
  while true do xpcall(error, h) end
end
endless["a handler that is a C function"] = function() while true do xpcall(error, pcall) end end
endless["a loop with a handler of its own"] = function()
  while true do xpcall(function() while true do end end, function() while true do end end) end
end
endless["errors that are caught and thrown again"] = function()
  local function f() local ok, e = pcall(error, {}) error(e) end
  while true do pcall(f) end
end
endless["recursion without an end, caught"] = function()
  local function f() return 1 + f() end
  while true do pcall(f) end
end
endless["C calls without an end, caught"] = function()
  local function f(s) return (s:gsub(".", f)) end
  while true do pcall(f, "x") end
end

------------------------------------------------------------------------------------- metamethods

endless["__close that loops"] = function()
  local x <close> = setmetatable({}, { __close = function() while true do end end })
end
endless["__close that begins again"] = function()
  local function again()
    local x <close> = setmetatable({}, { __close = again })
    while true do end
  end
  again()
end
endless["__close while the stop unwinds"] = function()
  local x <close> = setmetatable({}, { __close = function() while true do pcall(error) end end })
  while true do end
end
endless["many __close at once"] = function()
  local m = { __close = function() while true do end end }
  local function f(n)
    local x <close> = setmetatable({}, m)
    if n > 0 then f(n - 1) end
    while true do end
  end
  f(100)
end
endless["__index that loops"] = function()
  return setmetatable({}, { __index = function() while true do end end }).x
end
endless["__newindex that loops"] = function()
  setmetatable({}, { __newindex = function() while true do end end }).x = 1
end
endless["__len that loops"] = function() return #setmetatable({}, { __len = function() while true do end end }) end
endless["__eq that loops"] = function()
  local m = { __eq = function() while true do end end }
  return setmetatable({}, m) == setmetatable({}, m)
end
endless["__lt in a sort"] = function()
  local m = { __lt = function() while true do end end }
  table.sort({ setmetatable({}, m), setmetatable({}, m) })
end
endless["__call that calls itself"] = function()
  local t = setmetatable({}, { __call = function(self) return self() end })
  t()
end
endless["__tostring that loops"] = function()
  tostring(setmetatable({}, { __tostring = function() while true do end end }))
end
endless["__tostring within format"] = function()
  return ("%s"):format(setmetatable({}, { __tostring = function() while true do end end }))
end
endless["__pairs that never ends"] = function()
  local t = setmetatable({}, { __pairs = function() return function() return 1 end end })
  for _ in pairs(t) do end
end
endless["ipairs over a liar"] = function()
  for _ in ipairs(setmetatable({}, { __index = function() return 1 end })) do end
end
endless["arithmetic of a liar"] = function()
  local t = setmetatable({}, { __add = function(a) return a end })
  while true do t = t + 1 end
end
endless["an __index that looks up itself in loops"] = function()
  local t = setmetatable({}, { __index = function(_, k) return k end })
  while true do local _ = t.x end
end

---------------------------------------------------------------------------------------- patterns

endless["the trim pattern"] = function()
  return ((" "):rep(40000) .. "x" .. (" "):rep(40000) .. "x"):match("^%s*(.-)%s*$") and
    (" "):rep(400000):find("^%s*(.-)%s*x$")
end
endless["blanks at the end"] = function() return ((" "):rep(200000) .. "x"):find("%s+$") end
endless["an address"] = function() return ("a.b"):rep(100000):find("[%w._]+@[%w.]+") end
endless["lazies"] = function() return ("a"):rep(3000):find(".-.-.-b") end
endless["greedies"] = function() return ("a"):rep(3000):find(".*.*.*b") end
endless["optionals"] = function() return ("a"):rep(30):find(("a?"):rep(30) .. ("a"):rep(31)) end
endless["balances"] = function() for _ in ("("):rep(400000):gmatch("%b()") do end end
endless["back references"] = function() return ("a"):rep(20000):find("(.*)%1b") end
endless["lazy back references"] = function() return ("ab"):rep(100000):match("(.-)(.-)%2%1$x") end
endless["frontiers"] = function() local s = ("a"):rep(400000) while true do s:find("%f[b]b") end end
endless["a frontier with a long set"] = function()
  local s, p = ("a"):rep(100000), "%f[" .. ("bc"):rep(50000) .. "]x"
  while true do s:find(p) end
end
endless["a long set"] = function()
  local s, p = ("a"):rep(100000), "[" .. ("b"):rep(100000) .. "]x"
  return s:find(p)
end
endless["a long set in a loop of short texts"] = function()
  local p = "[" .. ("b"):rep(1000000) .. "]x"
  while true do ("a"):find(p) end
end
endless["a match that is restarted"] = function()
  for i = 1, math.huge do ("a"):rep(100000):match("a-b", i % 100) end
end
endless["gsub that calls C"] = function() while true do ("x"):rep(100000):gsub(".", type) end end
endless["gsub that calls Lua"] = function() while true do ("x"):rep(100000):gsub(".", function() end) end end
endless["gsub that looks into a liar"] = function()
  local t = setmetatable({}, { __index = function() while true do end end })
  return ("x"):gsub(".", t)
end
endless["gsub that grows"] = function() local s = ("x"):rep(100000) while true do s = s:gsub("x", "xxxx") end end
endless["gsub of captures that grow"] = function() return ("x"):rep(100000):gsub("(x+)", ("%1"):rep(1000)) end
endless["gmatch of nothing"] = function() while true do for _ in ("x"):rep(100000):gmatch("") do end end end
endless["a pattern of the client's"] = function(req)
  while true do ("x"):rep(1000):find(req.messages[1].content) end
end
endless["a plain search"] = function()
  local s, p = ("a"):rep(2000000), ("a"):rep(1000000) .. "b"
  while true do s:find(p, 1, true) end
end
endless["a plain search of halves"] = function()
  local s, p = ("ab"):rep(1000000), ("ab"):rep(500000) .. "b" .. ("ab"):rep(400000)
  while true do s:find(p, 1, true) end
end
refused["33 captures"] = function() return ("x"):rep(40):find(("(x)"):rep(33)) end
refused["a pattern too deep"] = function() return ("x"):rep(1000):find(("x?"):rep(300) .. "y") end
refused["a malformed pattern"] = function() return ("x"):find("[a") end
refused["a replacement of a wrong kind"] = function() return ("x"):gsub(".", { x = {} }) end

------------------------------------------------------------------------------- texts and memory

harmless["rep of nothing"] = function() return #(""):rep(10 ^ 15 // 1 | 0) == 1 or nil end
refused["rep of much"] = function() return ("x"):rep(10 ^ 12 // 1 | 0) end
refused["rep that overflows"] = function() return ("xx"):rep(math.maxinteger) end
refused["rep with a gap that overflows"] = function() return ("x"):rep(math.maxinteger, ("y"):rep(1000)) end
endless["rep in a loop"] = function() while true do local _ = ("x"):rep(4000000) end end
endless["rep that is caught"] = function() while true do pcall(string.rep, "x", 50000000) end end
endless["a text that doubles"] = function() local s = "x" while true do s = s .. s end end
endless["a text that doubles, caught"] = function()
  while true do pcall(function() local s = "x" while true do s = s .. s end end) end
end
endless["a text that doubles, handled"] = function()
  while true do xpcall(function() local s = "x" while true do s = s .. s end end, type) end
end
endless["texts that all differ"] = function()
  local t = {}
  for i = 1, math.huge do t[i] = ("x"):rep(10000) .. i end
end
endless["a table that grows"] = function() local t = {} for i = 1, math.huge do t[i] = i end end
endless["a table of names that grows"] = function() local t = {} for i = 1, math.huge do t["k" .. i] = true end end
endless["tables in tables"] = function() local t = {} while true do t = { t } end end
endless["closures that hold closures"] = function()
  local f = type
  while true do local g = f f = function() return g end end
end
local cache = {}
endless["a cache of the file's"] = function() for i = 1, math.huge do cache[#cache + 1] = { i } end end
endless["upper and reverse"] = function() while true do local _ = ("x"):rep(1000000):upper():reverse() end end
endless["byte and char"] = function() local s = ("x"):rep(200) while true do string.char(s:byte(1, -1)) end end
endless["format in a loop"] = function() while true do local _ = ("%.99f"):format(1e308) end end
endless["format of long texts"] = function()
  local s = ("x"):rep(1000000)
  while true do local _ = ("%s%q"):format(s, "x") end
end
endless["quoting of control bytes"] = function()
  local s = ("\1"):rep(32000)
  while true do local _ = ("%q"):format(s) end
end
endless["concat of many"] = function()
  local t = {}
  for i = 1, 60000 do t[i] = "x" end
  while true do table.concat(t, ("y"):rep(60)) end
end
endless["numbers to texts"] = function() while true do local _ = 1e308 .. "" .. 0x7fffffffffffffff end end
endless["texts to numbers"] = function() local s = ("1"):rep(190) while true do tonumber(s) end end
endless["long texts to numbers"] = function() local s = ("1"):rep(1000000) while true do tonumber(s, 10) end end
endless["blanks to numbers"] = function() local s = (" "):rep(1000000) .. "1" while true do tonumber(s) end end
endless["long texts compared"] = function()
  local a, b = ("x"):rep(1000000) .. 1, ("x"):rep(1000000) .. 2
  while true do local _ = a < b end
end
endless["texts with zeros compared"] = function()
  local a, b = ("\0"):rep(1000000) .. 1, ("\0"):rep(1000000) .. 2
  while true do local _ = a < b end
end
endless["long texts as keys"] = function()
  local t = {}
  for i = 1, math.huge do t[("x"):rep(100000) .. i % 10] = i end
end
refused["a huge width"] = function() return ("%99999999d"):format(1) end
refused["a huge precision"] = function() return ("%.999f"):format(1) end
refused["char of everything"] = function() return string.char(table.unpack({}, 1, 100)) end
refused["a text longer than the stack"] = function() return ("x"):rep(4000000):byte(1, -1) end
refused["pack of too many"] = function() return string.pack(("i16"):rep(1000), 1) end
refused["pack of a width that lies"] = function() return string.pack("i17", 1) end
refused["unpack past the end"] = function() return string.unpack("s8", "\255\255\255\255\255\255\255\127") end
refused["unpack at a place that overflows"] = function() return string.unpack("i8", "x", math.maxinteger) end
refused["packsize that overflows"] = function() return string.packsize(("c2147483647"):rep(3)) end
endless["pack in a loop"] = function() while true do pcall(string.pack, "!16" .. ("i1Xi16"):rep(100), 1, 2, 3) end end
endless["pack of much padding"] = function() while true do pcall(string.pack, "c4000000", "x") end end
refused["sub of a number that is none"] = function() return ("x"):sub(0 / 0) end

------------------------------------------------------------------------------------------- tables

refused["move of everything"] = function() table.move({}, 1, 10 ^ 12 // 1 | 0, 2) end
refused["move that wraps around"] = function() table.move({}, math.mininteger, -2, 1) end
refused["unpack of everything"] = function() return table.unpack({}, 1, 10000000) end
refused["unpack that wraps around"] = function() return table.unpack({}, math.mininteger, math.maxinteger) end
refused["concat of everything"] = function() return table.concat({}, "", 1, 10 ^ 9 // 1 | 0) end
refused["concat of a liar"] = function()
  return table.concat(setmetatable({}, { __len = function() return 1 << 60 end }))
end
refused["insert into a liar"] = function()
  table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)
end
refused["remove from a liar"] = function()
  table.remove(setmetatable({}, { __len = function() return 1 << 60 end }), 1)
end
refused["unpack of a liar"] = function() return table.unpack(setmetatable({}, { __index = type }), 1, 60000) end
refused["sort of a liar"] = function()
  table.sort(setmetatable({}, { __len = function() return 60000 end, __index = type }))
end
refused["an order that is none"] = function()
  local t = {}
  for i = 1, 60000 do t[i] = -i end
  table.sort(t, function() return true end)
end
endless["an order that loops"] = function() table.sort({ 3, 2, 1 }, function() while true do end end) end
endless["sorts of many"] = function()
  local t = {}
  for i = 1, 60000 do t[i] = i % 7 end
  while true do table.sort(t) end
end
endless["sorts of long texts alike"] = function()
  local a, b, t = ("x"):rep(1000000) .. 1, ("x"):rep(1000000) .. 2, {}
  for i = 1, 900 do t[i] = i % 2 == 0 and a or b end
  while true do table.sort(t) end
end
endless["sorts of what can't be"] = function() while true do pcall(table.sort, { 1, "x", {} }) end end
endless["inserts at the front"] = function() local t = {} while true do table.insert(t, 1, 1) end end
endless["moves of many"] = function()
  local t = {}
  for i = 1, 60000 do t[i] = i end
  while true do table.move(t, 1, 60000, 2) end
end
endless["packs of many"] = function() while true do table.pack(table.unpack({}, 1, 60000)) end end
endless["utf8 in a loop"] = function() while true do for _ in utf8.codes(("x"):rep(100000)) do end end end
endless["utf8 lengths"] = function() while true do utf8.len(("é"):rep(1000000)) end end
endless["utf8 offsets"] = function()
  local s = ("\x80"):rep(1000000)
  while true do pcall(utf8.offset, s, -1) pcall(utf8.offset, s, 1000000) end
end
refused["utf8 of much"] = function() return utf8.codepoint(("x"):rep(4000000), 1, -1) end

--------------------------------------------------------------------------------------------- json

refused["json that shares its parts"] = function()
  local t = { 1 }
  for _ = 1, 40 do t = { t, t } end
  return json.encode(t)
end
endless["json that shares its parts, in a loop"] = function()
  local t = { 1 }
  for _ = 1, 18 do t = { t, t } end
  while true do pcall(json.encode, t) end
end
refused["json that is deep"] = function() local t = {} for _ = 1, 1000 do t = { t } end return json.encode(t) end
refused["json that is a ring"] = function() local t = {} t.t = t return json.encode(t) end
refused["json of a long text"] = function() return json.encode(("\1"):rep(1000000)) end
refused["json of a function"] = function() return json.encode({ type }) end
refused["json of a number that is none"] = function() return json.encode(0 / 0) end
refused["json of a list with names"] = function() return json.encode({ 1, x = 2 }) end
refused["json of a key that is a table"] = function() return json.encode({ [{}] = 1 }) end
harmless["json of a liar"] = function()
  local t = setmetatable({}, { __index = function() while true do end end, __pairs = function() while true do end end,
    __len = function() while true do end end })
  json.encode(t)
end
endless["json encoded in a loop"] = function() while true do json.encode({ 1, 2, { a = "x" } }) end end
endless["json of many names, in a loop"] = function()
  local t = {}
  for i = 1, 3000 do t["k" .. i] = i end
  while true do json.encode(t) end
end
refused["json that is too long to decode"] = function() return json.decode("[" .. ("1,"):rep(2000000 // 2) .. "1]") end
refused["json that is too deep to decode"] = function() return json.decode(("["):rep(100000)) end
refused["json with a number out of range"] = function() return json.decode("[1e99999]") end
endless["json decoded in a loop"] = function()
  local s = "[" .. ("1,"):rep(100000) .. "1]"
  while true do json.decode(s) end
end
endless["json of many names decoded"] = function()
  local t = {}
  for i = 1, 9000 do t[i] = '"k' .. i .. '":{}' end
  local s = "{" .. table.concat(t, ",") .. "}"
  while true do json.decode(s) end
end
endless["json of escapes decoded"] = function()
  local s = '"' .. ("\\u00e9"):rep(40000) .. '"'
  while true do json.decode(s) end
end
endless["bad json decoded"] = function()
  local s = "[" .. ("1,"):rep(120000) .. "x"
  while true do pcall(json.decode, s) end
end
refused["json's settings"] = function() return json.encode_sparse_array(false) end
refused["json's maker"] = function() return json.new() end

-------------------------------------------------------------------------------------- ways out

harmless["no io, os, debug, package, coroutine, load"] = function()
  for name in ("io os debug package coroutine load loadstring loadfile dofile rawset collectgarbage " ..
    "print _G warn env file newproxy setfenv getfenv module"):gmatch("%S+") do
    assert(outside[name] == nil, name)
  end
  assert(string.dump == nil and math.randomseed == nil)
end
refused["coroutines"] = function() outside.coroutine.wrap(function() while true do end end)() end
refused["load"] = function() outside.load("while true do end")() end
refused["bytecode"] = function() return outside.load("\27Lua")() end
refused["dump"] = function() return string.dump(function() end) end
refused["a file"] = function() outside.io.open("/etc/passwd") end
refused["a command"] = function() outside.os.execute("true") end
refused["a file of Lua"] = function() outside.dofile("/etc/passwd") end
refused["the collector"] = function() outside.collectgarbage("stop") end
refused["debug"] = function() outside.debug.sethook() end
refused["require of a library of Lua's"] = function() require("os") end
refused["require upwards"] = function() require("lib...os") end
refused["require of an absolute path"] = function() require("lib./etc/passwd") end
refused["require of a text with a zero"] = function() require("lib.attacks\0x") end
refused["require of a table"] = function() require({}) end
refused["a library's function replaced"] = function() string.upper = function() end end
refused["a library's function removed"] = function() string.rep = nil end
refused["an insert into a library"] = function() table.insert(string, "x") end
refused["a move into a library"] = function() table.move({ 1 }, 1, 1, 1, string) end
refused["a global"] = function() outside.x = 1 end
refused["the environment's metatable"] = function() setmetatable(outside, { __index = function() end }) end
refused["a library's metatable"] = function() setmetatable(string, {}) end
refused["text's metatable changed"] = function() getmetatable("").__index = function() while true do end end end
refused["text's metatable set"] = function() setmetatable("x", {}) end
refused["req's metatable"] = function(req) setmetatable(req, {}) end
refused["metadata's metatable"] = function(req) setmetatable(req.metadata, {}) end
refused["metadata written to"] = function(req) req.metadata.attack = "none" end
refused["metadata written to within"] = function(req) table.insert(req.metadata, 1) end
refused["__gc"] = function() setmetatable({}, { __gc = function() while true do end end }) end
refused["__gc that is to be filled later"] = function() setmetatable({}, { __gc = true }) end
refused["__concat"] = function() return setmetatable({}, { __concat = function() return "x" end }) .. "y" end
harmless["__concat put in later"] = function()
  local m = {}
  local t = setmetatable({}, m)
  m.__concat = function() end
  getmetatable(t).__concat = function() end
  assert(not pcall(function() return t .. "x" end))
end
harmless["__gc put in later"] = function()
  local m = {}
  local t = setmetatable({}, m)
  m.__gc = function() while true do end end
  getmetatable(t).__gc = m.__gc
  setmetatable(t, nil)
end
refused["a metatable that protects itself"] = function()
  local t = setmetatable({}, { __metatable = "mine" })
  setmetatable(t, {})
end
harmless["a metatable of a metatable"] = function()
  local m = setmetatable({}, { __index = function() while true do end end })
  local t = setmetatable({}, m)
  assert(t.x == nil)
end
harmless["__name that is a table"] = function()
  local t = setmetatable({}, { __name = {} })
  assert(tostring(t):find("^table"))
end
refused["a call of what is none, with a name that lies"] = function()
  local t = setmetatable({}, { __name = ("x"):rep(100000) })
  t()
end
harmless["next of what was removed"] = function()
  local t = { a = 1, b = 2, c = 3 }
  for k in pairs(t) do t[k] = nil end
end
refused["next of a key that is not there"] = function() next({}, "x") end
harmless["rawequal and rawlen of views"] = function(req)
  assert(rawlen(req.metadata) == 0 and not rawequal(req.metadata, {}))
end
refused["rawget of what is no table"] = function(req) return rawget(req, "id") end

------------------------------------------------------------------------------- stack and recursion

refused["recursion"] = function() local function f() return 1 + f() end return f() end
refused["recursion in C"] = function() local function f(s) return (s:gsub(".", f)) end return f("x") end
refused["recursion in sorts"] = function() local function f() table.sort({ 2, 1 }, f) return false end f() end
refused["recursion in __index"] = function()
  local t
  t = setmetatable({}, { __index = function(_, k) return t[k .. "x"] end })
  return t.x
end
refused["a ring of __index"] = function()
  local t = {}
  for _ = 1, 3000 do t = setmetatable({}, { __index = t }) end
  return t.x.y
end
refused["recursion in __tostring"] = function()
  local t
  t = setmetatable({}, { __tostring = function() return tostring(t) end })
  return tostring(t)
end
refused["recursion in __eq"] = function()
  local m = {}
  m.__eq = function() return setmetatable({}, m) == setmetatable({}, m) end
  return m.__eq()
end
harmless["a chain of __call"] = function()
  local t = type
  for _ = 1, 300 do t = setmetatable({}, { __call = t }) end
  pcall(t)
end
refused["recursion in pcall"] = function()
  local function f() local ok, e = pcall(f) if not ok then error(e) end end
  f()
end
refused["recursion in xpcall"] = function()
  local function f() local ok, e = xpcall(f, tostring) if not ok then error(e) end end
  f()
end
refused["recursion in __close"] = function()
  local m = {}
  m.__close = function() local x <close> = setmetatable({}, m) end
  local x <close> = setmetatable({}, m)
end
refused["many values"] = function()
  local function f(n, ...) return f(n - 1, n, ...) end
  return (select("#", (function(...) return ... end)(f(1e9 // 1 | 0))))
end

-------------------------------------------------------------------------------- errors and answers

refused["an error that is nil"] = function() error(nil) end
refused["an error that is a table"] = function() error({ code = 1 }) end
refused["an error that is a function"] = function() error(type) end
refused["an error that lies"] = function()
  error(setmetatable({}, { __tostring = function() while true do end end, __index = function() while true do end end }))
end
refused["an error that is huge"] = function() error(("x"):rep(4000000)) end
refused["an error of control bytes"] = function() error("\27[2J\n\r\0 fake=1 level=error", 0) end
refused["an error of half a character"] = function() error(("é"):rep(99) .. "\xc3", 0) end
refused["an error that names another file"] = function() error("/etc/passwd:1: x", 0) end
refused["an error with a format in it"] = function() error("%s%n%99999d") end
refused["an answer that is a ring"] = function() local t = {} t.status = t t[1] = t return t end
refused["an answer that lies"] = function()
  return setmetatable({ status = {} }, { __index = function() while true do end end,
    __len = function() while true do end end, __pairs = function() while true do end end })
end
refused["an answer that is a function"] = function() return type end
refused["an answer that is a number that is none"] = function() return 0 / 0 end
refused["an answer of many"] = function()
  local t = {}
  for i = 1, 60000 do t[i] = "x" end
  return t
end
refused["a why that is a table"] = function() return nil, {} end
harmless["a why that is huge"] = function() return nil, ("x"):rep(400000) end
harmless["a why of bytes"] = function() return nil, ("\xff\0\27"):rep(100) end

---------------------------------------------------------------------------------- neap's functions

endless["log in a loop"] = function() while true do log.debug(("x"):rep(1000)) end end
endless["shared in a loop"] = function()
  local i = 0
  while true do i = i + 1 pcall(shared.set, "k" .. i % 5000, ("x"):rep(1000), 1) end
end
endless["shared sums in a loop"] = function() while true do pcall(shared.incr, "n", 1) end end
endless["stats in a loop"] = function() while true do pcall(stats.p95, "good") end end
endless["tokens of a long text"] = function() while true do tokens(("x"):rep(1000000)) end end
endless["templates in a loop"] = function()
  while true do pcall(template, "policy", { tenant = ("x"):rep(10000) }) end
end
endless["picks in a loop"] = function() while true do pcall(pick, { "good", "bad" }) end end
endless["req in a loop"] = function(req)
  while true do local _ = req.id, req.metadata.attack, req.messages[1].content, req.attempts end
end
endless["a wait for the clock"] = function() local t = now_ms() while now_ms() < t + 100000 do end end
endless["chance in a loop"] = function() while true do math.random(1 << 40) end end
endless["breakers in a loop"] = function() while true do pcall(breaker.state, "good") end end
endless["budgets in a loop"] = function() while true do pcall(budget.remaining, "global") end end
refused["a field that is mistyped"] = function(req) return req.promt_tokens end
refused["a field that is no name"] = function(req) return req[{}] end
refused["an id written to"] = function(req) req.id = "mine" end
refused["log of a table that lies"] = function()
  log.info(setmetatable({}, { __tostring = function() while true do end end, __index = type }), {}, {})
  error("done")
end
refused["shared of a long key"] = function() shared.set(("k"):rep(100000), 1) end
refused["shared of a long text"] = function() shared.set("k", ("x"):rep(100000)) end
refused["shared of a table"] = function() shared.set("k", {}) end
refused["a template from elsewhere"] = function() return template("../../etc/passwd", {}) end
harmless["statistics of a model that is not there"] = function() stats.p95(("x"):rep(10000)) end
refused["math.random of an empty range"] = function() return math.random(2, 1) end

-- Kept from one call to the next: over by then.
local kept = {}
refused["a req that was kept"] = function(req)
  local old = kept.req
  kept.req = req
  if not old then error("not yet kept") end
  return old.id
end
refused["metadata that was kept"] = function(req)
  local old = kept.metadata
  kept.metadata = req.metadata
  if not old then error("not yet kept") end
  return old.nothing_that_was_read
end
refused["an argument that was kept"] = function(_, it)
  if type(it) ~= "userdata" then error("this hook gets none") end
  local old = kept.it
  kept.it = it
  if not old then error("not yet kept") end
  return old.model or old.text
end

return { endless = endless, refused = refused, harmless = harmless }

-- Decides what the code of a policy set can see: a list of names, all of them read-only.
--
-- Gets `native`, neap's own functions in place of Lua's where those can do harm or don't end; those of the
-- libraries table and utf8 are in tables of their own, as string has an unpack and a len, too.
-- Returns a function that makes an environment of the list and `extra`. Nothing outside of the list is
-- within a policy's reach: no metatable, no raw table of functions, no name that is not written here.

local native = ...
local setmetatable, pairs, type, error, tostring = setmetatable, pairs, type, error, tostring
local string_metatable = getmetatable("")

local function pick(from, names, own)
  local got = {}
  for name in names:gmatch("[%w_]+") do
    got[name] = (own or native)[name] or from[name]
  end
  return got
end

-- A view of a library that can be neither changed nor replaced.
local function locked(library, title)
  return setmetatable({}, {
    __index = library,
    __newindex = function(_, name)
      error(title .. " is read-only: " .. tostring(name) .. " can't be set", 2)
    end,
    __metatable = false,
  })
end

local base = pick(_G, [[assert error getmetatable ipairs next pairs pcall rawequal rawget rawlen
  require select setmetatable tonumber tostring type xpcall _VERSION]])

local libraries = {
  string = pick(string, [[byte char find format gmatch gsub len lower match pack packsize rep
    reverse sub unpack upper]]),
  table = pick(table, "concat insert move pack remove sort unpack", native.table),
  math = pick(math, [[abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min
    mininteger modf pi rad random sin sqrt tan tointeger type ult]]),
  utf8 = pick(utf8, "char charpattern codepoint codes len offset", native.utf8),
  json = native.json,
}

string_metatable.__index = libraries.string
string_metatable.__metatable = false

for name, library in pairs(libraries) do
  base[name] = locked(library, name)
end

local function refuse_global(_, name)
  error("there are no globals in policies: write `local " .. tostring(name) .. " = …`", 2)
end

return function(extra)
  local names = {}
  for name, value in pairs(base) do
    names[name] = value
  end
  for name, value in pairs(extra) do
    names[name] = type(value) == "table" and locked(value, name) or value
  end
  return setmetatable({}, { __index = names, __newindex = refuse_global, __metatable = false })
end

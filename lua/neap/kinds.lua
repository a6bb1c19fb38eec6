-- Decides whether a value of a data file is of the kind that it should be: the words of schema.lua.
--
-- A kind is a function(value, at) that returns the plain value, or tells a problem and returns nil.
-- `at` is the place: {file=, up=, key=}, a chain up to the file. Nothing here runs code of policies:
-- tables with metatables are refused, and only raw access is used.

local M = {}

local format, match = string.format, string.match
local run -- the check that runs: native, problems

function M.begin(native)
  run = { native = native, problems = {} }
  return run.problems
end

-- ------------------------------------------------------------------------------------ places

function M.file(name) return { file = name } end

function M.below(at, key) return { file = at.file, up = at, key = key } end

local function path_of(at)
  local path = {}
  while at.up do
    table.insert(path, 1, at.key)
    at = at.up
  end
  return path
end
M.path_of = path_of

-- `openai.breaker.rate`, `["/api/assistant/reply"].models[2]`
local function name_of(at)
  local text = ""
  for _, key in ipairs(path_of(at)) do
    if type(key) == "number" then
      text = format("%s[%d]", text, key)
    elseif match(key, "^[%a_][%w_]*$") then
      text = text .. (text == "" and "" or ".") .. key
    else
      text = format("%s[%s]", text, M.show(key))
    end
  end
  return text
end

-- ---------------------------------------------------------------------------------- problems

local MOST = 2500 -- errors, and warnings: more than are shown

local function add(warning, at, code, text, ...)
  local problems, kind = run.problems, warning and "warnings" or "errors"
  run[kind] = (run[kind] or 0) + 1
  if run[kind] > MOST then return end
  local name = name_of(at)
  text = format(text, ...)
  problems[#problems + 1] =
    { at = at, code = code, text = name == "" and text or name .. " " .. text, warning = warning or nil }
end

function M.tell(at, code, text, ...) add(false, at, code, text, ...) end
function M.warn(at, code, text, ...) add(true, at, code, text, ...) end

-- A value in a message: short, in one line, never a secret.
function M.show(value)
  if type(value) == "string" then
    local cut = #value > 40 and string.sub(value, 1, 40) .. "…" or value
    return '"' .. string.gsub(cut, "[%c\"\\]", function(c) return format("\\x%02x", string.byte(c)) end) .. '"'
  elseif type(value) == "userdata" then
    return run.native.secret(value) or "a userdata"
  elseif type(value) == "table" or type(value) == "function" then
    return "a " .. type(value)
  end
  return tostring(value)
end

local function wrong(at, wanted, value)
  M.tell(at, "N202", "must be %s, got %s", wanted, M.show(value))
end

local function bad(at, wanted, value)
  M.tell(at, "N203", "must be %s, got %s", wanted, M.show(value))
end

-- " (did you mean x?)" or nothing
function M.guess(word, names)
  local near = type(word) == "string" and run.native.guess(word, names)
  return near and format(" (did you mean %s?)", M.show(near)) or ""
end

-- ----------------------------------------------------------------------------- plain values

function M.text(wanted, pattern, most)
  return function(value, at)
    if type(value) ~= "string" then return wrong(at, wanted, value) end
    if #value == 0 or #value > most or not match(value, pattern) then return bad(at, wanted, value) end
    return value
  end
end

function M.boolean(value, at)
  if type(value) ~= "boolean" then return wrong(at, "true or false", value) end
  return value
end

function M.integer(low, high)
  local wanted = format("a whole number from %d to %d", low, high)
  return function(value, at)
    if type(value) ~= "number" then return wrong(at, wanted, value) end
    local whole = math.tointeger(value)
    if not whole or whole < low or whole > high then return bad(at, wanted, value) end
    return whole
  end
end

function M.number(low, high)
  local wanted = format("a number from %g to %g", low, high)
  return function(value, at)
    if type(value) ~= "number" then return wrong(at, wanted, value) end
    if not (value >= low and value <= high) then return bad(at, wanted, value) end
    return value + 0.0
  end
end

-- Dollars, as whole units of 10^-scale; scale 6 makes USD per million tokens nano-USD per 1,000.
function M.money(scale, most)
  return function(value, at)
    if type(value) ~= "number" then return wrong(at, "an amount of US dollars", value) end
    local units, why = run.native.money(value, scale)
    if not units then return M.tell(at, "N203", "%s: %s", why, M.show(value)) end
    if most and units > most then return M.tell(at, "N203", "is too much: %s", M.show(value)) end
    return units
  end
end

-- meant: what some take for a name, {daily = "day"}.
function M.choice(names, meant)
  local shown = {}
  for i, name in ipairs(names) do shown[i] = format('"%s"', name) end
  local wanted = table.concat(shown, " or ")
  return function(value, at)
    for _, name in ipairs(names) do
      if rawequal(value, name) then return value end
    end
    if type(value) ~= "string" then return wrong(at, wanted, value) end
    return M.tell(at, "N203", "must be %s, got %s%s", wanted, M.show(value),
      M.guess(meant and meant[value] or value, names))
  end
end

-- A day ("2027-06-30", its first moment in UTC) or a moment; {text=, ms=}.
function M.date(value, at)
  local wanted = 'a date such as "2027-06-30"'
  if type(value) ~= "string" then return wrong(at, wanted, value) end
  local ms = run.native.date(value)
  if not ms then return bad(at, wanted, value) end
  return { text = value, ms = ms }
end

-- "08:00", as it stands.
function M.time_of_day(value, at)
  local wanted = 'a time of day from "00:00" to "23:59"'
  if type(value) ~= "string" then return wrong(at, wanted, value) end
  local hour = match(value, "^(%d%d):[0-5]%d$")
  if not hour or tonumber(hour) > 23 then return bad(at, wanted, value) end
  return value
end

-- env "NAME" or file "PATH"; {secret=}. One that is not set is told, but not on the simulated ground.
function M.secret(value, at)
  local label, missing = run.native.secret(value)
  if not label then return wrong(at, 'env "NAME" or file "PATH"', value) end
  if missing and not run.native.simulated then
    M.tell(at, "N206", "%s %s", label, missing)
    return nil
  end
  return { secret = value }
end

-- Either of two kinds; the second one says what was wanted.
function M.either(is_first, first, second)
  return function(value, at)
    if is_first(value) then return first(value, at) end
    return second(value, at)
  end
end

function M.is_secret(value) return type(value) == "userdata" end

-- ----------------------------------------------------------------------------------- tables

local function plain_table(value, at, wanted)
  if type(value) ~= "table" then
    wrong(at, wanted, value)
    return false
  end
  -- False is the mark of a list that came from JSON.
  if getmetatable(value) then
    M.tell(at, "N202", "must be a plain table, this one has a metatable")
    return false
  end
  return true
end

-- The keys in an order that does not change from run to run: numbers, then texts; others are told.
local function keys_of(value, at)
  local numbers, texts = {}, {}
  for key in next, value do
    if math.type(key) == "integer" then
      numbers[#numbers + 1] = key
    elseif type(key) == "string" then
      texts[#texts + 1] = key
    else
      M.tell(at, "N201", "has a key that is a %s", type(key))
    end
  end
  table.sort(numbers)
  table.sort(texts)
  return numbers, texts
end

-- A list of one kind; the items that were wrong are left out, their number is told beside.
function M.list(kind, least, most, what)
  local wanted = format("a list of %s", what)
  return function(value, at)
    if not plain_table(value, at, wanted) then return nil end
    local numbers, texts = keys_of(value, at)
    if #texts > 0 then
      return M.tell(at, "N202", "must be %s, but has the key %s", wanted, M.show(texts[1]))
    end
    local n = #numbers
    if n > 0 and (numbers[1] ~= 1 or numbers[n] ~= n) then
      return M.tell(at, "N202", "must be %s without gaps", wanted)
    end
    if n < least or n > most then
      return M.tell(at, "N203", "must have %d to %d of %s, has %d", least, most, what, n)
    end
    local list, good = {}, true
    for i = 1, n do
      local item = kind(rawget(value, i), M.below(at, i))
      good = good and item ~= nil
      list[#list + 1] = item
    end
    return good and list or nil
  end
end

-- A field of a record that must be there, or may be; a default is taken as it stands.
function M.need(kind) return { kind = kind, needed = true } end
function M.may(kind, default) return { kind = kind, default = default } end

-- A table with these fields and no others. `finish` may look at the whole: (record, at, given).
function M.record(fields, finish)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  return function(value, at)
    if not plain_table(value, at, "a table") then return nil end
    local numbers, texts = keys_of(value, at)
    local good = #numbers == 0
    if not good then M.tell(M.below(at, numbers[1]), "N201", "has no name: fields are written name = value") end
    for _, key in ipairs(texts) do
      if not fields[key] then
        good = false
        M.tell(M.below(at, key), "N201", "is no field here%s", M.guess(key, names))
      end
    end
    local made = {}
    for _, name in ipairs(names) do
      local field, given = fields[name], rawget(value, name)
      if given ~= nil then
        made[name] = field.kind(given, M.below(at, name))
        good = good and made[name] ~= nil
      elseif field.needed then
        good = false
        M.tell(at, "N204", "needs the field %s", name)
      else
        made[name] = field.default
      end
    end
    if finish and finish(made, at, value) == false then good = false end
    return good and made or nil
  end
end

-- Named things: a list sorted by name, each with `name` and its place `at`. Those that are wrong are
-- left out; what names them elsewhere is then no second problem, so all names are kept in `names`.
function M.map(name_kind, kind, least, most, what)
  return function(value, at)
    local list = { names = {} }
    if not plain_table(value, at, "a table of " .. what) then return list end
    local numbers, texts = keys_of(value, at)
    if #numbers > 0 then
      M.tell(M.below(at, numbers[1]), "N201", 'has no name: %s are written name = { … }', what)
    end
    if #texts < least or #texts > most then
      M.tell(at, "N203", "must have %d to %d %s, has %d", least, most, what, #texts)
    end
    for _, name in ipairs(texts) do
      local place = M.below(at, name)
      list.names[name] = true
      if name_kind(name, place) then
        local made = kind(rawget(value, name), place)
        if made ~= nil then
          if type(made) ~= "table" then made = { value = made } end
          made.name, made.at = name, place
          list[#list + 1] = made
        end
      end
    end
    return list
  end
end

-- Tells those of a list that were there before.
function M.no_repeats(list, at, shown)
  local seen, good = {}, true
  for i, item in ipairs(list or {}) do
    local key = shown and shown(item) or item
    if seen[key] then
      M.tell(M.below(at, i), "N207", "is there twice: %s", M.show(key))
      good = false
    end
    seen[key] = true
  end
  return good
end

return M

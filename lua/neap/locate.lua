-- Decides where in a data file's text a key of its table stands, so that a problem has line and column.
--
-- locate(source, path) answers one question, reader(source) gives a function(path) that answers many. It
-- reads as much of Lua as a table constructor needs: names, strings, numbers, comments, brackets. It finds
-- the table that the file returns (directly, or by the name of a local), then follows the path, {"openai",
-- "timeout_ms"}, as far as it is written down; what is made by other means (a loop, a library) has the place
-- of the nearest key above it. Returns line and column (in bytes, from 1), or nothing.

local find, sub, match = string.find, string.sub, string.match

local M = {}

local escapes = {
  a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v",
  ["\\"] = "\\", ["'"] = "'", ['"'] = '"', ["\n"] = "\n",
}

-- The text that a quoted literal stands for; hexadecimal and decimal escapes included.
local function unquote(inner)
  inner = string.gsub(inner, "\\z%s*", "")
  inner = string.gsub(inner, "\\x(%x%x)", function(h) return string.char(tonumber(h, 16)) end)
  inner = string.gsub(inner, "\\u{(%x+)}", function(h) return utf8.char(tonumber(h, 16)) end)
  inner = string.gsub(inner, "\\(%d%d?%d?)", function(d) return string.char(tonumber(d) % 256) end)
  return (string.gsub(inner, "\\(.)", escapes))
end

-- Where a long bracket that opens at `at` ends, and its inside; nil when none opens there.
local function long_bracket(source, at)
  local level = match(source, "^%[(=*)%[", at)
  if not level then return nil end
  local from = at + #level + 2
  local close, last = find(source, "]" .. level .. "]", from, true)
  if not close then return #source + 1, "" end
  return last + 1, (string.gsub(sub(source, from, close - 1), "^\n", ""))
end

-- Behind a quoted string that begins at `at`, and its inside with escapes kept.
local function quoted(source, at)
  local quote, i = sub(source, at, at), at + 1
  while i <= #source do
    local c = sub(source, i, i)
    if c == "\\" then
      i = i + 2
    elseif c == quote then
      return i + 1, sub(source, at + 1, i - 1)
    else
      i = i + 1
    end
  end
  return #source + 1, ""
end

-- The first byte from `at` that is neither blank nor comment; nil at the end.
local function skip_blank(source, at)
  while true do
    at = find(source, "[^%s]", at)
    if not at or sub(source, at, at + 1) ~= "--" then return at end
    at = long_bracket(source, at + 2) or find(source, "\n", at, true) or #source + 1
  end
end

local function number_at(source, at)
  return match(source, "^0[xX][%x.]+", at) or match(source, "^[%d.]+[eE][+-]?%d+", at)
    or match(source, "^[%d.]+", at)
end

-- The next token from `at`: kind ("name", "string", "number", or the sign itself), value, its first
-- byte, and where to go on. nil at the end.
local function next_token(source, at)
  at = skip_blank(source, at)
  if not at then return nil end
  local c = sub(source, at, at)
  if find(c, "[%a_]") then
    local word = match(source, "^[%w_]+", at)
    return "name", word, at, at + #word
  elseif c == '"' or c == "'" then
    local behind, inner = quoted(source, at)
    return "string", unquote(inner), at, behind
  elseif c == "[" and find(source, "^%[=*%[", at) then
    local behind, inner = long_bracket(source, at)
    return "string", inner, at, behind
  elseif find(source, "^%.?%d", at) then
    local digits = number_at(source, at)
    return "number", tonumber(digits), at, at + #digits
  end
  local sign = match(source, "^[=~<>]=", at) or match(source, "^%.%.%.?", at) or c
  return sign, nil, at, at + #sign
end

local MAX_TOKENS = 500000 -- of 1 MiB, more than people write; keys behind them have the place of what is above

-- All tokens of a source, as parallel lists.
local function tokens_of(source)
  local t = { kind = {}, value = {}, at = {}, n = 0 }
  local at = 1
  while true do
    local kind, value, first, behind = next_token(source, at)
    if not kind or t.n == MAX_TOKENS then return t end
    t.n = t.n + 1
    t.kind[t.n], t.value[t.n], t.at[t.n] = kind, value, first
    at = behind
  end
end

local deeper = { ["("] = true, ["{"] = true, ["["] = true }
local shallower = { [")"] = true, ["}"] = true, ["]"] = true }
local block_opens = { ["function"] = true, ["if"] = true, ["do"] = true, ["repeat"] = true }
local block_closes = { ["end"] = true, ["until"] = true }

-- How the depth of brackets and blocks changes by token i.
local function step(t, i)
  local kind = t.kind[i]
  if deeper[kind] then return 1 end
  if shallower[kind] then return -1 end
  if kind == "name" and block_opens[t.value[i]] then return 1 end
  if kind == "name" and block_closes[t.value[i]] then return -1 end
  return 0
end

-- The token behind the value that begins at i: a comma, a semicolon or the bracket that ends the list.
local function skip_value(t, i)
  local depth = 0
  while i <= t.n do
    local kind = t.kind[i]
    if depth == 0 and (kind == "," or kind == ";" or kind == "}") then return i end
    depth = depth + step(t, i)
    i = i + 1
  end
  return i
end

-- The key of the field at token i and where its value begins; nil for a positional one.
local function key_of(t, i)
  if t.kind[i] == "name" and t.kind[i + 1] == "=" then
    return t.value[i], i + 2
  elseif t.kind[i] == "[" and t.kind[i + 2] == "]" and t.kind[i + 3] == "=" then
    return t.value[i + 1], i + 4
  end
  return nil, i
end

-- What stands in the constructor whose bracket is token i: by key, the tokens of its field and of its value.
-- Of a key that is there twice the first counts.
local function fields_of(t, i)
  local fields, values, position = {}, {}, 0
  i = i + 1
  while i <= t.n and t.kind[i] ~= "}" do
    local name, value = key_of(t, i)
    if name == nil then
      position = position + 1
      name = position
    end
    if not fields[name] then fields[name], values[name] = i, value end
    i = skip_value(t, value)
    if t.kind[i] == "," or t.kind[i] == ";" then i = i + 1 end
  end
  return { fields = fields, values = values }
end

-- The token of the bracket of the table that the file returns.
local function root(t)
  local depth, returned = 0, nil
  for i = 1, t.n do
    if depth == 0 and t.kind[i] == "name" and t.value[i] == "return" then returned = i + 1 end
    depth = depth + step(t, i)
  end
  if not returned or t.kind[returned] == "{" then return returned end
  local name = t.kind[returned] == "name" and t.value[returned]
  for i = 1, t.n - 2 do
    if t.kind[i] == "name" and t.value[i] == name and t.kind[i + 1] == "=" and t.kind[i + 2] == "{" then
      return i + 2
    end
  end
  return returned
end

-- Where each line begins.
local function lines_of(source)
  local starts, at = { 1 }, 1
  while true do
    local newline = find(source, "\n", at, true)
    if not newline then return starts end
    at = newline + 1
    starts[#starts + 1] = at
  end
end

local function line_and_column(starts, at)
  local low, high = 1, #starts
  while low < high do
    local middle = (low + high + 1) // 2
    if starts[middle] <= at then low = middle else high = middle - 1 end
  end
  return low, at - starts[low] + 1
end

function M.reader(source)
  local t, starts, known = tokens_of(source), lines_of(source), {}
  local top = root(t)
  return function(path)
    local at, table_at = top, top
    if not top then return nil end
    for _, key in ipairs(path) do
      if t.kind[table_at] ~= "{" then break end
      known[table_at] = known[table_at] or fields_of(t, table_at)
      local there = known[table_at]
      if not there.fields[key] then break end
      at, table_at = there.fields[key], there.values[key]
    end
    if not t.at[at] then return nil end
    return line_and_column(starts, t.at[at])
  end
end

function M.locate(source, path) return M.reader(source)(path) end

return M

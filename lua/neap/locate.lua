-- Decides where in a data file's text a key of its table stands, so that a problem has line and column.
--
-- locate(source, path) answers one question, reader(source) gives a function(path) that answers many. Whoever
-- loads this sets M.lex to what lex.lua returns. It finds the table that the file returns (directly, or by the
-- name of a local), then follows the path, {"openai", "timeout_ms"}, as far as it is written down; what is made
-- by other means (a loop, a library) has the place of the nearest key above it. Returns line and column (in
-- bytes, from 1), or nothing.

local M = {}

local MAX_TOKENS = 500000 -- of 1 MiB, more than people write; keys behind them have the place of what is above

local deeper = { ["("] = true, ["{"] = true, ["["] = true }
local shallower = { [")"] = true, ["}"] = true, ["]"] = true }
local block_opens = { ["function"] = true, ["if"] = true, ["do"] = true, ["repeat"] = true }
local block_closes = { ["end"] = true, ["until"] = true }

-- How the depth of brackets and blocks changes by token i.
local function step(t, i)
  local kind = t.kind[i]
  if deeper[kind] then return 1 end
  if shallower[kind] then return -1 end
  return block_opens[kind] and 1 or block_closes[kind] and -1 or 0
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
    if depth == 0 and t.kind[i] == "return" then returned = i + 1 end
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

function M.reader(source)
  local t, place, known = M.lex.tokens(source, MAX_TOKENS), M.lex.places(source), {}
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
    if at > t.n then return nil end
    return place(t.at[at])
  end
end

function M.locate(source, path) return M.reader(source)(path) end

return M

-- Decides what the lines of a `neap repl` session see, how its values are shown and how they are completed.
--
-- M.native is C's: names(view) the table behind a read-only library, reveal(value) the plain table behind
-- a view or req, describe(value) a word for what is neither text, number nor table. No value of a line
-- is trusted: only raw access is used here, no metamethod runs.

local M = {}

local format, match, rep, gsub = string.format, string.match, string.rep, string.gsub

local WIDTH = 76 -- of a line that holds a whole table
local TEXT = 2000 -- bytes of one string
local DEPTH = 12
local KEYS = 5000 -- of one table
local LINES = 5000 -- of one value

-- ------------------------------------------------------------------------------------- values

-- Numbers first, then names, then the rest.
local rank = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local left, right = rank[type(a)] or 4, rank[type(b)] or 4
  if left ~= right then return left < right end
  if left <= 2 then return a < b end
  return tostring(a) < tostring(b)
end

local function sorted_keys(t)
  local keys = {}
  for key in next, t do
    keys[#keys + 1] = key
    if #keys == KEYS then break end
  end
  table.sort(keys, before)
  return keys
end

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function escape(c)
  return escapes[c] or format("\\x%02x", c:byte())
end

local function hex(s)
  return (gsub(s, ".", function(c) return format("\\x%02x", c:byte()) end))
end

-- What is no UTF-8 and the controls beyond ASCII as bytes, too: a terminal would obey those.
local function harmless(s)
  local pieces, from = {}, 1
  while from <= #s do
    local whole, wrong = utf8.len(s, from)
    if whole then wrong = #s + 1 end
    pieces[#pieces + 1] = gsub(s:sub(from, wrong - 1), "\xc2[\x80-\x9f]", hex)
    pieces[#pieces + 1] = hex(s:sub(wrong, wrong))
    from = wrong + 1
  end
  return table.concat(pieces)
end

local function quote(s, whole)
  local cut = not whole and #s > TEXT
  if cut then s = s:sub(1, (utf8.offset(s, 0, TEXT + 1) or TEXT + 1) - 1) end
  return '"' .. harmless(gsub(s, '[%c"\\]', escape)) .. '"' .. (cut and "…" or "")
end

local function plain(value)
  local kind = type(value)
  if kind == "string" then return quote(value) end
  if value == json.null then return "null" end
  if math.type(value) == "float" and value ~= 0 and math.abs(value) < 1e-3 and math.abs(value) >= 1e-9 then
    return (gsub(format("%.10f", value), "0+$", "")) -- amounts of money
  end
  if kind == "number" or kind == "boolean" or kind == "nil" then return tostring(value) end
  return M.native.describe(value)
end

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return
  then true until while]]):gmatch "%a+" do
  keywords[word] = true
end

local function is_name(key)
  return type(key) == "string" and match(key, "^[%a_][%w_]*$") and not keywords[key]
end

local function key_text(key)
  return is_name(key) and key or "[" .. plain(key) .. "]"
end

-- The value on one line of at most `room` letters; nil when it does not fit.
local function inline(value, room, depth, circle)
  value = M.native.reveal(value)
  if type(value) ~= "table" then
    local text = plain(value)
    return utf8.len(text) and utf8.len(text) <= room and text or nil
  end
  if next(value) == nil then return "{}" end
  if circle[value] or depth == 0 then return "{ … }" end
  circle[value] = true
  local words, left, position = {}, room - 4, 1
  for _, key in ipairs(sorted_keys(value)) do
    local name = key == position and "" or key_text(key) .. " = "
    if name == "" then position = position + 1 end
    local text = left > #name and inline(rawget(value, key), left - #name, depth - 1, circle)
    if not text then
      circle[value] = nil
      return nil
    end
    words[#words + 1] = name .. text
    left = left - #name - utf8.len(text) - 2
  end
  circle[value] = nil
  if left < -2 then return nil end
  return "{ " .. table.concat(words, ", ") .. " }"
end

-- Appends the lines of a value; `head` stands before it and `tail` behind it.
local function put(lines, head, value, tail, indent, depth, circle)
  value = M.native.reveal(value)
  local margin = rep("  ", indent)
  local room = WIDTH - #margin - #head - #tail
  local one = inline(value, type(value) == "table" and room or math.maxinteger, depth, circle)
  if one then
    lines[#lines + 1] = margin .. head .. one .. tail
    return
  end
  circle[value] = true
  lines[#lines + 1] = margin .. head .. "{"
  local position = 1
  for _, key in ipairs(sorted_keys(value)) do
    local name = key == position and "" or key_text(key) .. " = "
    if name == "" then position = position + 1 end
    put(lines, name, rawget(value, key), ",", indent + 1, depth - 1, circle)
    if #lines > LINES then break end
  end
  circle[value] = nil
  lines[#lines + 1] = margin .. "}" .. tail
end

-- A value as text of one or more lines, tables sorted by key.
function M.show(value)
  local lines = {}
  put(lines, "", value, "", 0, DEPTH, {})
  return table.concat(lines, "\n")
end

-- A value in at most about 40 letters.
function M.short(value)
  local text = inline(value, 40, 3, {})
  if text then return text end
  if type(value) == "string" then
    local last = math.min(36, #value + 1)
    return quote(value:sub(1, (utf8.offset(value, 0, last) or last) - 1)) .. "…"
  end
  return "{ … }"
end

-- What print shows of its arguments.
function M.words(...)
  local words = {}
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    words[i] = type(value) == "string" and value or M.show(value)
  end
  return table.concat(words, "\t")
end

-- ------------------------------------------------------------------------------------- source

-- A value of JSON as Lua that makes it again, on one line.
function M.source(value)
  local kind = type(value)
  if kind == "string" then return quote(value, true) end
  if kind ~= "table" then return value == json.null and "nil" or tostring(value) end
  local words, position = {}, 1
  for _, key in ipairs(sorted_keys(value)) do
    if key == position then
      position = position + 1
      words[#words + 1] = M.source(rawget(value, key))
    else
      words[#words + 1] = key_text(key) .. " = " .. M.source(rawget(value, key))
    end
  end
  return #words == 0 and "{}" or "{ " .. table.concat(words, ", ") .. " }"
end

-- ---------------------------------------------------------------------------------- the record

-- The decision record as lines see it: an entry of the plan is a table with the model's name.
function M.record(record)
  if not record then
    M.globals._ = nil
    return
  end
  local plan = {}
  for i, name in ipairs(record.plan or {}) do plan[i] = { model = name } end
  record.plan = plan
  M.globals._ = record
end

-- -------------------------------------------------------------------------------- completion

local function collect(found, t)
  if type(t) ~= "table" then return end
  for key in next, t do
    if is_name(key) then found[key] = true end
  end
end

-- The names under a value; all globals where there is none.
local function names_under(value)
  local found = {}
  if value == nil then
    collect(found, M.globals)
    collect(found, M.own)
    collect(found, M.names)
    collect(found, keywords)
    if M.native.req() then found.req = true end
  elseif type(value) == "string" then
    collect(found, M.native.names(M.names.string))
  else
    collect(found, M.native.names(value) or M.native.reveal(value))
  end
  return found
end

local function step(value, key)
  value = M.native.names(value) or M.native.reveal(value)
  if type(value) ~= "table" then return nil end
  local found = rawget(value, key)
  if found == nil then found = rawget(value, math.tointeger(tonumber(key))) end
  return found
end

local function global(name)
  if name == "req" then return M.native.req() end
  local value = rawget(M.globals, name)
  if value == nil then value = M.own[name] end
  if value == nil then value = M.names[name] end
  return value
end

-- The words that a path (`_.plan[1].mo`, `stats.`, `ro`) may become, sorted.
function M.complete(path)
  local head, last = match(path, "^(.*[.:])([%w_]*)$")
  local value
  if head then
    for name in head:gmatch "[%w_]+" do
      if value == nil then value = global(name) else value = step(value, name) end
      if value == nil then return {} end
    end
  else
    head, last = "", path
  end
  local words = {}
  for name in next, names_under(value) do
    if name:sub(1, #last) == last and name:sub(1, 2) ~= "__" then words[#words + 1] = head .. name end
  end
  table.sort(words)
  return words
end

-- ------------------------------------------------------------------------------- the world

-- Makes the globals of a session: what lines set, else what policies see, and `own`: print, hooks.
function M.open(base, own)
  local native = M.native
  M.own, M.names = own, native.names(base)
  M.globals = setmetatable({}, {
    __index = function(_, key)
      if key == "req" then return native.req() end
      local value = own[key]
      if value ~= nil then return value end
      return M.names[key]
    end,
    __metatable = false,
  })
  return M.globals
end

return M

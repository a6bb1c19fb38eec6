-- Decides which words and signs a Lua source is made of, and where each stands.
--
-- M.tokens(source, most) returns parallel lists: kind ("name", "string", "number", "end of file", or the keyword
-- or sign itself), value (of the first three), at (first byte), behind (the byte after the last), and the
-- comments, each {at=, text=}. It expects a source that Lua compiles; of any other it makes something,
-- and always comes to an end; at the latest after `most` tokens, where that is given.

local find, sub, match, byte = string.find, string.sub, string.match, string.byte

local M = {}

local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return
  then true until while]]):gmatch "%a+" do
  keywords[word] = true
end

local escapes = {
  a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v",
  ["\\"] = "\\", ["'"] = "'", ['"'] = '"', ["\n"] = "\n",
}

-- The text that a quoted literal stands for.
local function unquote(inner)
  if not find(inner, "\\", 1, true) then return inner end
  local parts, at = {}, 1
  while true do
    local slash = find(inner, "\\", at, true)
    if not slash then break end
    parts[#parts + 1] = sub(inner, at, slash - 1)
    local c = sub(inner, slash + 1, slash + 1)
    local hex = match(inner, "^x(%x%x)", slash + 1)
    local digits = match(inner, "^%d%d?%d?", slash + 1)
    local point = match(inner, "^u{(%x+)}", slash + 1)
    if hex then
      parts[#parts + 1], at = string.char(tonumber(hex, 16)), slash + 4
    elseif digits then
      parts[#parts + 1], at = string.char(tonumber(digits) % 256), slash + 1 + #digits
    elseif point then
      local code = tonumber(point, 16)
      parts[#parts + 1], at = code < 0x80000000 and utf8.char(code) or "?", slash + 4 + #point
    elseif c == "z" then
      at = find(inner, "[^%s]", slash + 2) or #inner + 1
    else
      parts[#parts + 1], at = escapes[c] or c, slash + 2
    end
  end
  parts[#parts + 1] = sub(inner, at)
  return table.concat(parts)
end

-- Behind a long bracket that opens at `at`, and its inside; nil when none opens there.
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
  local stop = sub(source, at, at) == '"' and '["\\]' or "['\\]"
  local i = at + 1
  while true do
    i = find(source, stop, i)
    if not i then return #source + 1, "" end
    if byte(source, i) ~= 92 then return i + 1, sub(source, at + 1, i - 1) end
    i = i + 2
  end
end

local function number_end(source, at)
  local _, last = find(source, "^0[xX][%x.]*", at)
  local exponent = "^[pP][+-]?%d+"
  if not last then
    _, last = find(source, "^%d*%.?%d*", at)
    exponent = "^[eE][+-]?%d+"
  end
  local _, behind = find(source, exponent, last + 1)
  return (behind or last) + 1
end

-- A comment that begins at `at`: where to go on.
local function comment(source, at, comments)
  local behind = long_bracket(source, at + 2)
  if not behind then
    behind = find(source, "\n", at, true) or #source + 1
    comments[#comments + 1] = { at = at, text = sub(source, at + 2, behind - 1) }
  end
  return behind
end

local signs3, signs2 = { ["..."] = true }, {}
for sign in ("== ~= <= >= // << >> :: .."):gmatch "%S+" do signs2[sign] = true end

local function sign_at(source, at)
  local three = sub(source, at, at + 2)
  if signs3[three] then return three end
  local two = sub(three, 1, 2)
  return signs2[two] and two or sub(three, 1, 1)
end

-- The token at `at`, which is neither blank nor comment: kind, value, where to go on.
local function token_at(source, at)
  local c = sub(source, at, at)
  if find(c, "[%a_]") then
    local word = match(source, "^[%w_]+", at)
    return keywords[word] and word or "name", word, at + #word
  elseif c == '"' or c == "'" then
    local behind, inner = quoted(source, at)
    return "string", unquote(inner), behind
  elseif find(source, "^%.?%d", at) then
    local behind = number_end(source, at)
    return "number", tonumber(sub(source, at, behind - 1)) or 0, behind
  elseif find(source, "^%[=*%[", at) then
    local behind, inner = long_bracket(source, at)
    return "string", inner, behind
  end
  local sign = sign_at(source, at)
  return sign, nil, at + #sign
end

function M.tokens(source, most)
  local t = { kind = {}, value = {}, at = {}, behind = {}, n = 0, comments = {} }
  local at = match(source, "^#[^\n]*()") or 1
  while true do
    at = find(source, "[^%s]", at)
    if not at or t.n == most then break end
    if sub(source, at, at + 1) == "--" then
      at = comment(source, at, t.comments)
    else
      local n = t.n + 1
      t.n, t.at[n] = n, at
      t.kind[n], t.value[n], at = token_at(source, at)
      t.behind[n] = at
    end
  end
  local n = t.n + 1
  t.kind[n], t.at[n], t.behind[n] = "end of file", #source + 1, #source + 1
  return t
end

-- A function that gives line and column (in bytes, from 1) of a byte.
function M.places(source)
  local starts, at = { 1 }, 1
  while true do
    at = find(source, "\n", at, true)
    if not at then break end
    at = at + 1
    starts[#starts + 1] = at
  end
  return function(position)
    local low, high = 1, #starts
    while low < high do
      local middle = (low + high + 1) // 2
      if starts[middle] <= position then low = middle else high = middle - 1 end
    end
    return low, position - starts[low] + 1
  end
end

return M

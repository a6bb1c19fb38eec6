-- Decides what the *_test.lua files of a policy set can call, and how it is told that they got
-- something else than they wanted.
--
-- M.open(base, native) makes the environment of one file: all that policies see, and test, play, alerts, expect
-- and recorded, which are C's. M.tests is what the file has announced. No value of a test is trusted: only
-- raw access is used, no metamethod of theirs runs here.

local M = { tests = {} }

local format, rep, match = string.format, string.rep, string.match

local INLINE = 72 -- bytes of a table that still stands on one line
local LINES = 20 -- of one value
local TEXT = 400 -- bytes of one string
local DEPTH = 16

-- ------------------------------------------------------------------------------------- values

-- Numbers first, then names, then the rest.
local rank = { number = 1, string = 2, boolean = 3 }

local function before(a, b)
  local left, right = rank[type(a)] or 4, rank[type(b)] or 4
  if left ~= right then return left < right end
  if left <= 2 then return a < b end
  return tostring(a) < tostring(b)
end

local function sorted_keys(...)
  local keys, seen = {}, {}
  for _, t in ipairs { ... } do
    for key in next, t do
      if not seen[key] then
        seen[key] = true
        keys[#keys + 1] = key
      end
    end
  end
  table.sort(keys, before)
  return keys
end

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }

local function escape(c)
  return escapes[c] or format("\\x%02x", c:byte())
end

local function show_string(s)
  local cut = #s > TEXT
  if cut then s = s:sub(1, (utf8.offset(s, 0, TEXT + 1) or TEXT + 1) - 1) end
  return '"' .. s:gsub('[%c"\\]', escape) .. '"' .. (cut and "…" or "")
end

local function show_plain(value)
  local kind = type(value)
  if kind == "string" then return show_string(value) end
  if value == json.null then return "null" end
  if kind == "number" or kind == "boolean" or kind == "nil" then return tostring(value) end
  return "a " .. kind
end

local function show_key(key)
  if type(key) == "string" and match(key, "^[%a_][%w_]*$") then return key end
  return "[" .. show_plain(key) .. "]"
end

-- Appends the lines of a value; the last one stays open for what follows it.
local function put(lines, value, indent, depth, circle)
  local function add(text) lines[#lines] = lines[#lines] .. text end
  if type(value) ~= "table" then return add(show_plain(value)) end
  if next(value) == nil then return add("{}") end
  if circle[value] then return add("{ itself }") end
  if depth == 0 then return add("{ … }") end
  circle[value] = true
  add("{")
  local position = 1
  for _, key in ipairs(sorted_keys(value)) do
    lines[#lines + 1] = rep("  ", indent + 1)
    if key == position then position = position + 1 else add(show_key(key) .. " = ") end
    put(lines, rawget(value, key), indent + 1, depth - 1, circle)
    add(",")
    if #lines > 4 * LINES then break end
  end
  circle[value] = nil
  lines[#lines + 1] = rep("  ", indent) .. "}"
end

-- A value as its lines: one where that is short, else sorted by key and cut.
local function show_lines(value)
  local lines = { "" }
  put(lines, value, 0, DEPTH, {})
  if #lines <= LINES then
    local words = {}
    for i, line in ipairs(lines) do words[i] = match(line, "^%s*(.*)$") end
    local one = table.concat(words, " "):gsub(",( })", "%1")
    if #lines == 1 or #one <= INLINE then return { one } end
    return lines
  end
  local cut = table.move(lines, 1, LINES, 1, {})
  cut[LINES + 1] = "…"
  return cut
end

local function is_same(got, wanted)
  return rawequal(got, wanted) or (got ~= got and wanted ~= wanted)
end

-- The way from the top to a pair, cut at its beginning where it is long.
local function path_of(pair)
  local names = {}
  while pair.above do
    table.insert(names, show_key(pair.key))
    pair = pair.above
  end
  local words, bytes = {}, 0
  for i, name in ipairs(names) do
    words[i] = name:sub(1, 1) == "[" and name or "." .. name
    bytes = bytes + #words[i]
    if bytes > TEXT then
      words[i] = "…"
      break
    end
  end
  for i = 1, #words // 2 do words[i], words[#words + 1 - i] = words[#words + 1 - i], words[i] end
  return table.concat(words)
end

-- The path to the first part in which two values differ and what is there; nothing when they are equal. Pairs of
-- tables that were met before are as equal as the rest is: tables may contain themselves, at any depth.
local function differ(got, wanted)
  local pairs_left, met = { { got = got, wanted = wanted } }, {}
  while #pairs_left > 0 do
    local pair = table.remove(pairs_left)
    local g, w = pair.got, pair.wanted
    if type(g) ~= "table" or type(w) ~= "table" then
      if not is_same(g, w) then return path_of(pair), g, w end
    elseif not rawequal(g, w) and not (met[g] and met[g][w]) then
      met[g] = met[g] or {}
      met[g][w] = true
      local keys = sorted_keys(g, w)
      for i = #keys, 1, -1 do
        local key = keys[i]
        local below_g, below_w = rawget(g, key), rawget(w, key)
        if type(below_g) == "table" or not is_same(below_g, below_w) then
          table.insert(pairs_left, { got = below_g, wanted = below_w, key = key, above = pair })
        end
      end
    end
  end
  return nil
end

local function labelled(lines, label, values)
  for i, line in ipairs(values) do
    lines[#lines + 1] = format("%-10s%s", i == 1 and label or "", line)
  end
end

-- nil when the two are equal, else the text that says how they are not.
function M.compare(got, wanted)
  local path, g, w = differ(got, wanted)
  if not path then return nil end
  local lines = {}
  labelled(lines, "got", show_lines(got))
  labelled(lines, "expected", show_lines(wanted))
  if path ~= "" then
    local here = { format("at %s: got %s, expected %s", path, show_lines(g)[1], show_lines(w)[1]) }
    labelled(lines, "differs", here)
  end
  return table.concat(lines, "\n")
end

-- -------------------------------------------------------------------------------------- tests

local function add(entry)
  for _, other in ipairs(M.tests) do
    if other.name == entry.name then
      return format("there is a test %s already, in line %d", show_string(entry.name), other.line)
    end
  end
  M.tests[#M.tests + 1] = entry
end

-- test(name, fn). Like each, returns what is wrong, or nil.
function M.add(line, name, fn)
  return add { name = name, fn = fn, line = line }
end

-- What tells an item from the others: itself, the text that it begins with, or its place.
local function title(item, i)
  local first = type(item) == "table" and rawget(item, 1)
  if type(first) == "string" and #first <= INLINE then return show_plain(first) end
  local shown = show_lines(item)
  return #shown == 1 and #shown[1] <= INLINE and shown[1] or "#" .. i
end

-- test.each(name, list, fn): a test for each item, with the item in its name.
function M.each(line, name, list, fn)
  if #list == 0 then return "test.each has an empty list, so that nothing would be tested" end
  for i, item in ipairs(list) do
    local wrong = add { name = format("%s (%s)", name, title(item, i)), fn = fn, line = line, args = 1, item = item }
    if wrong then return wrong end
  end
end

-- ---------------------------------------------------------------------------------------- cases

-- What a case without `expect` is recorded with.
local RECORDED = {
  status = 0, degraded = false, reason = "", model = "", plan = {}, dropped = {},
  attempts = { { model = "", class = "" } }, skipped = { { model = "", why = "" } }, error = { type = "" },
}

-- recorded(pattern): a test for this file.
function M.record(line, name)
  return add { name = name, line = line, case = name }
end

-- What is played of a case, and what it expects; a text when it is no case.
function M.split(case)
  if type(case) ~= "table" or rawget(case, 1) ~= nil then
    return 'a case is {"request": {…}, …, "expect": {…}}'
  end
  local given = {}
  for key, value in next, case do given[key] = value end
  local expect = given.expect
  if expect ~= nil and type(expect) ~= "table" then return "expect must be an object" end
  given.expect = nil
  return { given = given, expect = expect }
end

-- The part of a run that a case speaks of: of tables those members that are wanted, of lists all items.
local function part(got, wanted)
  if type(got) ~= "table" or type(wanted) ~= "table" or next(got) == nil then return got end
  local made = {}
  if rawget(got, 1) ~= nil then
    local last
    for i, item in ipairs(got) do
      last = rawget(wanted, i) or last
      made[i] = part(item, last)
    end
    return made
  end
  for key, value in next, wanted do made[key] = part(rawget(got, key), value) end
  return made
end

-- Pretty JSON: short values on one line, the members of a table sorted.
local function to_json(value, indent)
  local one = json.encode(value)
  if type(value) ~= "table" or next(value) == nil or #one <= INLINE then return one end
  local lines, inner, list = {}, rep("  ", indent + 1), rawget(value, 1) ~= nil
  for _, key in ipairs(sorted_keys(value)) do
    local text = to_json(value[key], indent + 1)
    lines[#lines + 1] = inner .. (list and "" or json.encode(key) .. ": ") .. text
  end
  local open, close = list and "[" or "{", list and "]" or "}"
  return open .. "\n" .. table.concat(lines, ",\n") .. "\n" .. rep("  ", indent) .. close
end

-- Every path at which two values differ, as lines.
local function changes(lines, was, now, path)
  if type(was) == "table" and type(now) == "table" and next(was) ~= nil and next(now) ~= nil then
    for _, key in ipairs(sorted_keys(was, now)) do
      local name = show_key(key)
      changes(lines, rawget(was, key), rawget(now, key), path .. (name:sub(1, 1) == "[" and name or "." .. name))
    end
  elseif differ(was, now) then
    lines[#lines + 1] = format("%s: was %s, is %s", path, show_lines(was)[1], show_lines(now)[1])
  end
end

-- nil when the run is as the case expects it; else what is said of it, what changed, and the new JSON.
function M.judge(run, expect)
  local got = part(run, expect or RECORDED)
  if expect and not differ(got, expect) then return nil end
  local lines = {}
  changes(lines, expect or {}, got, "expect")
  return {
    message = expect and M.compare(got, expect)
      or "the case does not say what it expects: neap test --update records it",
    changes = expect and table.concat(lines, "\n") or "expect: recorded",
    json = to_json(got, 1),
  }
end

-- ---------------------------------------------------------------------------------------- play

local lists = { "messages", "context", "stop" }

-- A copy of play's table in which the lists that are empty are lists for JSON, too.
function M.prepare(t)
  local request = rawget(t, "request")
  if type(request) ~= "table" then return t end
  local copy, inner = {}, {}
  for key, value in next, t do copy[key] = value end
  for key, value in next, request do inner[key] = value end
  for _, name in ipairs(lists) do
    local list = inner[name]
    if type(list) == "table" and next(list) == nil then inner[name] = json.array {} end
  end
  copy.request = inner
  return copy
end

-- ----------------------------------------------------------------------------------- what comes back

-- The fields of what comes back, as words.lua has them (a test holds it), and the class of those that are of one.
local FIELDS = {
  run = "status cancelled text model provider degraded reason finish_reason retry_after_s hedge cost_usd latency_ms "
    .. "plan attempts:run_attempt skipped:run_skip dropped hooks:run_hook calls:run_call error:run_error",
  run_attempt = "model provider class status error latency_ms max_tokens cost_usd retry_in_ms hedge lost",
  run_skip = "model why",
  run_hook = "returned why",
  run_call = "hook returned why error at steps",
  run_error = "type message param",
  told = "alarms:alarm returned why error at steps",
  alarm = "alert subject severity text silence",
}
M.FIELDS = FIELDS

local guess -- C's
local classes = {} -- by name: { below = { field = class }, meta = a metatable }

-- A table with fields of these names: another one is named when it is read, as it would be of req.
local function meta_of(what, names)
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  local function refuse(_, name)
    if type(name) ~= "string" or known[name] then return nil end
    local near = guess(name, names)
    error(format("%s has no field %s%s", what, show_string(name), near and "; did you mean " .. near .. "?" or ""), 2)
  end
  return { __index = refuse, __metatable = false }
end

local function class_of(name)
  if not classes[name] then
    local names, below = {}, {}
    for field, class in FIELDS[name]:gmatch "([%w_]+):?([%w_]*)" do
      names[#names + 1] = field
      if class ~= "" then below[field] = class end
    end
    classes[name] = { below = below, meta = meta_of(name, names) }
  end
  return classes[name]
end

-- Named here, not read from the table, whose order would make a test's steps other ones each time.
local hooks_meta =
  meta_of("run.hooks", { "admit", "route", "truncate", "budget", "retry", "respond", "degrade", "alert" })

-- Makes the names of fields sure in a table of a class, or in each of a list.
local function guard(value, name)
  if type(value) ~= "table" then return end
  if rawget(value, 1) ~= nil then
    for _, item in ipairs(value) do guard(item, name) end
    return
  end
  local class = class_of(name)
  for field, below in next, class.below do
    local inner = rawget(value, field)
    if field == "hooks" and type(inner) == "table" then
      for _, calls in next, inner do guard(calls, below) end
      setmetatable(inner, hooks_meta)
    else
      guard(inner, below)
    end
  end
  if next(value) ~= nil then setmetatable(value, class.meta) end
end

-- What play and alerts give back.
function M.hand_back(value, name)
  guard(value, name)
  return value
end

-- ------------------------------------------------------------------------------- the environment

local function refuse_global(_, name)
  error("there are no globals in tests: write `local " .. tostring(name) .. " = …`", 2)
end

local function refuse_field(_, name)
  error("test is read-only: " .. tostring(name) .. " can't be set", 2)
end

function M.open(base, native)
  guess = native.guess
  local each = { each = native.each }
  local names = setmetatable({
    test = setmetatable({}, {
      __call = native.test,
      __index = each,
      __newindex = refuse_field,
      __metatable = false,
    }),
    play = native.play,
    alerts = native.alerts,
    expect = native.expect,
    recorded = native.recorded,
  }, { __index = base })
  return setmetatable({}, { __index = names, __newindex = refuse_global, __metatable = false })
end

return M

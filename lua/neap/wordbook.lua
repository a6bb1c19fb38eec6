-- Looks names of policies up in words.lua and writes them down: for people who ask (`.doc`), for completion
-- and for the checker. Gets what words.lua returns.

local words = ...
local M = {}

local format, concat = string.format, table.concat

-- ------------------------------------------------------------------------------------ the index

local by_name = {} -- name -> list of { what, entry }
local names = {} -- all of them, sorted
local libraries = {} -- "stats" -> its functions, in order

local function put(name, what, entry)
  if not by_name[name] then
    by_name[name] = {}
    names[#names + 1] = name
  end
  table.insert(by_name[name], { what = what, entry = entry })
end

for _, hook in ipairs(words.hooks) do put(hook.name, "hook", hook) end
for _, f in ipairs(words.functions) do
  put(f.name, "function", f)
  local library = f.name:match("^(%w+)%.")
  if library then
    if not libraries[library] then
      libraries[library] = {}
      if not by_name[library] or by_name[library][1].what ~= "function" then
        put(library, "library", libraries[library])
      end
    end
    table.insert(libraries[library], f)
  end
end
for _, class in ipairs(words.classes) do
  local short = class.name:gsub("^neap%.", "")
  put(class.name, "class", class)
  put(short, "class", class)
  for _, field in ipairs(class.fields) do
    put(class.name .. "." .. field.name, "field", field)
    put(short .. "." .. field.name, "field", field)
  end
end
for _, alias in ipairs(words.aliases) do put(alias.name, "alias", alias) end
for _, out in ipairs(words.left_out) do put(out.name, "left out", out) end
table.sort(names)

local aliases = {}
for _, alias in ipairs(words.aliases) do aliases[alias.name] = alias.type end

-- ---------------------------------------------------------------------------------------- telling

local function params_text(params)
  local list = {}
  for i, param in ipairs(params) do
    local optional = param.type:match("^(.*)%?$")
    list[i] = optional and format("%s?: %s", param.name, optional) or format("%s: %s", param.name, param.type)
  end
  return concat(list, ", ")
end

-- "stats.p95(name: string) -> number?"
function M.signature(f)
  if f.kind == "value" then return f.name .. ": " .. f.returns[1] end
  local back = #f.returns > 0 and " -> " .. concat(f.returns, ", ") or ""
  return format("%s(%s)%s", f.name, params_text(f.params), back)
end

local function indent(text) return "    " .. text:gsub("\n", "\n    ") end

local function add(lines, label, text)
  if text then lines[#lines + 1] = format("%-8s  %s", label, text) end
end

local classes = {}
for _, class in ipairs(words.classes) do classes[class.name] = class end

-- What the plain tables in a written type have: "neap.wait    { retry_in_ms: number }".
local function add_classes(lines, written)
  for name in written:gmatch "neap%.[%w_.]+" do
    local class = classes[name]
    if class and not class.handle then
      local fields = {}
      for i, field in ipairs(class.fields) do fields[i] = field.name .. ": " .. field.type end
      lines[#lines + 1] = format("%s  { %s }", name, concat(fields, ", "))
    end
  end
end

local places = { data = "data files only", test = "*_test.lua only" }

local tell = {
  hook = function(hook)
    local lines = { format("%s(%s) -> %s", hook.name, params_text(hook.params), hook.returns[1]), hook.text }
    add(lines, "called", hook.called)
    add(lines, "without", hook.default .. "; the same when it fails (or a refusal, by on_error in endpoints.lua)")
    add_classes(lines, hook.returns[1])
    lines[#lines + 1] = indent("-- " .. hook.name .. ".lua\n" .. hook.example)
    return lines
  end,
  ["function"] = function(f)
    local lines = { M.signature(f), f.text }
    add(lines, "in", places[f.files])
    add(lines, "refuses", f.errors)
    for _, param in ipairs(f.params) do add_classes(lines, param.type) end
    lines[#lines + 1] = indent(f.example)
    return lines
  end,
  field = function(field, name)
    local lines = { format("%s: %s", name, field.type) }
    lines[2] = field.text .. (field.unit and " In " .. field.unit .. "." or "")
    local texts = aliases[field.type:gsub("%?$", "")]
    add(lines, "one of", texts and texts:gsub("|", " "))
    if field.write then add(lines, "written", "in " .. field.write .. " only") end
    if field.example then lines[#lines + 1] = indent(field.example) end
    return lines
  end,
  class = function(class, name)
    local lines = { name .. (class.handle and "" or " (a table)"), class.text }
    local width = 0
    for _, field in ipairs(class.fields) do width = math.max(width, #field.name) end
    for _, field in ipairs(class.fields) do
      lines[#lines + 1] = indent(format("%-" .. width .. "s  %s", field.name, field.text))
    end
    return lines
  end,
  library = function(library, name)
    local lines = { name .. ".…" }
    for _, f in ipairs(library) do
      lines[#lines + 1] = indent(f.kind == "value" and f.name or M.signature(f))
    end
    return lines
  end,
  alias = function(alias, name)
    return { name .. ": " .. alias.type:gsub("|", " | "), alias.text }
  end,
  ["left out"] = function(out, name)
    return { format("%s is not offered to policies: %s.", name, out.text) }
  end,
}

-- What a name means, as text for people; nil when nothing is called so.
function M.tell(name)
  local parts = {}
  for i, found in ipairs(by_name[name] or {}) do
    parts[i] = concat(tell[found.what](found.entry, name), "\n")
  end
  return parts[1] and concat(parts, "\n\n") .. "\n"
end

-- ---------------------------------------------------------------------------------------- listing

-- All names that begin with a text, sorted, and a sentence for each; those of tables by their class's
-- name only where the text begins so.
function M.list(prefix)
  local list = {}
  for _, name in ipairs(names) do
    if name:sub(1, #prefix) == prefix and (name:sub(1, 5) ~= "neap." or prefix:sub(1, 5) == "neap.") then
      local entry = by_name[name][1].entry
      list[#list + 1] = { name = name, text = entry.text or concat({ name, ".…" }) }
    end
  end
  return list
end

-- The fields of a class ("req", "neap.message"); nil when there is no such class.
function M.fields(name)
  for _, found in ipairs(by_name[name] or {}) do
    if found.what == "class" then return found.entry.fields end
  end
  return nil
end

-- ------------------------------------------------------------------------------------------ kinds

local plain = { string = "string", integer = "number", number = "number", boolean = "boolean", table = "table",
  userdata = "userdata", ["nil"] = "nil", ["function"] = "function" }
for _, class in ipairs(words.classes) do plain[class.name] = class.handle and "userdata" or "table" end

-- The kinds, as type() names them, that a value of a written type can be of: "string?" is { string = true,
-- ["nil"] = true }; nil: any. The second value is the set of texts, where only some can be.
function M.kinds(written)
  local kinds, texts, open = {}, {}, false
  local text = written:gsub("%?$", "|nil"):gsub("neap%.[%w_]+", aliases):gsub("%b()", ""):gsub("%b<>", "")
  for part in text:gmatch("[^|]+") do
    local literal = part:match('^"(.*)"$')
    local kind = literal and "string" or plain[part] or part:find("^fun") and "function" or "table"
    if part == "any" then return nil end
    kinds[kind] = true
    if literal then texts[literal] = true end
    open = open or (kind == "string" and not literal)
  end
  return kinds, not open and next(texts) and texts or nil
end

return M

-- The tables of policies/README.md are those that lua/neap/words.lua makes: between <!-- words: NAME --> and
-- <!-- end --> nobody writes by hand. `lua5.4 tests/lua/guide.lua --write`, from the top of the tree, writes
-- them anew.

local top = os.getenv("NEAP_SOURCE") or "."
package.path = top .. "/lua/?.lua;" .. top .. "/tests/lua/?.lua;" .. package.path

local harness = require "lib.harness"
local words = require "neap.words"
local book = assert(loadfile(top .. "/lua/neap/wordbook.lua"))(words)

local format, concat = string.format, table.concat
local GUIDE = top .. "/policies/README.md"

-- ----------------------------------------------------------------------------------------- tables

local function cell(text) return (text:gsub("|", "\\|"):gsub("\n", " ")) end

local function row(...)
  local cells = {}
  for i, text in ipairs { ... } do cells[i] = cell(text) end
  return "| " .. concat(cells, " | ") .. " |"
end

local function code(text) return "`" .. text .. "`" end

local function head(...)
  return row(...) .. "\n|" .. string.rep(" --- |", select("#", ...))
end

local function class(name)
  for _, one in ipairs(words.classes) do
    if one.name == name then return one end
  end
  error("there is no class " .. name)
end

local M = {}

function M.hooks()
  local lines = { head("hook", "called", "returns", "without it, or when it fails") }
  for _, hook in ipairs(words.hooks) do
    local params = {}
    for i, param in ipairs(hook.params) do params[i] = param.name end
    lines[#lines + 1] = row(code(format("%s(%s)", hook.name, concat(params, ", "))), hook.called,
      code((hook.returns[1]:gsub("neap%.", ""))), hook.default)
  end
  return concat(lines, "\n")
end

-- "fields req": name, kind and sentence of each, and where it may be written.
function M.fields(name)
  local lines = { head("`" .. name .. "`", "kind", "") }
  for _, field in ipairs(class("neap." .. name).fields) do
    local text = field.text
    if field.write and field.write ~= "respond" then text = text .. " Writable in `" .. field.write .. "`." end
    if field.write == "respond" then text = text .. " Writable." end
    lines[#lines + 1] = row(code(field.name), code((field.type:gsub("neap%.", ""))), text)
  end
  return concat(lines, "\n")
end

-- "functions policy": those that are not Lua's own.
function M.functions(files)
  local lines = { head("function", "", "example") }
  for _, f in ipairs(words.functions) do
    if f.files == files and not f.lua then
      local signature = book.signature(f):gsub("neap%.", "")
      local text = f.text .. (f.errors and " Refuses " .. f.errors .. "." or "")
      lines[#lines + 1] = row(code(signature), text, code(f.example))
    end
  end
  return concat(lines, "\n")
end

-- Lua's own, by library, and what is left out.
function M.lua()
  local lists, order = {}, {}
  for _, f in ipairs(words.functions) do
    if f.lua then
      local library, name = f.name:match("^(%w+)%.(.*)$")
      library, name = library or "Lua", name or f.name
      if not lists[library] then
        lists[library] = {}
        order[#order + 1] = library
      end
      table.insert(lists[library], name)
    end
  end
  local lines = { head("", "offered") }
  for _, library in ipairs(order) do
    lines[#lines + 1] = row(library == "Lua" and "" or code(library), code(concat(lists[library], " ")))
  end
  return concat(lines, "\n")
end

function M.left_out()
  local lines = { head("not offered", "because") }
  for _, out in ipairs(words.left_out) do lines[#lines + 1] = row(code(out.name), out.text) end
  return concat(lines, "\n")
end

-- ------------------------------------------------------------------------------------------ guide

local function read()
  local file = assert(io.open(GUIDE))
  local text = file:read("a")
  file:close()
  return text
end

local MARK = "(<!%-%- words: ([%l_]+) ?([%l_]*) %-%->\n)(.-)(<!%-%- end %-%->)"

local function made()
  local n = 0
  local text = read():gsub(MARK, function(first, what, argument, _, last)
    n = n + 1
    return first .. assert(M[what], what)(argument) .. "\n" .. last
  end)
  return text, n
end

if arg[1] == "--write" then
  local text = made()
  local file = assert(io.open(GUIDE, "w"))
  file:write(text)
  file:close()
  os.exit(0)
end

harness.test("the guide's tables are those of words.lua: lua5.4 tests/lua/guide.lua --write", function()
  local text = made()
  if text == read() then return end
  local line = 1
  local old, new = read():gmatch("([^\n]*)\n"), text:gmatch("([^\n]*)\n")
  for was in old do
    local is = new()
    if was ~= is then error(format("line %d:\n  is        %s\n  should be %s", line, was, tostring(is)), 0) end
    line = line + 1
  end
  error("lines are missing at its end", 0)
end)

harness.test("the guide has a table of each kind", function()
  local _, n = made()
  assert(n >= 12, n)
  local text = read()
  for _, what in ipairs { "hooks", "lua", "left_out", "functions policy", "functions test", "functions data",
    "fields req", "fields candidate", "fields attempt", "fields reply", "fields run" } do
    assert(text:find("<!-- words: " .. what .. " -->", 1, true), what)
  end
end)

harness.test("the guide shows each hook with a worked example", function()
  local text = read()
  for _, hook in ipairs(words.hooks) do
    if not text:find("```lua\n-- " .. hook.name .. ".lua\n", 1, true) and hook.name ~= "alert" then
      error("there is no example of " .. hook.name)
    end
  end
end)

harness.finish()

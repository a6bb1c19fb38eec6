-- Writes words.lua down as types for editors (LuaCATS, as lua-language-server reads it): what `neap types`
-- puts into a set's .neap/neap.lua, and the settings that go with it. The file is valid Lua that nobody runs.

local words = ...
local M = {}

local format = string.format
local lines

local function add(text, ...) lines[#lines + 1] = select("#", ...) > 0 and format(text, ...) or text end

local function comment(text) add("---" .. text) end

-- `name? type` for what may be nil.
local function named(name, written)
  local optional = written:match("^(.*)%?$")
  return optional and format("%s? %s", name, optional) or format("%s %s", name, written)
end

local function put_class(class)
  comment(class.text)
  add("---@class %s", class.name)
  for _, field in ipairs(class.fields) do
    local note = field.write and format(" It can be written in %s only.", field.write) or ""
    comment(field.text .. note)
    add("---@field %s", named(field.name, field.type))
  end
  add("")
end

local function put_hook(hook)
  local params = {}
  for i, param in ipairs(hook.params) do params[i] = format("%s: %s", param.name, param.type) end
  comment(format("%s It is called %s; without it: %s.", hook.text, hook.called, hook.default))
  comment("The second value is its why, for the decision record.")
  add("---@alias neap.%s fun(%s): %s", hook.name, table.concat(params, ", "), table.concat(hook.returns, ", "))
  add("")
end

local function put_function(f)
  comment(f.text)
  if f.errors then comment("It refuses: " .. f.errors .. ".") end
  if f.example then comment("    " .. f.example) end
  if f.kind == "value" then
    add("---@type %s", f.returns[1])
    add("%s = nil", f.name)
  else
    local params = {}
    for i, param in ipairs(f.params) do
      params[i] = param.name
      add("---@param %s", named(param.name, param.type))
    end
    for _, written in ipairs(f.returns) do add("---@return %s", written) end
    add("function %s(%s) end", f.name, table.concat(params, ", "))
  end
  add("")
end

-- A table of functions; `test` is one that can be called, too.
local function put_library(name, called)
  if called then comment(called.text) end
  add("---@class neap.lib.%s", name)
  if called then
    local params = {}
    for i, param in ipairs(called.params) do params[i] = format("%s: %s", param.name, param.type) end
    add("---@overload fun(%s)", table.concat(params, ", "))
  end
  add("%s = {}", name)
  add("")
end

local function find(name)
  for _, f in ipairs(words.functions) do
    if f.name == name then return f end
  end
end

function M.types()
  lines = {}
  add("---@meta")
  add("-- Types of what neap's policies can name, for editors. Made by `neap types`: changes are lost.")
  add("")
  for _, alias in ipairs(words.aliases) do
    comment(alias.text)
    add("---@alias %s %s", alias.name, alias.type)
    add("")
  end
  for _, class in ipairs(words.classes) do put_class(class) end
  local opened = {}
  for _, f in ipairs(words.functions) do
    local library = f.name:match("^(%w+)%.")
    if library and not f.lua and not opened[library] then
      opened[library] = true
      put_library(library, find(library))
    end
    -- Lua's own are known to the editor.
    if not f.lua and f.name ~= "test" and f.name ~= "require" then put_function(f) end
  end
  for _, hook in ipairs(words.hooks) do put_hook(hook) end
  return table.concat(lines, "\n")
end

-- .luarc.json: which Lua it is, and which of its libraries are not offered.
function M.settings()
  local out = {}
  for _, name in ipairs { "coroutine", "debug", "io", "os", "package" } do
    out[#out + 1] = format('    "%s": "disable"', name)
  end
  return '{\n  "$schema": "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json",\n'
    .. '  "runtime.version": "Lua 5.4",\n  "runtime.path": ["?.lua"],\n  "runtime.builtin": {\n'
    .. table.concat(out, ",\n") .. '\n  },\n  "workspace.library": [".neap"],\n'
    .. '  "workspace.checkThirdParty": false\n}\n'
end

return M

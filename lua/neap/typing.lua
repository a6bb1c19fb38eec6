-- Decides of which kind an expression of a policy is, as far as that can be seen without running it.
--
-- M.new(words, names) takes what words.lua returns, and names = { model = {…}, provider = {…} } of the set
-- (either may be nil: not known). It returns an object with:
--
--   functions   by name: "stats.p95" -> its entry in words.lua      libraries   "stats" -> sorted names
--   type_of(node)      the kind of an expression; nil: not known
--   read(text)         what a type of words.lua says
--   bind(chunk, hook)  gives a file's variables what is needed; hook: its entry in words.lua, or nil
--
-- A type is { basic = {string=true, …}, literals = {"a", …} or nil, class = …, element = … }: `basic` has
-- the names of Lua's types (numbers: "number"), `literals` is there when only these texts can be,
-- `element` is the type of a list's items. What may be anything is no type: nil.

local M = {}

local match, sub = string.match, string.sub

-- ------------------------------------------------------------------------------- types in text

-- The parts of a text between the bars outside of brackets.
local function split(text)
  local parts, depth, from, quoted = {}, 0, 1, false
  for i = 1, #text do
    local c = sub(text, i, i)
    if c == '"' then quoted = not quoted end
    if match(c, "[(<]") then depth = depth + 1 end
    if match(c, "[)>]") then depth = depth - 1 end
    if c == "|" and depth == 0 and not quoted then
      parts[#parts + 1] = sub(text, from, i - 1)
      from = i + 1
    end
  end
  parts[#parts + 1] = sub(text, from)
  return parts
end

local basic_of = {
  string = "string", number = "number", integer = "number", boolean = "boolean", table = "table",
  userdata = "userdata", ["function"] = "function", ["nil"] = "nil",
}

local function new_type() return { basic = {}, open = false } end

-- Adds what one part of a union can be; false when that is anything.
local function add_part(T, made, text)
  local optional = match(text, "^(.*)%?$")
  if optional and not match(text, "^fun%(") then
    made.basic["nil"] = true
    text = optional
  end
  local inner = match(text, "^%((.*)%)$")
  local list = match(text, "^(.*)%[%]$")
  local literal = match(text, '^"(.*)"$')
  if list then
    made.basic.table = true
    made.element = T.read(match(list, "^%((.*)%)$") or list)
  elseif inner then
    return T.add(made, inner)
  elseif literal then
    made.basic.string = true
    made.literals = made.literals or {}
    table.insert(made.literals, literal)
  elseif basic_of[text] then
    made.basic[basic_of[text]] = true
    if text == "string" then made.open = true end
  elseif match(text, "^fun%(") then
    made.basic["function"] = true
  elseif match(text, "^table<") then
    made.basic.table = true
  elseif T.classes[text] then
    made.basic[T.classes[text].handle and "userdata" or "table"] = true
    made.class = T.classes[text]
  elseif T.aliases[text] then
    return T.add(made, T.aliases[text])
  else
    return false
  end
  return true
end

local function add(T, made, text)
  for _, part in ipairs(split(text)) do
    if not add_part(T, made, part) then return false end
  end
  return true
end

local function read(T, text)
  if T.read_before[text] == nil then
    local made = new_type()
    T.read_before[text] = false -- a type that holds itself is not known
    local known = T.add(made, text)
    if made.open then made.literals = nil end
    T.read_before[text] = known and made or false
  end
  return T.read_before[text] or nil
end

local function simple(name)
  local made = new_type()
  made.basic[name] = true
  return made
end

local STRING, NUMBER, BOOLEAN, TABLE, FUNCTION, NIL =
  simple "string", simple "number", simple "boolean", simple "table", simple "function", simple "nil"

local function without_nil(type)
  if not type or not type.basic["nil"] then return type end
  local made = { basic = {}, literals = type.literals, class = type.class, element = type.element,
    named = type.named }
  for name in pairs(type.basic) do made.basic[name] = name ~= "nil" or nil end
  return next(made.basic) and made or nil
end

-- What is either of two; nil where that is more than can be told.
local function either(a, b)
  if not a or not b then return nil end
  if b == NIL then
    local made = { basic = { ["nil"] = true }, literals = a.literals, class = a.class, element = a.element,
      named = a.named }
    for name in pairs(a.basic) do made.basic[name] = true end
    return made
  end
  local made = { basic = {}, class = a.class == b.class and a.class or nil }
  for name in pairs(a.basic) do made.basic[name] = true end
  for name in pairs(b.basic) do made.basic[name] = true end
  if a.literals and b.literals then
    made.literals = {}
    for _, list in ipairs { a.literals, b.literals } do
      for _, text in ipairs(list) do table.insert(made.literals, text) end
    end
  end
  if a.element == b.element then made.element = a.element end
  return made
end

-- -------------------------------------------------------------------------------- expressions

-- "stats.p95" for a global of this name; nil for anything else.
local function dotted(node)
  if node.tag == "Name" then return not node.var and not node.env and node.name or nil end
  if node.tag ~= "Index" or node.key.tag ~= "String" then return nil end
  local left = node.object.tag == "Name" and dotted(node.object)
  return left and left .. "." .. node.key.value or nil
end
M.dotted = dotted

-- Fields whose texts are names of the set.
local named = {
  ["neap.attempt"] = true, ["neap.past_attempt"] = true, ["neap.candidate"] = true, ["neap.reply"] = true,
}

local function field_type(T, class, name)
  local field = class.by_name[name]
  if not field then return nil end
  local names = named[class.name] and T.names[name]
  if names then
    return { basic = { string = true, ["nil"] = match(field.type, "%?$") and true or nil }, literals = names,
      named = name }
  end
  return T.read(field.type)
end

local E = {}

function E.Name(T, node) return node.var and T.var_type(node.var) or nil end
function E.Paren(T, node) return T.type_of(node.a) end
function E.String(_, node) return { basic = { string = true }, literals = { node.value } } end
function E.Number() return NUMBER end
function E.True() return BOOLEAN end
function E.False() return BOOLEAN end
function E.Nil() return NIL end
function E.Function() return FUNCTION end
function E.Table() return TABLE end

function E.Index(T, node)
  local entry = T.functions[dotted(node) or ""]
  if entry then return entry.kind == "value" and T.read(entry.returns[1]) or FUNCTION end
  local object = T.type_of(node.object)
  if not object then return nil end
  if node.key.tag == "String" then return object.class and field_type(T, object.class, node.key.value) end
  local key = T.type_of(node.key)
  return key and key.basic.number and either(object.element, NIL) or nil
end

local function result(T, node, place)
  local entry = T.functions[node.fn and dotted(node.fn) or ""]
  if not entry or not entry.returns[place] then return nil end
  if entry.returns[place] == "any" then return nil end
  return T.read(entry.returns[place])
end

function E.Call(T, node) return result(T, node, 1) end

function E.Unary(_, node)
  if node.op == "not" then return BOOLEAN end
  return node.op == "#" and NUMBER or nil
end

local results = {
  ["=="] = BOOLEAN, ["~="] = BOOLEAN, ["<"] = BOOLEAN, [">"] = BOOLEAN, ["<="] = BOOLEAN, [">="] = BOOLEAN,
  [".."] = STRING,
}

function E.Op(T, node)
  if results[node.op] then return results[node.op] end
  if node.op == "or" then return either(without_nil(T.type_of(node.a)), T.type_of(node.b)) end
  if node.op == "and" then return nil end
  local a, b = T.type_of(node.a), T.type_of(node.b)
  return a and b and a.basic.number and b.basic.number and NUMBER or nil
end

-- ---------------------------------------------------------------------------------- variables

-- A local function's parameter is what all its calls give it, where it is only called.
local function from_calls(T, var)
  local owner = var.fn.owner
  if not owner or owner.writes > 0 or not owner.calls or #owner.calls ~= owner.reads then return nil end
  local type
  for _, call in ipairs(owner.calls) do
    local arg = call.args[var.place]
    local given = arg and T.type_of(arg)
    if not given or (type and type.class ~= given.class) or not given.class then return nil end
    type = given
  end
  return type
end

local function loop_type(T, var)
  local node = var.loop
  if node.tag == "For" then return NUMBER end
  local call = node.values[1]
  if call.tag ~= "Call" or #node.values > 1 or not call.args[1] then return nil end
  local over = dotted(call.fn)
  if over ~= "ipairs" and over ~= "pairs" then return nil end
  local list = T.type_of(call.args[1])
  if var.place == 2 then return list and list.element end
  return over == "ipairs" and NUMBER or nil
end

local function local_type(T, var)
  local values = var.values
  if not values then return var.kind == "function" and FUNCTION or nil end
  if values[var.place] then return T.type_of(values[var.place]) end
  local last = values[#values]
  if last and last.tag == "Call" then return result(T, last, var.place - #values + 1) end
  return nil
end

local function var_type(T, var)
  if var.writes > 0 then return nil end
  if var.type == nil then
    var.type = false -- while it is looked for
    local type
    if var.loop then
      type = loop_type(T, var)
    elseif var.kind == "param" then
      type = var.hook_type or from_calls(T, var)
    else
      type = local_type(T, var)
    end
    var.type = type or false
  end
  return var.type or nil
end

-- ------------------------------------------------------------------------------------- binding

-- The function that a file returns, if it can be seen; nil otherwise.
function M.returned(chunk)
  local last = chunk.body[#chunk.body]
  local value = last and last.tag == "Return" and last.values[1]
  if value and value.tag == "Name" and value.var and value.var.writes == 0 then value = value.var.init end
  return value and value.tag == "Function" and value or nil
end

local function count_use(node, parent)
  local var = node.var
  if node.target then
    var.writes = var.writes + 1
    return
  end
  var.reads = var.reads + 1
  if parent and parent.tag == "Call" and parent.fn == node then
    var.calls = var.calls or {}
    table.insert(var.calls, parent)
  end
end

local function own_functions(node)
  for i, var in ipairs(node.vars) do
    local value = node.values[i]
    if value and value.tag == "Function" then value.owner = var end
  end
end

local function count(node, parent)
  if node.tag == "LocalFunction" then
    node.fn.owner = node.var
  elseif node.tag == "Assign" then
    for _, target in ipairs(node.targets) do target.target = true end
  elseif node.tag == "Local" then
    own_functions(node)
  elseif node.tag == "Name" and node.var then
    count_use(node, parent)
  end
end

function M.new(words, names)
  local T = { names = names or {}, classes = {}, aliases = {}, functions = {}, libraries = {}, read_before = {} }
  for _, class in ipairs(words.classes) do
    local by_name, sorted = {}, {}
    for _, field in ipairs(class.fields) do
      by_name[field.name] = field
      sorted[#sorted + 1] = field.name
    end
    table.sort(sorted)
    T.classes[class.name] = { name = class.name, handle = class.handle, by_name = by_name, sorted = sorted }
  end
  for _, alias in ipairs(words.aliases) do T.aliases[alias.name] = alias.type end
  for _, entry in ipairs(words.functions) do
    T.functions[entry.name] = entry
    local library, member = match(entry.name, "^([%w_]+)%.([%w_]+)$")
    if library then
      T.libraries[library] = T.libraries[library] or {}
      table.insert(T.libraries[library], member)
    end
  end
  function T.add(made, text) return add(T, made, text) end
  function T.read(text) return read(T, text) end
  function T.var_type(var) return var_type(T, var) end
  function T.type_of(node)
    if node.type == nil then
      local how = E[node.tag]
      node.type = how and how(T, node) or false
    end
    return node.type or nil
  end
  function T.bind(chunk, each, hook)
    each(chunk, count)
    local fn = hook and M.returned(chunk)
    if not fn then return end
    for i, param in ipairs(hook.params) do
      if fn.params[i] then fn.params[i].hook_type = T.read(param.type) end
    end
  end
  return T
end

return M

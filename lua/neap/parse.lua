-- Decides what a Lua source says: its statements and expressions as a tree, with each name bound to the
-- variable that it means.
--
-- M.parse(tokens) takes what lex.lua made of a source that Lua compiles, and returns the chunk as a function
-- node. Of a source that Lua refuses it raises. A node is a table with `tag` and `at` (its first byte):
--
--   Function  params, vararg, body, returns (all its Return nodes), up (the function around it)
--   Block     a list of statements
--   Local     vars, values, attribs   LocalFunction  var, fn    Assign  targets, values    Call statement: Do it
--   Do body   While cond body   Repeat body cond   If clauses {cond, body} orelse   Return values   Break
--   For var from to step body   ForIn vars values body   Goto   Label
--   Nil True False Number String Vararg   Name name var   Index object key   Call fn args
--   Method object name args   Table items {key, value, at}   Op op a b   Unary op a   Paren a
--
-- A variable is {name, at, kind ("local", "param", "loop", "function"), fn, reads, writes, init, hides}:
-- `hides` is the variable of the same name that could be seen before. A Name without `var` is a global;
-- `env` is set where a local _ENV stands for them.

local M = {}

local P = {} -- the parser that runs: tokens, i, fn, scope

-- ------------------------------------------------------------------------------------ tokens

local function kind() return P.t.kind[P.i] end
local function at() return P.t.at[P.i] end

local function step()
  local value = P.t.value[P.i]
  P.i = P.i + 1
  return value
end

local function accept(wanted)
  if kind() ~= wanted then return false end
  P.i = P.i + 1
  return true
end

local function expect(wanted)
  if not accept(wanted) then
    error({ at = at(), text = ("%s was expected, got %s"):format(wanted, tostring(kind())) }, 0)
  end
end

local function name()
  if kind() ~= "name" then expect "name" end
  return step()
end

-- ------------------------------------------------------------------------------------ scopes

local function find_var(wanted)
  local scope = P.scope
  while scope do
    local var = scope.vars[wanted]
    if var then return var end
    scope = scope.up
  end
  return nil
end

local function open_scope() P.scope = { vars = {}, up = P.scope } end
local function close_scope() P.scope = P.scope.up end

local function declare(wanted, place, sort)
  local var = { name = wanted, at = place, kind = sort, fn = P.fn, reads = 0, writes = 0, hides = find_var(wanted) }
  P.scope.vars[wanted] = var
  P.vars[#P.vars + 1] = var
  return var
end

-- ------------------------------------------------------------------------------- expressions

local expression, block, function_body

local function expressions()
  local list = { expression() }
  while accept "," do list[#list + 1] = expression() end
  return list
end

local function name_node()
  local place = at()
  local text = name()
  local var = find_var(text)
  local node = { tag = "Name", at = place, name = text, var = var }
  if not var and find_var "_ENV" then node.env = true end
  return node
end

local function text_node() return { tag = "String", at = at(), value = step() } end

local function table_node()
  local node = { tag = "Table", at = at(), items = {} }
  expect "{"
  while kind() ~= "}" do
    local item = { at = at() }
    if kind() == "[" then
      step()
      item.key = expression()
      expect "]"
      expect "="
    elseif kind() == "name" and P.t.kind[P.i + 1] == "=" then
      item.key = { tag = "String", at = at(), value = name() }
      expect "="
    end
    item.value = expression()
    node.items[#node.items + 1] = item
    if not accept "," and not accept ";" then break end
  end
  node.last = at()
  expect "}"
  return node
end

-- The arguments of a call; nil when none follow.
local function arguments()
  if kind() == "string" then return { text_node() } end
  if kind() == "{" then return { table_node() } end
  if not accept "(" then return nil end
  local list = kind() == ")" and {} or expressions()
  expect ")"
  return list
end

local function suffix(node)
  if accept "." then
    return { tag = "Index", at = node.at, object = node, key = { tag = "String", at = at(), value = name() } }
  elseif accept "[" then
    local key = expression()
    expect "]"
    return { tag = "Index", at = node.at, object = node, key = key }
  elseif accept ":" then
    local place, method = at(), name()
    return { tag = "Method", at = node.at, object = node, name = method, name_at = place, args = arguments() or {} }
  end
  local args = arguments()
  return args and { tag = "Call", at = node.at, fn = node, args = args }
end

local function suffixed()
  local node
  if kind() == "(" then
    local place = at()
    step()
    node = { tag = "Paren", at = place, a = expression() }
    expect ")"
  else
    node = name_node()
  end
  while true do
    local longer = suffix(node)
    if not longer then return node end
    node = longer
  end
end

local constants = { ["nil"] = "Nil", ["true"] = "True", ["false"] = "False", ["..."] = "Vararg" }

local function simple()
  local sort = kind()
  if constants[sort] then
    local node = { tag = constants[sort], at = at() }
    step()
    return node
  elseif sort == "number" then
    return { tag = "Number", at = at(), value = step() }
  elseif sort == "string" then
    return text_node()
  elseif sort == "{" then
    return table_node()
  elseif sort == "function" then
    local place = at()
    step()
    return function_body(place)
  end
  return suffixed()
end

-- Left and right binding power of Lua's operators.
local power = {
  ["or"] = { 1, 1 }, ["and"] = { 2, 2 },
  ["<"] = { 3, 3 }, [">"] = { 3, 3 }, ["<="] = { 3, 3 }, [">="] = { 3, 3 }, ["~="] = { 3, 3 }, ["=="] = { 3, 3 },
  ["|"] = { 4, 4 }, ["~"] = { 5, 5 }, ["&"] = { 6, 6 }, ["<<"] = { 7, 7 }, [">>"] = { 7, 7 },
  [".."] = { 9, 8 }, ["+"] = { 10, 10 }, ["-"] = { 10, 10 },
  ["*"] = { 11, 11 }, ["/"] = { 11, 11 }, ["//"] = { 11, 11 }, ["%"] = { 11, 11 }, ["^"] = { 14, 13 },
}
local unary = { ["not"] = true, ["-"] = true, ["#"] = true, ["~"] = true }
local UNARY = 12

local function binary(limit)
  local node
  if unary[kind()] then
    local place, op = at(), kind()
    step()
    node = { tag = "Unary", at = place, op = op, a = binary(UNARY) }
  else
    node = simple()
  end
  while true do
    local op = kind()
    local p = power[op]
    if not p or p[1] <= limit then return node end
    local place = at()
    step()
    node = { tag = "Op", at = node.at, op = op, op_at = place, a = node, b = binary(p[2]) }
  end
end

function expression() return binary(0) end

-- -------------------------------------------------------------------------------- functions

-- From the parameters on; `self`: a method's first one.
function function_body(place, self)
  local fn = { tag = "Function", at = place, params = {}, returns = {}, up = P.fn }
  P.fn = fn
  open_scope()
  if self then fn.params[1] = declare("self", place, "param") end
  expect "("
  while kind() ~= ")" do
    if accept "..." then
      fn.vararg = true
    else
      local where = at()
      fn.params[#fn.params + 1] = declare(name(), where, "param")
      fn.params[#fn.params].place = #fn.params
    end
    if not accept "," then break end
  end
  expect ")"
  fn.body = block()
  fn.last = at()
  expect "end"
  close_scope()
  P.fn = fn.up
  return fn
end

-- ------------------------------------------------------------------------------- statements

local function scoped_block()
  open_scope()
  local body = block()
  close_scope()
  return body
end

local function do_block()
  expect "do"
  local body = scoped_block()
  expect "end"
  return body
end

local S = {}

S["do"] = function(place) return { tag = "Do", at = place, body = do_block() } end

S["while"] = function(place)
  step()
  local cond = expression()
  return { tag = "While", at = place, cond = cond, body = do_block() }
end

S["repeat"] = function(place)
  step()
  open_scope()
  local body = block()
  expect "until"
  local cond = expression()
  close_scope()
  return { tag = "Repeat", at = place, cond = cond, body = body }
end

S["if"] = function(place)
  local node = { tag = "If", at = place, clauses = {} }
  repeat
    step()
    local cond = expression()
    expect "then"
    node.clauses[#node.clauses + 1] = { cond = cond, body = scoped_block() }
  until kind() ~= "elseif"
  if accept "else" then node.orelse = scoped_block() end
  expect "end"
  return node
end

local function loop_vars(names)
  local vars = {}
  for i, one in ipairs(names) do vars[i] = declare(one.name, one.at, "loop") end
  return vars
end

S["for"] = function(place)
  step()
  local names = {}
  repeat names[#names + 1] = { at = at(), name = name() } until not accept ","
  local node
  if accept "=" then
    node = { tag = "For", at = place, bounds = expressions() }
  else
    expect "in"
    node = { tag = "ForIn", at = place, values = expressions() }
  end
  expect "do"
  open_scope()
  node.vars = loop_vars(names)
  for i, var in ipairs(node.vars) do var.loop, var.place = node, i end
  node.body = block()
  close_scope()
  expect "end"
  return node
end

-- function a.b:c() … end
S["function"] = function(place)
  step()
  local target = name_node()
  local method
  while kind() == "." or kind() == ":" do
    method = kind() == ":"
    step()
    target = { tag = "Index", at = target.at, object = target, key = { tag = "String", at = at(), value = name() } }
  end
  return { tag = "Assign", at = place, targets = { target }, values = { function_body(place, method) } }
end

local function local_function(place)
  step()
  local where = at()
  local var = declare(name(), where, "function")
  local node = { tag = "LocalFunction", at = place, var = var, fn = function_body(place) }
  var.init = node.fn
  return node
end

S["local"] = function(place)
  step()
  if kind() == "function" then return local_function(place) end
  local names, values = {}, {}
  repeat
    local one = { at = at(), name = name() }
    if accept "<" then
      one.attrib = name()
      expect ">"
    end
    names[#names + 1] = one
  until not accept ","
  if accept "=" then values = expressions() end
  local node = { tag = "Local", at = place, vars = {}, values = values }
  for i, one in ipairs(names) do
    local var = declare(one.name, one.at, "local")
    var.init, var.attrib, var.place = values[i], one.attrib, i
    var.values = values
    node.vars[i] = var
  end
  return node
end

S["return"] = function(place)
  step()
  local values = {}
  local sort = kind()
  if not (sort == "end" or sort == "else" or sort == "elseif" or sort == "until" or sort == ";"
    or sort == "end of file") then
    values = expressions()
  end
  accept ";"
  local node = { tag = "Return", at = place, values = values }
  P.fn.returns[#P.fn.returns + 1] = node
  return node
end

S["break"] = function(place)
  step()
  return { tag = "Break", at = place }
end

S["goto"] = function(place)
  step()
  return { tag = "Goto", at = place, name = name() }
end

S["::"] = function(place)
  step()
  local node = { tag = "Label", at = place, name = name() }
  expect "::"
  return node
end

local function call_or_assign(place)
  local node = suffixed()
  if kind() ~= "=" and kind() ~= "," then
    if node.tag ~= "Call" and node.tag ~= "Method" then expect "=" end
    return node
  end
  local targets = { node }
  while accept "," do targets[#targets + 1] = suffixed() end
  expect "="
  return { tag = "Assign", at = place, targets = targets, values = expressions() }
end

local ends = { ["end"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true, ["end of file"] = true }

function block()
  local list = { tag = "Block", at = at() }
  while not ends[kind()] do
    if not accept ";" then
      local make = S[kind()] or call_or_assign
      list[#list + 1] = make(at())
      if list[#list].tag == "Return" then break end
    end
  end
  return list
end

-- ------------------------------------------------------------------------------------ walking

local single = { "object", "key", "fn", "a", "b", "cond", "value", "body", "orelse" }
local lists = { "targets", "values", "args", "items", "bounds", "clauses" }

-- Calls visit(node, parent) for each node below and including `node`, parents first.
function M.each(node, visit, parent)
  if node.tag then visit(node, parent) end
  local from = node.tag and node or parent
  for i = 1, #node do M.each(node[i], visit, from) end
  for _, field in ipairs(single) do
    local child = node[field]
    if type(child) == "table" then M.each(child, visit, from) end
  end
  for _, field in ipairs(lists) do
    for _, child in ipairs(node[field] or {}) do M.each(child, visit, from) end
  end
end

function M.parse(tokens)
  local chunk = { tag = "Function", at = 1, params = {}, returns = {}, vararg = true, vars = {} }
  P = { t = tokens, i = 1, fn = chunk, vars = chunk.vars }
  open_scope()
  chunk.body = block()
  chunk.last = at()
  expect "end of file"
  P = {}
  return chunk
end

return M

-- Decides what is wrong with a policy set's code, without running it: names that are nowhere, fields that an
-- object has not, what can't be written, calls with too few arguments, comparisons that can't come out
-- true. habits.lua adds what is only unwise.
--
-- M.new(modules, native, set) with modules = { lex, parse, typing, habits, templates, words },
-- native.guess(word, names) and set = { files = {name = true}, model = {…}, provider = {…}, endpoint = {…},
-- template = {…} } (sorted lists of names; nil: not known) gives a function(file) with file = { name, kind =
-- "data" | "hook" | "library" | "test" | "template", source }, templates last. That returns the problems, each
-- {line, column, code, text, warning}, and what the file's comments allow, each {line, column, code, reason,
-- alone}.

local M = {}

local match, format = string.match, string.format

local I -- the inspection that runs: file, T, tell, hook, set, native, globals

-- --------------------------------------------------------------------------------- what is there

-- Where each kind of file sees a function of words.lua.
local seen_in = {
  policy = { hook = true, library = true, test = true }, data = { data = true }, test = { test = true },
}

local function offers(entry, kind)
  return entry.lua or seen_in[entry.files or "policy"][kind] or false
end

-- The globals of a kind of file: name -> its entry, or true for a library; and all of them, sorted.
local function globals_of(words, kind)
  local there, sorted = { _ENV = true }, {}
  for _, entry in ipairs(words.functions) do
    local library = match(entry.name, "^([%w_]+)%.")
    local name = library or entry.name
    if offers(entry, kind) then
      if not there[name] then sorted[#sorted + 1] = name end
      there[name] = not library and entry or there[name] or true
    end
  end
  table.sort(sorted)
  return { there = there, sorted = sorted }
end

local function has(list, text)
  for _, one in ipairs(list) do
    if one == text then return true end
  end
  return false
end

local function guess(word, names)
  local near = type(word) == "string" and names and I.native.guess(word, names)
  return near and format("; did you mean %s?", near) or ""
end

local function show(text)
  local cut = #text > 40 and string.sub(text, 1, 40) .. "…" or text
  return (string.gsub(format("%q", cut), "%c", "?"))
end

-- ---------------------------------------------------------------------------------------- globals

local function check_global(node)
  local name = node.name
  if I.globals.there[name] then return end
  if I.left_out[name] then
    I.tell(node.at, "N303", true, format("%s is not offered: it reads as nil (%s)", name, I.left_out[name]))
    return
  end
  local entry = I.T.functions[name]
  local where = entry and format(" in this kind of file (only in %s files)", entry.files) or ""
  I.tell(node.at, "N301", false, format("there is no global %s%s%s", name, where, guess(name, I.globals.sorted)))
end

local function check_name(node)
  if node.var or node.env then return end
  if not node.target then return check_global(node) end
  I.tell(node.at, "N302", false, format("there are no globals in policies: write `local %s = …`", node.name))
end

-- stats.p59, string.dump
local function check_member(node, dotted)
  local library = node.object.name
  if I.globals.there[library] ~= true and not I.T.libraries[library] then return end
  if library == "_ENV" or not I.globals.there[library] or I.T.functions[dotted] then return end
  if node.target then
    I.tell(node.key.at, "N305", false, format("%s is read-only: %s can't be set", library, node.key.value))
  elseif I.left_out[dotted] then
    I.tell(node.key.at, "N303", true, format("%s is not offered: it reads as nil (%s)", dotted, I.left_out[dotted]))
  else
    I.tell(node.key.at, "N301", false, format("%s has no %s%s", library, show(node.key.value),
      guess(node.key.value, I.T.libraries[library])))
  end
end

-- ----------------------------------------------------------------------------------------- fields

local function short(class) return (string.gsub(class.name, "^neap%.", "")) end

local function check_write(node, class, field)
  if not class.handle then return end
  if field.write == nil then
    return I.tell(node.key.at, "N305", false, format("%s.%s is read-only", short(class), field.name))
  end
  if I.file.kind == "hook" and I.hook and field.write ~= I.hook.name then
    I.tell(node.key.at, "N305", false, format("%s.%s can be written in %s only", short(class), field.name, field.write))
  end
end

local function check_field(node)
  local class = (I.T.type_of(node.object) or {}).class
  if not class or node.key.tag ~= "String" then return end
  local field = class.by_name[node.key.value]
  if field then
    if node.target then check_write(node, class, field) end
    return
  end
  if class.handle then
    I.tell(node.key.at, "N304", false, format("%s has no field %s%s", short(class), show(node.key.value),
      guess(node.key.value, class.sorted)))
  elseif not node.target then
    I.tell(node.key.at, "N304", true, format("%s has no field %s, it reads as nil%s", short(class),
      show(node.key.value), guess(node.key.value, class.sorted)))
  end
end

local function check_index(node)
  local dotted = I.dotted(node)
  if dotted then return check_member(node, dotted) end
  check_field(node)
end

local function check_method(node)
  local class = (I.T.type_of(node.object) or {}).class
  if class and class.handle then
    I.tell(node.name_at, "N304", false, format("%s has no function %s", short(class), show(node.name)))
  end
end

-- ------------------------------------------------------------------------------------------ calls

-- How many arguments a function of words.lua needs and takes; most nil: any number.
local function arity(entry)
  local least, most = 0, #entry.params
  for i, param in ipairs(entry.params) do
    if param.name == "..." then
      most = nil
    elseif not match(param.type, "%?$") and not match(param.type, "%f[%w]nil%f[%W]") and param.type ~= "any" then
      least = i
    end
  end
  return least, most
end

local function is_open(args)
  local last = args[#args]
  return last and (last.tag == "Call" or last.tag == "Method" or last.tag == "Vararg")
end

local function check_count(node, entry, extra)
  local least, most = arity(entry)
  local n = #node.args + extra
  if n < least and not is_open(node.args) then
    I.tell(node.at, "N306", true, format("%s takes %s %d argument%s, gets %d", entry.name,
      most == least and "exactly" or "at least", least, least == 1 and "" or "s", n))
  elseif most and n > most then
    I.tell(node.args[most - extra + 1].at, "N306", true, format("%s takes at most %d argument%s, gets %d",
      entry.name, most, most == 1 and "" or "s", n))
  end
end

-- What a first argument that is a text must be the name of.
local names_what = {
  ["stats.p95"] = { "model", "endpoint" }, ["stats.error_rate"] = { "model", "endpoint" },
  ["stats.burn"] = { "endpoint" }, ["breaker.state"] = { "model" }, template = { "template" },
}
local file_of = { model = "models.lua", endpoint = "endpoints.lua", template = "templates/" }

local function check_named(node, entry)
  local sorts, arg = names_what[entry.name], node.args[1]
  if not sorts or not arg or arg.tag ~= "String" then return end
  local all, files = {}, {}
  for i, sort in ipairs(sorts) do
    if not I.set[sort] then return end
    files[i] = file_of[sort]
    for _, name in ipairs(I.set[sort]) do
      if name == arg.value then return end
      all[#all + 1] = name
    end
  end
  I.tell(arg.at, "N309", true, format("%s: %s has no %s%s", entry.name, table.concat(files, " and "), show(arg.value),
    guess(arg.value, all)))
end

-- Names of models that are written down in what route returns.
local function check_candidate(node)
  if node.tag == "Table" then
    for _, item in ipairs(node.items) do
      if item.key and item.key.tag == "String" and item.key.value == "model" then node = item.value end
    end
  end
  if node.tag ~= "String" or has(I.set.model, node.value) then return end
  I.tell(node.at, "N309", true, format("models.lua has no %s%s", show(node.value), guess(node.value, I.set.model)))
end

local function check_plan(node, seen)
  if node.tag == "Name" and node.var and node.var.writes == 0 then node = node.var.init or node end
  if node.tag ~= "Table" or seen[node] then return end
  seen[node] = true
  for _, item in ipairs(node.items) do
    if not item.key then check_candidate(item.value) end
  end
end

local function check_plans(hook_fn)
  local seen = {}
  for _, back in ipairs(hook_fn and I.set.model and hook_fn.returns or {}) do
    if back.values[1] then check_plan(back.values[1], seen) end
  end
end

local function check_require(node)
  local arg = node.args[1]
  if #node.args ~= 1 or arg.tag ~= "String" then return end
  local library = match(arg.value, "^lib%.([%w_-]+)$")
  if not library then
    I.tell(arg.at, "N307", false, format('require takes "lib.NAME", got %s', show(arg.value)))
  elseif not I.set.files["lib/" .. library .. ".lua"] then
    local all = {}
    for name in pairs(I.set.files) do
      local there = match(name, "^lib/([%w_-]+)%.lua$")
      if there then all[#all + 1] = "lib." .. there end
    end
    table.sort(all)
    I.tell(arg.at, "N307", false, format("there is no lib/%s.lua in the policy set%s", library, guess(arg.value, all)))
  end
end

local function check_call(node)
  local name = I.dotted(node.fn)
  local entry = name and I.globals.there[match(name, "^[%w_]+")] and I.T.functions[name]
  if not entry or entry.kind == "value" then return end
  if name == "require" then return check_require(node) end
  check_count(node, entry, 0)
  check_named(node, entry)
end

local function check_string_method(node)
  local type = I.T.type_of(node.object)
  if not type or not type.basic.string or next(type.basic, next(type.basic)) then return end
  local entry = I.T.functions["string." .. node.name]
  if entry then return check_count(node, entry, 1) end
  I.tell(node.name_at, "N301", false, format("texts have no function %s%s", show(node.name),
    guess(node.name, I.T.libraries.string)))
end

-- ------------------------------------------------------------------------------------ comparisons

local function names_of(type)
  local list = {}
  for name in pairs(type.basic) do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, " or ")
end

local function say(node)
  if node.tag == "Index" and node.key.tag == "String" and node.object.tag == "Name" then
    return node.object.name .. "." .. node.key.value
  end
  return node.tag == "Name" and node.name or "this"
end

-- A text that the other side can't be.
local function check_literal(literal, other, node)
  if literal.tag ~= "String" then return false end
  local type = I.T.type_of(other)
  if not type or not type.literals or has(type.literals, literal.value) then return false end
  local sorted = table.move(type.literals, 1, #type.literals, 1, {})
  table.sort(sorted)
  local what = type.named and format("names no %s of %ss.lua", type.named, type.named) or "is never"
  local all = not type.named and #sorted <= 8 and " (it is " .. table.concat(sorted, ", ") .. ")" or ""
  I.tell(literal.at, "N310", true, format("%s %s %s%s%s", say(other), what, show(literal.value),
    guess(literal.value, sorted), all))
  return node ~= nil
end

local function check_compare(node)
  if check_literal(node.b, node.a, node) or check_literal(node.a, node.b, node) then return end
  local a, b = I.T.type_of(node.a), I.T.type_of(node.b)
  if not a or not b then return end
  for name in pairs(a.basic) do
    if b.basic[name] then return end
  end
  I.tell(node.op_at, "N310", true, format("compares a %s with a %s: that is always %s", names_of(a), names_of(b),
    node.op == "==" and "false" or "true"))
end

local function check_order(node)
  local a, b = I.T.type_of(node.a), I.T.type_of(node.b)
  if not a or not b then return end
  if (a.basic.number and b.basic.number) or (a.basic.string and b.basic.string) then return end
  I.tell(node.op_at, "N310", true, format("compares a %s with a %s: that is an error", names_of(a), names_of(b)))
end

local function check_op(node)
  if node.op == "==" or node.op == "~=" then return check_compare(node) end
  if node.op == "<" or node.op == ">" or node.op == "<=" or node.op == ">=" then check_order(node) end
end

local function check_node(node)
  local tag = node.tag
  if tag == "Name" then
    check_name(node)
  elseif tag == "Index" then
    check_index(node)
  elseif tag == "Call" then
    check_call(node)
  elseif tag == "Method" then
    check_method(node)
    check_string_method(node)
  elseif tag == "Op" then
    check_op(node)
  end
end

-- --------------------------------------------------------------------------------------- comments

-- `-- neap: allow N311 reason`: behind code for its own line, alone for the next one with code.
local function allows_of(tokens, place)
  local allows = {}
  for _, comment in ipairs(tokens.comments) do
    local code, reason = match(comment.text, "^%s*neap:%s*allow%s+(%S+)%s*(.-)%s*$")
    if code then
      local line, column = place(comment.at)
      local allow = { line = line, column = column, code = code, reason = reason, covers = line }
      local low, high = 1, tokens.n + 1 -- the first token behind the comment
      while low < high do
        local middle = (low + high) // 2
        if tokens.at[middle] > comment.at then high = middle else low = middle + 1 end
      end
      if low == 1 or place(tokens.behind[low - 1] - 1) ~= line then allow.covers = place(tokens.at[low]) end
      allows[#allows + 1] = allow
    end
  end
  return allows
end

-- ----------------------------------------------------------------------------------------- a file

local MAX_BYTES = 262144

local function hook_of(words, file)
  if file.kind ~= "hook" then return nil end
  for _, hook in ipairs(words.hooks) do
    if hook.name .. ".lua" == file.name then return hook end
  end
  return nil
end

local function look(modules, file, tokens, place)
  local chunk = modules.parse.parse(tokens)
  local each = modules.parse.each
  I.T.bind(chunk, each, I.hook)
  each(chunk, check_node)
  local hook_fn = I.hook and modules.typing.returned(chunk)
  if I.hook and I.hook.name == "route" then check_plans(hook_fn) end
  if file.kind == "hook" or file.kind == "library" then I.templates.note(chunk, each, I.dotted) end
  modules.habits.look(file, chunk, I.tell, each, place, hook_fn)
end

local function inspect(modules, file)
  if #file.source > MAX_BYTES then
    I.templates.doubt()
    return { { line = 1, column = 1, code = "N318", warning = true,
      text = "is too large to be looked into: over 256 KiB" } }, {}
  end
  local problems = {}
  local place = modules.lex.places(file.source)
  function I.tell(at, code, warning, text)
    local line, column = place(at)
    problems[#problems + 1] = { line = line, column = column, code = code, warning = warning, text = text }
  end
  if file.kind == "template" then
    I.templates.look(file, I.tell)
    return problems, {}
  end
  local tokens = modules.lex.tokens(file.source)
  local ok = pcall(look, modules, file, tokens, place)
  if not ok then
    I.templates.doubt()
    I.tell(1, "N318", true, "is nested too deeply to be looked into")
  end
  return problems, allows_of(tokens, place)
end

-- The reasons of degraded replies, in order and as keys.
local function reasons_of(words)
  local reasons = { sorted = {} }
  for _, alias in ipairs(words.aliases) do
    if alias.name == "neap.reason" then
      for reason in string.gmatch(alias.type, "%a+") do
        reasons[reason] = true
        table.insert(reasons.sorted, reason)
      end
    end
  end
  return reasons
end

function M.new(modules, native, set)
  local words, left_out, globals = modules.words, {}, {}
  for _, entry in ipairs(words.left_out) do left_out[entry.name] = entry.text end
  for _, kind in ipairs { "data", "hook", "library", "test" } do globals[kind] = globals_of(words, kind) end
  local T = modules.typing.new(words, { model = set.model, provider = set.provider })
  local templates = modules.templates.new(reasons_of(words), guess)
  return function(file)
    I = { file = file, T = T, native = native, set = set, left_out = left_out, globals = globals[file.kind],
      templates = templates, hook = hook_of(words, file), dotted = modules.typing.dotted }
    return inspect(modules, file)
  end
end

return M

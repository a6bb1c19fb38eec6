-- Decides what in a policy's code works today and bites tomorrow: patterns that take long, tables that only
-- grow, variables that nobody reads or that hide others, functions that forget to return, keys that are
-- there twice. All of it is told as warnings (a key that is there twice in a data file is an error).
--
-- M.look(file, chunk, tell, each): tell(at, code, warning, text). The chunk was bound by typing.lua.

local M = {}

local find, sub, match, format = string.find, string.sub, string.match, string.format

-- ----------------------------------------------------------------------------------- patterns

-- Behind what stands for one byte at `at`: a letter, %a, [set].
local function set_end(pattern, at)
  local c = sub(pattern, at, at)
  if c == "%" then return at + 2 end
  if c ~= "[" then return at + 1 end
  local close = find(pattern, "]", at + (sub(pattern, at + 1, at + 1) == "^" and 3 or 2), true)
  while close and sub(pattern, close - 1, close - 1) == "%" and sub(pattern, close - 2, close - 2) ~= "%" do
    close = find(pattern, "]", close + 1, true)
  end
  return (close or #pattern) + 1
end

-- The items of a pattern: { set = what stands for one byte, unbounded =, sure = whether it takes at least
-- one } in order; and whether it is anchored.
local function items_of(pattern)
  local anchored = sub(pattern, 1, 1) == "^"
  local items, at = {}, anchored and 2 or 1
  while at <= #pattern do
    local from = at
    at = set_end(pattern, at)
    local set, suffix = sub(pattern, from, at - 1), match(pattern, "^[*+?-]", at)
    if set ~= "(" and set ~= ")" then
      if suffix then at = at + 1 end
      items[#items + 1] = { set = set, unbounded = suffix and suffix ~= "?", sure = not suffix or suffix == "+" }
    end
  end
  return items, anchored
end

-- Whether a single byte stands between two repetitions that the first of them can't take.
local function parted(items, i, j)
  for k = i + 1, j - 1 do
    local c = match(items[k].set, "^%%(%p)$") or match(items[k].set, "^[^.%%%[]$")
    if items[k].sure and c then
      local ok, taken = pcall(find, c, "^" .. items[i].set .. "$")
      if ok and not taken then return true end
    end
  end
  return false
end

-- Whether two unbounded repetitions can share out a text in more ways than its length.
local function is_slow(pattern)
  local items, anchored = items_of(pattern)
  local before
  for i, item in ipairs(items) do
    if item.unbounded then
      if before and not (anchored and parted(items, before, i)) then return true end
      before = i
    end
  end
  return false
end

local takes_pattern = { find = true, match = true, gmatch = true, gsub = true }

-- The pattern that a call matches by, if it is written there.
local function pattern_of(node)
  local name, args, from
  if node.tag == "Method" then
    name, args, from = node.name, node.args, 1
  elseif node.tag == "Call" and node.fn.tag == "Index" and node.fn.key.tag == "String" then
    local object = node.fn.object
    if object.tag ~= "Name" or object.var or object.name ~= "string" then return nil end
    name, args, from = node.fn.key.value, node.args, 2
  end
  if not takes_pattern[name] then return nil end
  local plain = args[from + 2]
  if name == "find" and plain and plain.tag ~= "False" and plain.tag ~= "Nil" then return nil end
  local arg = args[from]
  return arg and arg.tag == "String" and arg or nil
end

local function look_at_pattern(node, tell)
  local arg = pattern_of(node)
  if arg and is_slow(arg.value) then
    tell(arg.at, "N311", true, "two unbounded repetitions in one pattern: on a long text this takes its length "
      .. "squared, and callers choose the text")
  end
end

-- ------------------------------------------------------------------------------ growing tables

-- The variable at the root of a.b[c]; nil where it is none.
local function root(node)
  while node.tag == "Index" do node = node.object end
  return node.tag == "Name" and node.var or nil
end

local function is_fresh(node) return node and (node.tag == "Table" or node.tag == "Call") end

-- One assignment to a place in a table that lives as long as the file.
local function note_store(target, value, chunk, grown)
  local var = target.tag == "Index" and root(target)
  if not var or var.fn ~= chunk or not var.init or var.init.tag ~= "Table" then return end
  grown[var] = grown[var] or {}
  if value and value.tag == "Nil" then
    grown[var].shrinks = true
  elseif target.key.tag ~= "String" and target.key.tag ~= "Number" and not grown[var].at then
    grown[var].at = target.at
  end
end

local function note_call(node, chunk, grown)
  local fn = node.fn
  if fn.tag ~= "Index" or fn.key.tag ~= "String" or fn.object.tag ~= "Name" or fn.object.name ~= "table" then return end
  local var = node.args[1] and root(node.args[1])
  if not var or var.fn ~= chunk then return end
  grown[var] = grown[var] or {}
  if fn.key.value == "remove" then grown[var].shrinks = true end
  if fn.key.value == "insert" and not grown[var].at then grown[var].at = node.at end
end

-- Stores below functions; what a file does while it is loaded happens once.
local function look_at_growth(chunk, tell, each)
  local grown = {}
  each(chunk, function(node, parent)
    node.inside = node.tag == "Function" and node ~= chunk or (parent and parent.inside) or false
    if not node.inside then return end
    if node.tag == "Assign" then
      for i, target in ipairs(node.targets) do
        note_store(target, node.values[i], chunk, grown)
        if target.tag == "Name" and target.var and is_fresh(node.values[i]) then
          grown[target.var] = grown[target.var] or {}
          grown[target.var].shrinks = true
        end
      end
    elseif node.tag == "Call" then
      note_call(node, chunk, grown)
    end
  end)
  for var, how in pairs(grown) do
    if how.at and not how.shrinks then
      tell(how.at, "N312", true, format("%s only grows, over all requests, until the state's memory is full: "
        .. "keep such things in shared.set(key, value, ttl_s), or take entries out", var.name))
    end
  end
end

-- ------------------------------------------------------------------------------------ variables

local function copies_name(var)
  return var.init and var.init.tag == "Name" and var.init.name == var.name
end

local function look_at_variables(chunk, tell)
  for _, var in ipairs(chunk.vars) do
    local hidden = sub(var.name, 1, 1) == "_"
    local own = var.kind == "local" or var.kind == "function"
    if own and not hidden and not var.attrib and var.reads == 0 then
      tell(var.at, "N313", true, format("%s is %s", var.name, var.writes > 0 and "set, but never read" or "never used"))
    end
    local before = var.hides
    if not hidden and var.name ~= "self" and before and not copies_name(var) then
      tell(var.at, "N314", true, format("%s hides the %s of the same name at line %d", var.name,
        before.kind == "param" and "parameter" or "variable", before.line))
    end
  end
end

-- -------------------------------------------------------------------------------------- returns

local ends_block

-- Whether control can't come out behind a statement.
local function ends(node)
  if node.tag == "Return" or node.tag == "Goto" or node.tag == "Break" then return true end
  if node.tag == "Do" then return ends_block(node.body) end
  if node.tag == "Call" then return node.fn.tag == "Name" and not node.fn.var and node.fn.name == "error" end
  if node.tag == "While" then return node.cond.tag == "True" end
  if node.tag ~= "If" or not node.orelse then return false end
  for _, clause in ipairs(node.clauses) do
    if not ends_block(clause.body) then return false end
  end
  return ends_block(node.orelse)
end

function ends_block(list)
  return #list > 0 and ends(list[#list])
end

local function gives_value(node)
  return #node.values > 0 and not (#node.values == 1 and node.values[1].tag == "Nil")
end

-- A helper that returns values in the last statement's branches, but comes to its end, too. Searches (a loop
-- with a return in it, nothing behind) are meant to end with nil; for hooks nil is "no opinion".
local function look_at_returns(node, chunk, hook_fn, tell)
  if node == chunk or node == hook_fn then return end
  local last = node.body[#node.body]
  if not last or last.tag ~= "If" or ends(last) then return end
  local first
  for _, back in ipairs(node.returns) do
    if gives_value(back) and back.at >= last.at then first = first or back end
    if not gives_value(back) then return end
  end
  if first then
    tell(node.last, "N315", true, format("the function returns a value at line %d, but nothing when it comes to its "
      .. "end here: write `return nil` if that is meant", first.line))
  end
end

-- ----------------------------------------------------------------------------- keys there twice

local function look_at_keys(node, data, tell)
  local seen, place = {}, 0
  for _, item in ipairs(node.items) do
    local key
    if not item.key then
      place = place + 1
      key = place
    elseif item.key.tag == "String" or item.key.tag == "Number" then
      key = item.key.value
    end
    if key ~= nil and key == key then
      if seen[key] then
        tell(item.at, "N207", not data, format("%s is there twice in one table: the one at line %d is lost",
          type(key) == "string" and format("%q", key) or "[" .. key .. "]", seen[key].line))
      end
      seen[key] = item
    end
  end
end

-- Gives lines to what other problems point at.
local function place_lines(chunk, each, place)
  for _, var in ipairs(chunk.vars) do var.line = place(var.at) end
  each(chunk, function(node)
    if node.tag == "Return" then node.line = place(node.at) end
    for _, item in ipairs(node.items or {}) do item.line = place(item.at) end
  end)
end

-- file: {kind=}; place(at) gives a line; hook_fn: the function that a hook's file returns.
function M.look(file, chunk, tell, each, place, hook_fn)
  local data = file.kind == "data"
  place_lines(chunk, each, place)
  each(chunk, function(node)
    if node.tag == "Table" then look_at_keys(node, data, tell) end
    if file.kind == "test" or data then return end
    if node.tag == "Function" then look_at_returns(node, chunk, hook_fn, tell) end
    look_at_pattern(node, tell)
  end)
  look_at_variables(chunk, tell)
  if not data and file.kind ~= "test" then look_at_growth(chunk, tell, each) end
end

M.is_slow = is_slow

return M

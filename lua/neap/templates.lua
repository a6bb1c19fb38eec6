-- Decides which templates of a policy set nobody uses, and which of their places nobody fills.
--
-- M.new(reasons) gives { note = function(chunk, each, dotted), doubt = function(), look = function(file, tell) }:
-- `note` takes the code of each hook and library, `doubt` is for code that can't be seen; then `look` tells of a
-- template. `reasons`: those of degraded replies, whose templates neap itself uses.

local M = {}

local find, match, format, sub = string.find, string.match, string.format, string.sub

-- Filled wherever a template is used: model/template.c.
local OWN = { "requestId", "endpoint", "tenant", "reason", "retryAfter" }

-- What a table of values is written with; nil where that can't be seen.
local function names_in(node)
  if not node then return {} end
  if node.tag ~= "Table" then return nil end
  local names = {}
  for _, item in ipairs(node.items) do
    if not item.key or item.key.tag ~= "String" then return nil end
    names[#names + 1] = item.key.value
  end
  return names
end

-- The uses of a template, by its name; those of "*" may be of any.
local function use_of(uses, name)
  uses[name] = uses[name] or { fills = {} }
  return uses[name]
end

local function note_call(uses, node)
  local name, values = node.args[1], node.args[2]
  local use = use_of(uses, name and name.tag == "String" and name.value or "*")
  local names = names_in(values)
  if not names then use.open = true end
  for _, one in ipairs(names or {}) do use.fills[one] = true end
end

-- A template that has another name in the code may be used for anything.
local function note(uses, chunk, each, dotted)
  local called = {}
  each(chunk, function(node)
    if node.tag == "Call" and dotted(node.fn) == "template" then
      called[node.fn] = true
      note_call(uses, node)
    elseif dotted(node) == "template" and not called[node] then
      use_of(uses, "*").open = true
    end
  end)
end

-- Calls visit(at, name) for each place of a text.
local function each_place(text, visit)
  local at = 1
  while true do
    local open = find(text, "{{", at, true)
    local close = open and find(text, "}}", open, true)
    if not close then return end
    visit(open, match(sub(text, open + 2, close - 1), "^[ \t]*(.-)[ \t]*$"))
    at = close + 2
  end
end

local function look(uses, reasons, guess, file, tell)
  local name = match(file.name, "^templates/(.*)%.txt$")
  local own, any = uses[name], uses["*"]
  if not (reasons[name] or own or any) then
    tell(1, "N321", true, format("no hook uses it, and no reason of a degraded reply is called %q%s", name,
      guess(name, reasons.sorted)))
    return
  end
  if (own and own.open) or (any and any.open) then return end
  local known, sorted = {}, {}
  local function add(place)
    if not known[place] then sorted[#sorted + 1] = place end
    known[place] = true
  end
  for _, place in ipairs(OWN) do add(place) end
  for _, use in pairs { own or false, any or false } do
    for place in pairs(use and use.fills or {}) do add(place) end
  end
  table.sort(sorted)
  each_place(file.source, function(at, place)
    if known[place] then return end
    local cut = #place > 40 and sub(place, 1, 40) .. "…" or place
    tell(at, "N320", true, format("nobody fills {{%s}}: callers read it as it stands%s", cut, guess(place, sorted)))
  end)
end

function M.new(reasons, guess)
  local uses = {}
  return {
    note = function(chunk, each, dotted) note(uses, chunk, each, dotted) end,
    doubt = function() use_of(uses, "*").open = true end,
    look = function(file, tell) look(uses, reasons, guess, file, tell) end,
  }
end

return M

-- Decides what text a policy file is compiled from, so that it can be told which `return` ended a hook.
--
-- In the functions that are asked for each `return` is preceded by a note of its line in a local of the file, and
-- the body begins with a note of the line of its `end`, which holds where no `return` is reached. No line
-- moves. Lua's debug hooks could tell the same, but cost more than most policies do.

local MOST_TOKENS = 65536

local M = {}

local opens = { ["do"] = true, ["if"] = true, ["repeat"] = true, ["function"] = true }
local closes = { ["end"] = true, ["until"] = true }

-- The functions of a source by their tokens: first (the keyword), last (its end), and each return of its own.
local function functions(t)
  local found, blocks, open = {}, {}, {}
  for i = 1, t.n do
    local kind = t.kind[i]
    if opens[kind] then
      local f = kind == "function" and { first = i, returns = {} }
      blocks[#blocks + 1] = f
      if f then open[#open + 1] = f end
    elseif closes[kind] then
      local f = blocks[#blocks]
      if f then
        f.last, open[#open], found[#found + 1] = i, nil, f
      end
      blocks[#blocks] = nil
    elseif kind == "return" and #open > 0 then
      local returns = open[#open].returns
      returns[#returns + 1] = i
    end
  end
  return found
end

-- The tokens that open and follow the parameters of a function.
local function parameters(t, f)
  local opening, i = f.first, f.first
  while i < f.last and t.kind[i] ~= ")" do
    if t.kind[i] == "(" then opening = i end
    i = i + 1
  end
  return opening, i + 1
end

-- Puts what is to stand before which byte into marks.
local function mark(marks, t, line_of, f, body)
  if f.returns[1] ~= body then marks[#marks + 1] = { t.at[body], line_of(t.at[f.last]) } end
  for _, i in ipairs(f.returns) do marks[#marks + 1] = { t.at[i], line_of(t.at[i]) } end
end

-- A name that is nowhere in the source, not even within a text; nil for one that seems made to have them all.
local function free_name(source)
  local name = "np_at"
  while source:find(name, 1, true) do
    name = name .. "_"
    if #name > 12 then return nil end
  end
  return name
end

local function write(source, name, marks)
  local parts, at = { "local ", name, ";" }, 1
  table.sort(marks, function(a, b) return a[1] < b[1] end)
  for _, m in ipairs(marks) do
    parts[#parts + 1] = source:sub(at, m[1] - 1)
    parts[#parts + 1] = (" %s=%d;"):format(name, m[2])
    at = m[1]
  end
  parts[#parts + 1] = source:sub(at)
  return table.concat(parts)
end

-- M.mark(source, lex, wanted): the text to compile and the local's name, or nil where it can't be done. wanted has the
-- first and last lines of functions, as the compiler tells them. Of a file with ends of lines that Lua counts
-- in another way than lex.lua nothing is marked.
function M.mark(source, lex, wanted)
  local name = free_name(source)
  if not name or source:find "\r[^\n]" or source:find "\r$" then return nil end
  local t, line_of, marks = lex.tokens(source, MOST_TOKENS), lex.places(source), {}
  for _, f in ipairs(functions(t)) do
    local opening, body = parameters(t, f)
    local first, second, last = line_of(t.at[f.first]), line_of(t.at[opening]), line_of(t.at[f.last])
    for _, w in ipairs(wanted) do
      if (w.first == first or w.first == second) and w.last == last and body <= f.last then
        mark(marks, t, line_of, f, body)
        break
      end
    end
  end
  if #marks == 0 then return nil end
  return write(source, name, marks), name
end

return M

-- The table of words is whole: each type that is named is described, the types for editors are Lua, and each
-- example runs as it stands.

local harness = require "lib.harness"
local words = require "neap.words"
local test, equal = harness.test, harness.equal

local neap = "'" .. os.getenv("NEAP_BIN") .. "'"
local top = os.getenv("NEAP_SOURCE") or "."
local book = assert(loadfile(top .. "/lua/neap/wordbook.lua"))(words)
local types = assert(loadfile(top .. "/lua/neap/types.lua"))(words)

test("the types are Lua", function()
  assert(load(types.types(), "=types", "t"))
end)

test("each type that is named is described, once", function()
  local text, described = types.types(), {}
  for kind, name in text:gmatch("%-%-%-@(%l+) (neap%.[%w_.]+)") do
    if kind == "class" or kind == "alias" then
      if described[name] and kind == described[name] then error(name .. " is there twice") end
      described[name] = kind
    end
  end
  local n = 0
  for name in text:gmatch("neap%.[%l_.]+[%l_]") do
    n = n + 1
    if not described[name] and name ~= "neap.lua" then error(name .. " is not described") end
  end
  assert(n > 60)
end)

test("a name stands for a class or an alias, not for both", function()
  local hooks = {}
  for _, hook in ipairs(words.hooks) do hooks["neap." .. hook.name] = true end
  for _, list in ipairs { words.classes, words.aliases } do
    for _, entry in ipairs(list) do
      if hooks[entry.name] then error(entry.name .. " is the type of a hook, too") end
    end
  end
end)

test("each entry says what it is, in sentences", function()
  local function says(entry)
    if (entry.text or ""):match "^[%u%d].*%.$" then return end
    error(entry.name .. ": no sentence: " .. tostring(entry.text))
  end
  for _, f in ipairs(words.functions) do says(f) end
  for _, hook in ipairs(words.hooks) do says(hook) end
  for _, class in ipairs(words.classes) do
    says(class)
    for _, field in ipairs(class.fields) do says(field) end
  end
end)

-- --------------------------------------------------------------------------------------- examples

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- "do local _ = EXAMPLE end", or the example itself where it is no expression.
local function line(entry)
  local expression = "local _ = " .. entry.example
  local runs = load(expression) and expression or entry.example
  assert(load(runs), entry.name .. ": the example is not Lua")
  return "do " .. runs .. "\nend"
end

local function lines_of_class(name)
  for _, class in ipairs(words.classes) do
    if class.name == name then
      local lines = {}
      for _, field in ipairs(class.fields) do
        assert(field.example, name .. "." .. field.name .. " has no example")
        lines[#lines + 1] = line(field)
      end
      return table.concat(lines, "\n")
    end
  end
end

local function lines_of_functions(files)
  local lines = {}
  for _, f in ipairs(words.functions) do
    assert(f.example, f.name .. " has no example")
    if f.files == files then lines[#lines + 1] = line(f) end
  end
  assert(#lines > 1)
  return table.concat(lines, "\n")
end

local function hook(parameters, ...)
  return "return function(" .. parameters .. ")\n" .. table.concat({ ... }, "\n") .. "\nreturn nil, 'all done'\nend\n"
end

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local output = pipe:read("a")
  local ok = pipe:close()
  if not ok then error(command .. "\n" .. output) end
  return output
end

test("each example runs in its hook", function()
  local dir = os.tmpname()
  os.remove(dir)
  run(neap .. " init " .. dir)
  os.execute("umask 022; mkdir " .. dir .. "/lib")
  write(dir .. "/lib/plan.lua", "return {}\n")
  write(dir .. "/templates/budget.txt", "{{hint}}\n")
  write(dir .. "/admit.lua", hook("req", lines_of_class "neap.req", lines_of_class "neap.message",
    lines_of_class "neap.context_item"))
  write(dir .. "/route.lua", hook("req", lines_of_functions "policy"))
  write(dir .. "/budget.lua", hook("_, candidate", lines_of_class "neap.candidate"))
  write(dir .. "/retry.lua", hook("_, attempt", lines_of_class "neap.attempt"))
  write(dir .. "/respond.lua", hook("_, reply", lines_of_class "neap.reply", lines_of_class "neap.usage"))
  write(dir .. "/policies_test.lua", [[
test("examples", function()
  local run = play { request = { prompt = "hi", context = { { id = "a", text = "b" } } },
    providers = { openai = { error = "bad_reply" } } }
  local seen = 0
  for name, calls in pairs(run.hooks) do
    for _, call in ipairs(calls) do
      expect({ name, call.returned, call.why }, { name, "nothing", "all done" })
      seen = seen + 1
    end
  end
  expect(seen >= 6, true)
end)
]])
  run("umask 022; chmod -R go-w " .. dir)
  local output = run(neap .. " test " .. dir)
  assert(output:find("1 passed, 0 failed", 1, true), output)
  os.execute("rm -r " .. dir)
end)

-- { "status: number", … } of a class, as Lua.
local function fields_as_lua(name)
  local list = {}
  for _, class in ipairs(words.classes) do
    for _, field in ipairs(class.name == name and class.fields or {}) do
      for kind in pairs(book.kinds(field.type)) do
        list[#list + 1] = ("[%q] = true"):format(field.name .. ": " .. kind)
      end
    end
  end
  return "{ " .. table.concat(list, ", ") .. " }"
end

-- Hooks of which each run tells something.
local telling = {
  retry = "return function() error('no') end\n",
  alert = "local n = 0\nreturn function()\n  n = n + 1\n  if n == 1 then error('no') end\n"
    .. "  return { { alert = 'a', severity = 'info', text = 'b' } }, 'as asked'\nend\n",
  route = "return function(req)\n  if not (req.metadata or {}).hedge then return end\n"
    .. '  return { { model = "gpt-4.1-mini", hedge_after_ms = 100 }, "claude-haiku-4-5" }\nend\n',
}

test("what runs have is told, and nothing else", function()
  local dir = os.tmpname()
  os.remove(dir)
  run(neap .. " init " .. dir)
  local told = {}
  for _, name in ipairs { "run", "run_attempt", "run_skip", "run_hook", "run_call", "run_error", "told" } do
    told[#told + 1] = name .. " = " .. fields_as_lua("neap." .. name)
  end
  for name, text in pairs(telling) do write(dir .. "/" .. name .. ".lua", text) end
  write(dir .. "/policies_test.lua", "local told = { " .. table.concat(told, ",\n  ") .. " }\n" .. [[
local seen = {}
local function look(class, t)
  for key, value in pairs(t) do
    local field = key .. ": " .. type(value)
    if not told[class][field] then error(class .. "." .. field .. " is not told", 0) end
    seen[class .. "." .. field] = true
  end
end

local plays = {
  {},
  { leaves_after_ms = 100 },
  { providers = { openai = { 500, 500 }, anthropic = { status = 429, retry_after = 3 } } },
  { providers = { ["gpt-4.1-mini"] = { error = "rejected" } } },
  { request = { prompt = "hi", metadata = { hedge = "yes" } }, providers = { openai = { { after_ms = 5000 } } } },
  { budgets = { ["global/day"] = 20 } },
  { breakers = { ["gpt-4.1-mini"] = "open" } },
  { request = { prompt = "hi", messages = { { role = "x", content = "y" } } } },
}

test("runs", function()
  for _, given in ipairs(plays) do
    given.request = given.request or { prompt = "hi" }
    local run = play(given)
    look("run", run)
    for _, attempt in ipairs(run.attempts) do look("run_attempt", attempt) end
    for _, skipped in ipairs(run.skipped) do look("run_skip", skipped) end
    for _, call in ipairs(run.calls) do look("run_call", call) end
    for _, calls in pairs(run.hooks) do
      for _, call in ipairs(calls) do look("run_hook", call) end
    end
    if run.error then look("run_error", run.error) end
  end
  for _ = 1, 2 do look("told", alerts { after_ms = 10000 }) end
  for class, fields in pairs(told) do
    for field in pairs(fields) do
      if not field:find ": nil$" and not seen[class .. "." .. field] then
        error(class .. "." .. field .. " is told, but never there", 0)
      end
    end
  end
end)
]])
  run("chmod -R go-w " .. dir)
  local output = run(neap .. " test " .. dir)
  assert(output:find("1 passed, 0 failed", 1, true), output)
  os.execute("rm -r " .. dir)
end)

test("each hook's example passes the check and is called", function()
  local dir = os.tmpname()
  os.remove(dir)
  run(neap .. " init " .. dir)
  for _, one in ipairs(words.hooks) do
    write(dir .. "/" .. one.name .. ".lua", one.example .. "\n")
  end
  write(dir .. "/policies_test.lua", [[
test("the_alert_hook", function()
  for _ = 1, 2 do
    expect(alerts({ after_ms = 10000 }).returned:find("failed", 1, true), nil)
    for _ = 1, 30 do play { request = { prompt = "hi" }, providers = { openai = { after_ms = 9000 } } } end
  end
end)

test.each("examples", { "Sure.", 500, { error = "overloaded" } }, function(answer)
  local long = { id = "a", text = ("word "):rep(300000), priority = 1 }
  for _, context in ipairs { {}, { long } } do
    local run = play { request = { prompt = "hi", context = context, metadata = { tier = "gold" } },
      providers = { openai = answer, anthropic = answer } }
    for _, calls in pairs(run.hooks) do
      for _, call in ipairs(calls) do expect(call.returned:find("failed", 1, true), nil) end
    end
  end
end)
]])
  run("chmod -R go-w " .. dir)
  run(neap .. " check --deny-warnings " .. dir)
  local output = run(neap .. " test " .. dir)
  assert(output:find("4 passed, 0 failed", 1, true), output)
  os.execute("rm -r " .. dir)
end)

test("what tests can name is told, and nothing else", function()
  local testing = assert(loadfile(top .. "/lua/neap/testing.lua"))()
  local native = setmetatable({}, { __index = function(_, name) return name end })
  -- Behind two locks: what the environment shows, and what it shows beside the policies' own.
  local names = debug.getmetatable(testing.open({}, native)).__index
  local there = {}
  for name, value in next, names do
    there[#there + 1] = name
    for below in pairs(type(value) == "table" and debug.getmetatable(value).__index or {}) do
      there[#there + 1] = name .. "." .. below
    end
  end
  local told = {}
  for _, f in ipairs(words.functions) do
    if f.files == "test" then told[#told + 1] = f.name end
  end
  table.sort(there)
  table.sort(told)
  equal(told, there)
end)

test("what comes back to tests has the fields that are described", function()
  for name, text in pairs(require("neap.testing").FIELDS) do
    local told, known = {}, {}
    for field, below in text:gmatch "([%w_]+):?([%w_]*)" do told[#told + 1] = field .. " " .. below end
    for _, class in ipairs(words.classes) do
      for _, field in ipairs(class.name == "neap." .. name and class.fields or {}) do
        local below = field.type:match "neap%.([%w_]+)" or ""
        known[#known + 1] = field.name .. " " .. (book.fields("neap." .. below) and below or "")
      end
    end
    equal(told, known, name)
  end
end)

test("there is a hook for each name that endpoints.lua's on_error has", function()
  local schema = assert(io.open(top .. "/lua/neap/schema.lua")):read("a")
  local names = {}
  for name in schema:match("local hook_names = {(.-)}"):gmatch('"(%l+)"') do names[#names + 1] = name end
  local told = {}
  for i, one in ipairs(words.hooks) do told[i] = one.name end
  equal(told, names)
end)

harness.finish()

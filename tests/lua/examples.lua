-- Every code has an example; each wrong one raises its code from `neap check`, and each right one does not.
-- ctest: timeout 240

local harness = require "lib.harness"
local codes, examples = require "neap.codes", require "neap.examples"
local test, equal = harness.test, harness.equal

local top, neap = os.getenv "NEAP_SOURCE" or ".", os.getenv "NEAP_BIN"

-- Faults of neap's own, which no example can bring about.
local NONE = { N199 = true }

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local said = pipe:read "a"
  pipe:close()
  return said
end

local folder = run "mktemp -d":gsub("%s+$", "")

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- What neap check says of the shipped set with the example in it.
local function said_of(example, which)
  local set = folder .. "/set"
  run(("rm -rf %s; mkdir %s; cp -r '%s'/policies/* %s; rm %s/*_test.lua; chmod -R go-w %s"):format(set, set, top, set,
    set, set))
  if example.shell then
    local refused = run(("cd %s && umask 022 && { %s\n}"):format(set, example[which]))
    equal(refused, "")
  else
    write(set .. "/" .. example.file, example[which])
    run(("chmod 644 %s/%s"):format(set, example.file))
  end
  return run(("'%s' check %s"):format(neap, set))
end

test("every code has an example that is wrong and one that is right", function()
  for code in pairs(codes) do
    local example = examples[code]
    assert(NONE[code] or (example and example.wrong and example.right), code .. " has no example")
  end
end)

test("every example belongs to a code", function()
  for code in pairs(examples) do assert(codes[code], code .. " is no code") end
end)

local sorted = {}
for code, example in pairs(examples) do
  if not example.told then sorted[#sorted + 1] = code end
end
table.sort(sorted)

for _, code in ipairs(sorted) do
  test("what is wrong in the example of " .. code .. " raises it, what is right does not", function()
    local wrong, right = said_of(examples[code], "wrong"), said_of(examples[code], "right")
    assert(wrong:find(" " .. code .. " ", 1, true), "the wrong one does not raise it:\n" .. wrong)
    assert(not right:find(" " .. code .. " ", 1, true), "the right one does:\n" .. right)
    -- An empty models.lua is there, but no table.
    assert(code == "N107" or right:find("no errors", 1, true), "the right one is not good:\n" .. right)
  end)
end

run("rm -rf " .. folder)
harness.finish()

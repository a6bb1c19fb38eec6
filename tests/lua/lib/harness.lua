-- Runs the tests of a file one by one and says which failed; the exit status is 1 when any did.

local M = {}

local run, failed = 0, 0

local function show(value)
  if type(value) ~= "table" then return type(value) == "string" and ("%q"):format(value) or tostring(value) end
  local keys, parts = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, key in ipairs(keys) do parts[i] = tostring(key) .. " = " .. show(value[key]) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end
M.show = show

function M.equal(got, want, where)
  if show(got) ~= show(want) then
    error(("%sgot    %s\nwanted %s"):format(where and where .. ":\n" or "", show(got), show(want)), 2)
  end
end

function M.test(name, body)
  run = run + 1
  local ok, why = xpcall(body, debug.traceback)
  if not ok then
    failed = failed + 1
    print("FAILED " .. name .. "\n" .. why)
  end
end

function M.finish()
  print(("%d tests, %d failed"):format(run, failed))
  os.exit(failed == 0 and 0 or 1)
end

return M

-- Puts models in the order of what the request would cost there.
local M = {}

-- The list without one of its names.
local function without(list, name)
  local rest = {}
  for _, other in ipairs(list) do
    if other ~= name then rest[#rest + 1] = other end
  end
  return rest
end

function M.by_cost(models)
  local ordered, left = {}, models
  while #left > 0 do
    local cheapest = pick { left, by = "cost" }
    ordered[#ordered + 1] = cheapest
    left = without(left, cheapest)
  end
  return ordered
end

return M

-- Helpers for plans: lists of models without repetition.
local M = {}

-- The models of `first`, then those of `rest` that are not there yet.
function M.join(first, rest)
  local seen, out = {}, {}
  for _, list in ipairs { first, rest } do
    for _, model in ipairs(list) do
      if not seen[model] then
        seen[model] = true
        out[#out + 1] = model
      end
    end
  end
  return out
end

return M

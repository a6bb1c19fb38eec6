-- Decides whether an attempt is worth its price: once little of the day is left, answers get shorter.
local LITTLE_USD = 1
local SHORT = 200 -- tokens

---@type neap.budget
local function budget_hook(_, candidate)
  local left = budget.remaining("global/day")
  if left and left < LITTLE_USD and candidate.max_tokens > SHORT then
    return { max_tokens = SHORT }, "the day's money runs low"
  end
end

return budget_hook

-- Decides which context stays when a prompt does not fit: what is pinned, then the highest priority,
-- of equal priority the shorter items, so that more of them fit.
local function first(a, b)
  if a.pinned ~= b.pinned then return a.pinned end
  if a.priority ~= b.priority then return a.priority > b.priority end
  if a.tokens ~= b.tokens then return a.tokens < b.tokens end
  return a.id < b.id
end

return function(req, room)
  local items, left = {}, room - req.prompt_tokens
  for i, item in ipairs(req.context) do
    items[i] = item
    left = left + item.tokens -- until it is known which of them stay
  end
  table.sort(items, first)
  local kept = {}
  for _, item in ipairs(items) do
    if item.pinned or item.tokens <= left then
      kept[#kept + 1] = item
      left = left - item.tokens
    end
  end
  return kept, ("room for %d tokens"):format(room)
end

-- Decides which context is kept when the prompt does not fit: pinned items always, then the highest
-- priority first, smaller items before larger ones of the same priority, so that more of them fit.
return function(req, room)
  local items, rest = {}, room - req.prompt_tokens
  for _, item in ipairs(req.context) do
    items[#items + 1] = item
    rest = rest + item.tokens
  end
  table.sort(items, function(a, b)
    if a.pinned ~= b.pinned then return a.pinned end
    if a.priority ~= b.priority then return a.priority > b.priority end
    if a.tokens ~= b.tokens then return a.tokens < b.tokens end
    return a.id < b.id
  end)
  local kept = {}
  for _, item in ipairs(items) do
    if item.pinned or item.tokens <= rest then
      kept[#kept + 1] = item
      rest = rest - item.tokens
    end
  end
  return kept, ("%d of %d items kept"):format(#kept, #items)
end

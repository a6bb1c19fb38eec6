-- Passes over a candidate whose worst cost is above two cents.
return function(_, candidate)
  if candidate.worst_usd > 0.02 then
    return "next"
  end
end

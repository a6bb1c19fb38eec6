-- Goes on with the next candidate after any failure that is not the caller's.
return function(_, attempt)
  if attempt.class ~= "rejected" and attempt.class ~= "cancelled" then
    return "next"
  end
end

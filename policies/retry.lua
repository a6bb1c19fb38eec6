-- Decides what follows a failed attempt: a premium model that is rate limited or overloaded is not
-- waited for, the next candidate answers at once; everything else goes by neap's table.
return function(req, attempt)
  if attempt.class == "rate_limited" or attempt.class == "overloaded" then
    if (attempt.retry_after_ms or 0) > 500 or req.remaining_ms < 5000 then
      return "next", "no time to wait for it"
    end
  end
end

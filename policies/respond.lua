-- Decides whether a good answer goes out as it is: a blank one becomes the degraded reply.
return function(_, reply)
  if not reply.text:find "%S" then
    return "degrade", "the answer is blank"
  end
end

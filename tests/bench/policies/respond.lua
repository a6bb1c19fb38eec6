-- Degrades an answer without text.
return function(_, reply)
  if reply.text == "" then
    return "degrade"
  end
end

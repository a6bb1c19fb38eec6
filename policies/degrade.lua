-- Decides what a client reads when no provider could answer: the template of the reason, and 503 in
-- its place for callers that said they would rather have an error than a stand-in.
return function(req, reason)
  if req.metadata and req.metadata.on_degraded == "error" then
    return { status = 503, text = template(reason) }, "the caller asked for an error"
  end
end

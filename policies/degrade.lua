-- Decides what a client reads when no provider could answer: the template of the reason (templates/),
-- with status 503 for callers that would rather have an error than a stand-in.
return function(req)
  if req.metadata and req.metadata.on_degraded == "error" then
    return { status = 503 }, "the caller asked for an error"
  end
end

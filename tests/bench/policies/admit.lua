-- Refuses prompts that no model could read whole.
return function(req)
  if req.prompt_tokens > 1000000 then
    return { status = 413, type = "too_large", message = "the prompt is too long" }
  end
end

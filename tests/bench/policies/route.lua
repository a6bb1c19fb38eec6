-- Sends long prompts to the large model, others to the one that the caller wishes, else to the small one.
return function(req)
  if req.prompt_tokens > 6000 then
    return { { model = "large", timeout_ms = 5000 } }
  end
  local wish = req.model == "large" and "large" or "small"
  return { { model = wish, timeout_ms = 5000 }, { model = wish == "small" and "large" or "small", timeout_ms = 4000 } }
end

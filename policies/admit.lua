-- Decides whether a request is taken: one whose prompt is too long for an affordable answer is refused
-- before it costs anything.

-- gpt-4.1-mini takes this much and still has room for the answer (models.lua).
local MAX_PROMPT_TOKENS = 8000

return function(req)
  -- What is not pinned may still be left out, so only the rest counts.
  local least = req.prompt_tokens
  for _, item in ipairs(req.context) do
    if not item.pinned then least = least - item.tokens end
  end
  if least > MAX_PROMPT_TOKENS then
    local message = ("the prompt has about %d tokens that can't be left out; at most %d are taken"):format(
      least, MAX_PROMPT_TOKENS)
    return { status = 413, type = "too_large", message = message }, "prompt over the limit"
  end
end

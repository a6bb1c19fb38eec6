-- Decides whether a request is taken: questions that could not be answered inside the objective for
-- cost, however cheap the model, are refused before they cost anything.
local MAX_PROMPT_TOKENS = 100000

return function(req)
  local droppable = 0
  for _, item in ipairs(req.context) do
    if not item.pinned then droppable = droppable + item.tokens end
  end
  -- What is not pinned may still be left out, so only the rest counts.
  local least = req.prompt_tokens - droppable
  if least > MAX_PROMPT_TOKENS then
    local text = ("the prompt has about %d tokens that can't be left out; at most %d are taken"):format(
      least, MAX_PROMPT_TOKENS)
    return { status = 413, type = "too_large", message = text }, "prompt over the limit"
  end
end

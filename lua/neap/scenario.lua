-- Decides how the imitation providers answer when no scenario is given: helpfully, and as fast as the
-- real ones would, so that what a policy does can be seen without a key.

local economical = { "mini", "nano", "haiku", "flash", "lite", "small" }

local function is_economical(model)
  for _, word in ipairs(economical) do
    if model:find(word, 1, true) then return true end
  end
  return false
end

local function shortened(text)
  text = text:gsub("%s+", " ")
  if #text <= 120 then return text end
  return text:sub(1, utf8.offset(text, 0, 120) - 1) .. "…"
end

local openings = {
  "Here is what usually helps:",
  "Let's take it step by step:",
  "This is how I would go about it:",
}

local function answer(call)
  local opening = openings[math.floor(call.random() * #openings) + 1]
  local quick = is_economical(call.model)
  local detail = quick and "" or " If none of that helps, tell me what you see on the screen, word by word."
  return {
    text = ("%s here (an imitation: no provider was asked). You said: \"%s\" %s first look it up in the "
      .. "knowledge base, then try the steps that it names one after the other, and open a ticket with "
      .. "what you saw if the matter is still there.%s"):format(call.model, shortened(call.prompt), opening, detail),
    first_ms = quick and { p50 = 120, p95 = 260 } or { p50 = 350, p95 = 800 },
    total_ms = quick and { p50 = 220, p95 = 450 } or { p50 = 600, p95 = 1400 },
  }
end

return { models = { ["*"] = answer } }

-- Decides which models are tried: the conversation's own first, then the other.
local MODELS = { "gpt-4.1-mini", "claude-haiku-4-5" }
local WEIGHTS = { 2, 1 }

-- What a conversation is known by; without an id, its caller.
local function thread_of(req)
  local id = req.metadata.conversation
  return type(id) == "string" and id or req.tenant
end

---@type neap.route
local function route(req)
  local own = pick { MODELS, weights = WEIGHTS, sticky = thread_of(req) }
  local plan = { own }
  for _, model in ipairs(MODELS) do
    if model ~= own then plan[#plan + 1] = model end
  end
  return plan
end

return route

-- Which paths are served, what they promise and what one request may use at most.
return {
  ["/api/assistant/reply"] = {
    models = { "gpt-4.1-mini", "claude-haiku-4-5" }, -- the plan where route.lua has no opinion
    slo = { p95_ms = 2500, error_rate = 0.01, degraded_rate = 0.05, cost_usd = 0.01 },
    deadline_ms = 10000,
    max_attempts = 4,
    max_cost_usd = 0.05, -- a wall for all attempts together
    max_tokens = 1024,
  },
}

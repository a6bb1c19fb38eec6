-- Which paths are served, what they promise and what one request may use at most.
return {
  ["/api/assistant/reply"] = {
    slo = { p95_ms = 2500, error_rate = 0.01, degraded_rate = 0.05, cost_usd = 0.01 },
    models = { "gpt-4.1", "gpt-4.1-mini", "claude-haiku-4-5" },
    deadline_ms = 10000,
    max_attempts = 5, -- two of premium, two of its fallback, one of the last
    max_cost_usd = 0.02, -- a wall for all attempts together, at their worst; budget.lua aims at 0.01
    max_tokens = 1024,
    body_bytes = 1048576,
    on_disconnect = "abort",
  },
}

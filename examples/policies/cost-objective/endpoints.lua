-- Which paths are served, what is promised of them, and what one request may use at most.
return {
  ["/api/assistant/reply"] = {
    models = { "gpt-4.1", "gpt-4.1-mini", "claude-haiku-4-5" },
    slo = { p95_ms = 4000, error_rate = 0.01, cost_usd = 0.004 },
    deadline_ms = 10000,
    max_attempts = 4,
    max_cost_usd = 0.10,
    max_tokens = 1024,
  },
}

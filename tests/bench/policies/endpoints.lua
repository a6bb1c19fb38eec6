-- Declares the measured endpoint, with limits that a benchmark's question never meets.
return {
  ["/api/assistant/reply"] = {
    slo = { p95_ms = 2500, error_rate = 0.01, degraded_rate = 0.05, cost_usd = 0.01 },
    models = { "small", "large" },
    deadline_ms = 10000, max_attempts = 3, max_cost_usd = 0.02, max_tokens = 1024, body_bytes = 1048576,
  },
}

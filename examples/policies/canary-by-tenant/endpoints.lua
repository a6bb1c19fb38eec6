-- Which paths are served, and what one request may use at most.
return {
  ["/api/assistant/reply"] = {
    models = { "gpt-4.1" },
    deadline_ms = 10000,
    max_attempts = 4,
    max_cost_usd = 0.10,
    max_tokens = 1024,
  },
}

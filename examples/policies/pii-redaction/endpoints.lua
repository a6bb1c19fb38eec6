-- Which paths are served. A request that can't be redacted is refused: without on_error a hook that fails, or
-- takes too long, would be passed over, and the request sent as it came.
return {
  ["/api/assistant/reply"] = {
    models = { "gpt-4.1-mini", "claude-haiku-4-5" },
    deadline_ms = 10000,
    max_attempts = 4,
    max_cost_usd = 0.10,
    max_tokens = 1024,
    body_bytes = 65536,
    on_error = { admit = "refuse" },
  },
}

-- Which providers may be called, where they are and how long they get.
return {
  openai = {
    adapter = "openai",
    base_url = "https://api.openai.com/v1",
    api_key = env "OPENAI_API_KEY",
    connect_timeout_ms = 1000,
    first_token_timeout_ms = 8000,
    idle_timeout_ms = 10000,
    timeout_ms = 30000,
    breaker = { failures = 5, rate = 0.5, min_calls = 20, window_ms = 10000, open_ms = 60000 },
    max_inflight = 200,
    keep_warm = 1,
  },
  anthropic = {
    adapter = "anthropic",
    base_url = "https://api.anthropic.com",
    api_key = env "ANTHROPIC_API_KEY",
    connect_timeout_ms = 1000,
    first_token_timeout_ms = 8000,
    idle_timeout_ms = 10000,
    timeout_ms = 30000,
    breaker = { failures = 5, rate = 0.5, min_calls = 20, window_ms = 10000, open_ms = 60000 },
    max_inflight = 200,
  },
}

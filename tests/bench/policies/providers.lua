-- Says where the benchmark's one provider is; the run puts its own port in place of 9001.
return {
  openai = {
    adapter = "openai", base_url = "http://127.0.0.1:9001/v1", api_key = env "NEAP_BENCH_KEY",
    connect_timeout_ms = 1000, first_token_timeout_ms = 8000, idle_timeout_ms = 10000, timeout_ms = 30000,
    breaker = { failures = 5, rate = 0.5, min_calls = 20, window_ms = 10000, open_ms = 60000 },
    max_inflight = 4096,
  },
}

-- Which providers may be called, and with which keys. `env` and `file` name a key; nobody sees its value.
return {
  openai = {
    adapter = "openai",
    base_url = "https://api.openai.com/v1",
    api_key = env "OPENAI_API_KEY",
    timeout_ms = 30000,
  },
  anthropic = {
    adapter = "anthropic",
    base_url = "https://api.anthropic.com",
    api_key = env "ANTHROPIC_API_KEY",
    timeout_ms = 30000,
  },
}

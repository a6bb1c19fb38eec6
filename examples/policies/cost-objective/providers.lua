-- Which providers may be called.
return {
  openai = { adapter = "openai", base_url = "https://api.openai.com/v1", api_key = env "OPENAI_API_KEY" },
  anthropic = { adapter = "anthropic", base_url = "https://api.anthropic.com", api_key = env "ANTHROPIC_API_KEY" },
}

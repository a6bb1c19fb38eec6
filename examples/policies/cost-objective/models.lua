-- Which models there are and what they cost.
return {
  ["gpt-4.1"] = {
    provider = "openai",
    tier = "premium",
    context = 1047576,
    max_output = 32768,
    usd_per_million = { input = 2.00, cached_input = 0.50, output = 8.00 },
    as_of = "2026-11-01",
  },
  ["gpt-4.1-mini"] = {
    provider = "openai",
    tier = "economy",
    context = 1047576,
    max_output = 32768,
    usd_per_million = { input = 0.40, cached_input = 0.10, output = 1.60 },
    as_of = "2026-11-01",
  },
  ["claude-haiku-4-5"] = {
    provider = "anthropic",
    tier = "economy",
    context = 200000,
    max_output = 64000,
    usd_per_million = { input = 1.00, cached_input = 0.10, output = 5.00 },
    as_of = "2026-11-01",
  },
}

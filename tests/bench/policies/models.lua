-- Lists the two models between which the benchmark's route hook chooses.
return {
  small = {
    provider = "openai", id = "gpt-4.1-mini-2025-04-14", tier = "economy", context = 1047576, max_output = 32768,
    usd_per_million = { input = 0.40, cached_input = 0.10, output = 1.60 }, as_of = "2026-11-01",
  },
  large = {
    provider = "openai", id = "gpt-4.1-2025-04-14", tier = "premium", context = 1047576, max_output = 32768,
    usd_per_million = { input = 2.00, cached_input = 0.50, output = 8.00 }, as_of = "2026-11-01",
  },
}

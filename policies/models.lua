-- Which models there are, what they cost and how much they are given. Check the prices against your
-- providers' price lists, then set as_of: neap reminds you when they are older than half a year.
--
-- `context` bounds prompt and answer together; beyond it truncate.lua drops context. The economical
-- models could take more: what stands here keeps the longest prompt's reply under 0.01 USD. Prices of
-- cache_write are left out where nothing is written: the dearest price is what is held for an attempt.
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
    context = 10000,
    max_output = 8192,
    usd_per_million = { input = 0.40, cached_input = 0.10, output = 1.60 },
    as_of = "2026-11-01",
  },
  ["claude-haiku-4-5"] = {
    provider = "anthropic",
    tier = "economy",
    context = 4000,
    max_output = 2048,
    usd_per_million = { input = 1.00, cached_input = 0.10, output = 5.00 },
    as_of = "2026-11-01",
  },
}

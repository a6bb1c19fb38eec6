-- How the imitation providers behave on a bad morning: one has bursts of 429, one is slow at times, one is down.
return {
  seed = 7,
  models = {
    ["gpt-4.1"] = {
      text = "A long answer.", first_ms = { p50 = 400, p95 = 900 }, total_ms = { p50 = 900, p95 = 2200 },
      faults = { { rate = 0.05, burst = 8, status = 429, retry_after_s = 2 } },
    },
    ["gpt-4.1-mini"] = {
      text = "A short answer.", first_ms = 150, total_ms = 300,
      faults = { { rate = 0.1, first_ms = 6000, total_ms = 9000 }, { rate = 0.01, reset_at = 40 } },
    },
    ["anthropic/*"] = { { status = 529 }, { status = 529 }, { text = "Back again." } },
    ["*"] = function(call) return { text = "You asked " .. call.model .. ", call " .. call.number .. "." } end,
  },
}

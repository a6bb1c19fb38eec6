-- Keeps one account that every request reserves in and settles; a run can't fill it.
return {
  { account = "global", window = "day", limit_usd = 1000000 },
}

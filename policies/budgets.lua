-- What may be spent: a wall for everybody together, and one for each tenant.
return {
  { account = "global", window = "day", limit_usd = 50 },
  { account = "tenant", window = "day", limit_usd = 5, on_exceeded = "degrade" },
}

-- What may be spent: walls that no policy can lift.
return {
  { account = "global", window = "day", limit_usd = 20 },
  { account = "tenant", window = "day", limit_usd = 5 }, -- each tenant its own
}

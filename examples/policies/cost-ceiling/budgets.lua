-- The walls: what everybody together may spend in an hour of the clock, and in a day.
return {
  { account = "global", window = "hour", limit_usd = 2 },
  { account = "global", window = "day", limit_usd = 20 },
}

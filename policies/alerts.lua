-- When somebody is told: budgets nearly and wholly used, p95 doubled, objectives burning.
return {
  budget = { 0.8, 1.0 },
  p95_jump = 2.0,
  burn = true,
  breaker = true,
  reload = true,
  daily_report = "08:00",
}

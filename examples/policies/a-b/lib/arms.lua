-- The arms of the experiment: which model, for how many users, with which instruction added.
return {
  A = { model = "gpt-4.1-mini", weight = 1 },
  B = { model = "claude-haiku-4-5", weight = 1, instruction = "Answer in at most three sentences." },
}

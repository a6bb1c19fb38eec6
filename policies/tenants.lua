-- Who may call, and with which keys. While it is empty everybody is the tenant "anonymous" and neap
-- listens on loopback alone. `neap key new --tenant acme` prints a key and the line for this file:
--
--     acme = { keys = { "sha256:…" }, endpoints = { "/api/assistant/reply" },
--              models = { "gpt-4.1-mini" }, requests_per_minute = 600, tokens_per_minute = 200000,
--              concurrency = 50, expires = "2027-06-30" },
return {}

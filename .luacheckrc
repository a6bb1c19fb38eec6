-- What luacheck allows in neap's Lua: the runtime under lua/, policy sets, examples and tests.
std = "lua54"
max_line_length = 120
codes = true
cache = false

-- What neap hands to a policy set, beside Lua's own bounded libraries.
read_globals = {
  "stats", "breaker", "budget", "tokens", "backoff", "pick", "template", "shared",
  "random", "now_ms", "log", "json", "env", "file",
}

-- What `neap test` adds for a set's tests.
files["**/*_test.lua"] = {
  globals = { "test", "play", "expect", "recorded" },
}

-- The other side of the benchmark runs in nginx.
files["tests/bench/**/*.lua"] = { std = "ngx_lua" }

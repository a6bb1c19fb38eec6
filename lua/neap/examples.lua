-- Says by an example what raises a problem's code, and what is right instead, for `neap check --explain`.
--
-- By code: { file = the file of the shipped set that is put in its place, wrong =, right = its content }, or
-- { shell = true, wrong =, right = commands that are run in the folder of the set }. Each wrong one raises its
-- code and each right one does not: a test holds it, but for those of { told = true }, which a running instance
-- or a folder's parent says.

local PROVIDER = 'adapter = "openai", base_url = "https://api.openai.com/v1", api_key = env "OPENAI_API_KEY"'

-- A file that is wrong and right by one line in a frame.
local function one(file, frame, wrong, right)
  local function put(line) return (frame:gsub("@", (line:gsub("%%", "%%%%")), 1)) end
  return { file = file, wrong = put(wrong), right = put(right) }
end

local function provider(wrong, right)
  return one("providers.lua", "return {\n  openai = { @ },\n  anthropic = { adapter = \"anthropic\", "
    .. 'base_url = "https://api.anthropic.com", api_key = env "ANTHROPIC_API_KEY" },\n}\n', wrong, right)
end

local function model(wrong, right)
  local price = 'provider = "openai", usd_per_million = { input = 1, output = 2 }'
  return one("models.lua", 'return {\n  ["gpt-4.1"] = { @ },\n  ["gpt-4.1-mini"] = { ' .. price
    .. ' },\n  ["claude-haiku-4-5"] = { ' .. price .. " },\n}\n", wrong, right)
end

local function endpoint(wrong, right)
  return one("endpoints.lua", 'return {\n  ["/api/assistant/reply"] = { @ },\n}\n', wrong, right)
end

local function route(wrong, right)
  return one("route.lua", "return function(req)\n  @\nend\n", wrong, right)
end

local function retry(wrong, right)
  return one("retry.lua", "return function(req, attempt)\n  @\nend\n", wrong, right)
end

local function shell(wrong, right) return { shell = true, wrong = wrong, right = right } end
local function told(wrong, right) return { told = true, wrong = wrong, right = right } end

local PRICE = "usd_per_million = { input = 2, output = 8 }"

return {
  N101 = told("neap check polices", "neap check policies"),
  N102 = shell("ln -s /etc/hostname lib/host.lua", "cp lib/plan.lua lib/host.lua"),
  N103 = shell("mv route.lua rout.lua", "cp lib/plan.lua lib/rout.lua"),
  N104 = route('if req.stream return { "gpt-4.1" } end', 'if req.stream then return { "gpt-4.1" } end'),
  N105 = one("budgets.lua", 'return {\n  { account = "global", window = "day", limit_usd = @ },\n}\n', "nil + 1", "50"),
  N106 = one("route.lua", "@\n", 'return { "gpt-4.1" }', 'return function()\n  return { "gpt-4.1" }\nend'),
  N107 = shell("rm models.lua", "touch models.lua"),
  N108 = shell("chmod o+w route.lua", "chmod go-w route.lua"),
  N109 = shell("for i in $(seq 70); do head -c 1000000 /dev/zero > lib/l$i.lua; done", "rm -f lib/l*.lua"),
  N110 = shell("echo 'to do' > notes.txt", "echo 'to do' > README.md"),
  N111 = shell("echo 'return { other = require \"lib.b\" }' > lib/a.lua\n"
    .. "echo 'return { other = require \"lib.a\" }' > lib/b.lua",
    "echo 'return { shared = require \"lib.c\" }' > lib/a.lua\n"
    .. "echo 'return { shared = require \"lib.c\" }' > lib/b.lua\necho 'return {}' > lib/c.lua"),
  N112 = one("route.lua", "@\nreturn function()\n  return { \"gpt-4.1\" }\nend\n", "local start = now_ms()",
    "local START = 1793448000000"),

  N201 = endpoint('models = { "gpt-4.1" }, deadline = 10000', 'models = { "gpt-4.1" }, deadline_ms = 10000'),
  N202 = endpoint('models = "gpt-4.1"', 'models = { "gpt-4.1" }'),
  N203 = endpoint('models = { "gpt-4.1" }, max_attempts = 99', 'models = { "gpt-4.1" }, max_attempts = 5'),
  N204 = provider('adapter = "openai", api_key = env "OPENAI_API_KEY"', PROVIDER),
  N205 = endpoint('models = { "gpt-4.l" }', 'models = { "gpt-4.1" }'),
  N206 = told('api_key = env "OPENAI_KEY"      -- and no such variable where neap serves', 'export OPENAI_KEY=…'),
  N207 = endpoint('models = { "gpt-4.1" }, max_attempts = 2, max_attempts = 3',
    'models = { "gpt-4.1" }, max_attempts = 3'),
  N208 = provider('adapter = "openai", base_url = "https://169.254.169.254/v1"', PROVIDER),
  N209 = one("endpoints.lua", 'return {\n  ["@"] = { models = { "gpt-4.1" } },\n}\n', "/v1/models", "/api/help/reply"),
  N220 = model('provider = "openai", tier = "premium"', 'provider = "openai", ' .. PRICE),
  N221 = model('provider = "openai", ' .. PRICE .. ', as_of = "2020-01-31"', 'provider = "openai", ' .. PRICE),
  N222 = endpoint('models = { "gpt-4.1" }, max_cost_usd = 0.000001', 'models = { "gpt-4.1" }, max_cost_usd = 0.02'),
  N223 = endpoint('models = { "gpt-4.1" }, deadline_ms = 200', 'models = { "gpt-4.1" }, deadline_ms = 10000'),
  N224 = endpoint('models = { "gpt-4.1" }, cache = { ttl_s = 300 }', 'models = { "gpt-4.1" }'),
  N225 = provider('adapter = "openai", base_url = "http://api.openai.com/v1"', PROVIDER),
  N226 = provider(PROVIDER .. ", first_token_timeout_ms = 40000, timeout_ms = 30000",
    PROVIDER .. ", first_token_timeout_ms = 8000, timeout_ms = 30000"),
  N227 = endpoint('models = { "gpt-4.1", "claude-haiku-4-5" }, hedge_after_ms = 20000',
    'models = { "gpt-4.1", "claude-haiku-4-5" }, hedge_after_ms = 1500'),
  N228 = one("tenants.lua", "return {\n  acme = { keys = { \"sha256:" .. ("0"):rep(64) .. "\" }, @ },\n}\n",
    'expires = "2020-06-30"', "disabled = true"),
  N229 = model('provider = "openai", ' .. PRICE .. ', as_of = "2206-11-01"', 'provider = "openai", ' .. PRICE),
  N230 = one("budgets.lua", 'return {\n  { account = "tenant", window = "day", limit_usd = @ },\n}\n', "0", "0.05"),
  N231 = model('provider = "openai", context = 8192, max_output = 128000, ' .. PRICE,
    'provider = "openai", context = 128000, max_output = 8192, ' .. PRICE),
  N232 = model('provider = "openai", usd_per_million = { input = 2, output = 8, above = { tokens = 200000 } }',
    'provider = "openai", usd_per_million = { input = 2, output = 8, above = { tokens = 200000, input = 4 } }'),
  N233 = one("models.lua", "return {\n  [\"gpt-4.1\"] = { @ },\n  [\"gpt-4.1-mini\"] = { provider = \"openai\", "
    .. PRICE .. " },\n  [\"claude-haiku-4-5\"] = { provider = \"anthropic\", " .. PRICE .. " },\n}\n",
    'provider = "openai", ' .. PRICE .. ' },\n  auto = { provider = "openai", ' .. PRICE,
    'provider = "openai", ' .. PRICE),

  N150 = told("neap serve --listen 0.0.0.0:8080       -- tenants.lua is empty", "neap key new --tenant acme      "
    .. "   -- and the line that it prints in tenants.lua"),
  N151 = told("touch policies/route.lua", "change what was rolled back, then save it"),
  N152 = told("a rollback right after the start", "change the files back, and save them"),
  N153 = told("a reload each millisecond", "a reload when the files are complete"),
  N154 = told("a reload after SIGTERM", "a reload of the instance that has taken over"),
  N155 = told('expect(run.model, "gpt-4.1")      -- and route answers by another one', "neap test policies"),
  N156 = told("a test that plays a request 100,000 times", "neap test -v shows how long each takes"),
  N210 = told("more than 4,096 models over the life of a process", "start it anew"),

  N301 = route('if stats.p59("gpt-4.1") then return { "gpt-4.1-mini" } end',
    'if (stats.p95("gpt-4.1") or 0) > 2500 then return { "gpt-4.1-mini" } end'),
  N302 = route("last = req.tenant", 'shared.set("last", req.tenant, 60)'),
  N303 = route("print(req.tenant)", 'log.info("asked", { tenant = req.tenant })'),
  N304 = route('if req.promt_tokens > 4000 then return { "gpt-4.1" } end',
    'if req.prompt_tokens > 4000 then return { "gpt-4.1" } end'),
  N305 = route("req.max_tokens = 100", 'return { { model = "gpt-4.1", max_tokens = 100 } }'),
  N306 = route('log.info("n", { n = tokens() })', 'log.info("n", { n = tokens(req.tenant) })'),
  N307 = route('return require("lib.paln").join({ "gpt-4.1" }, {})',
    'return require("lib.plan").join({ "gpt-4.1" }, {})'),
  N309 = route('if breaker.state("gpt-4.l") == "open" then return { "gpt-4.1-mini" } end',
    'if breaker.state("gpt-4.1") == "open" then return { "gpt-4.1-mini" } end'),
  N310 = retry('if attempt.class == "rate_limit" then return "next" end',
    'if attempt.class == "rate_limited" then return "next" end'),
  N311 = one("admit.lua", "return function(req)\n  @\nend\n",
    'req.tags.mail = req.messages[1].content:match("[%w._]+@[%w.]+") or "none"',
    'req.tags.mail = req.messages[1].content:find("@", 1, true) and "some" or "none"'),
  N312 = one("route.lua", "@\nend\n", "local seen = {}\nreturn function(req)\n  seen[req.tenant] = true",
    "return function(req)\n  shared.set(\"seen:\" .. req.tenant, true, 3600)"),
  N313 = route("local tier = req.metadata.tier", "local _tier = req.metadata.tier"),
  N314 = one("route.lua", "local plan = { \"gpt-4.1\" }\nreturn function(req)\n  @\n  return plan\nend\n",
    'if req.stream then local plan = { "gpt-4.1-mini" } return plan end',
    'if req.stream then return { "gpt-4.1-mini" } end'),
  N315 = one("route.lua", "local function first(req)\n  if req.stream then return \"gpt-4.1-mini\" @ end\nend\n"
    .. "return function(req)\n  return { first(req) or \"gpt-4.1\" }\nend\n", "", 'else return "gpt-4.1"'),
  N318 = shell("{ head -c 300000 /dev/zero | tr '\\0' ' '; cat lib/plan.lua; } > lib/large.lua",
    "cp lib/plan.lua lib/large.lua"),
  N319 = route('return { "gpt-4.1" } -- neap: allow N310', 'return { "gpt-4.1" }'),
  N320 = one("templates/budget.txt", "Please ask again later. (@)\n", "{{request_id}}", "{{requestId}}"),
  N321 = shell("echo 'We are closed.' > templates/closed.txt", "echo 'We are closed.' > templates/budget.txt"),

  N401 = retry("return 7", "return { retry_in_ms = 7 }"),
  N402 = route("if #req.metadata.tier > 3 then return { \"gpt-4.1\" } end",
    'if req.metadata.tier == "gold" then return { "gpt-4.1" } end'),
}

-- Decides whether the data files of a policy set are right: one table of what each may hold.
--
-- M.check(data, native, locate, kinds) takes what the files returned (by file name; false: told
-- already, nil: not there), C's helpers, and the modules locate.lua and kinds.lua (in it, as `doubts`,
-- doubts.lua). It returns the data made plain for C (every default filled in, names turned into places in the
-- lists, money into whole units) and the problems, each with file, line, column, code and text.

local M = {}

local match = string.match

local MAX_PRICE = 1000000000000 -- a million dollars for a million tokens
local MAX_KEYS, MAX_PLAN, MAX_ACCOUNTS = 16, 16, 12 -- model/catalog.h

-- ---------------------------------------------------------------------------------- addresses

local unreadable = "has an IPv4 address that can't be read"

-- What looks like a number is taken only as four plain decimal parts, since resolvers read other
-- spellings too (2852039166, 0xa9fea9fe, 0251.254.169.254).
local function ipv4_fault(host)
  local parts = { match(host, "^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
  if #parts ~= 4 then return unreadable end
  for _, part in ipairs(parts) do
    if #part > 3 or tonumber(part) > 255 or match(part, "^0%d") then return unreadable end
  end
  if parts[1] == "169" and parts[2] == "254" then return "leads to a link-local address" end
  if parts[1] == "0" then return "has an IPv4 address that can't be called" end
  return nil
end

-- An address in brackets. Those that hold an IPv4 address are not taken.
local function ipv6_fault(address)
  if not match(address, "^[%x:]+$") then return "has an IPv6 address that can't be read" end
  if match(address, "^[0:]+$") then return "has an IPv6 address that can't be called" end
  if match(address, "^fe[89ab]") then return "leads to a link-local address" end
  if match(address, "^fd00:0*ec2:[0:]*254$") then return "leads to a cloud's metadata service" end
  if match(address, "^[0:]*:ffff:") then return "has an IPv6 address that holds another one" end
  return nil
end

-- Why a host must not be called; nil when it may.
local function host_fault(host)
  local low = string.lower(host)
  local v6 = match(low, "^%[(.*)%]$")
  if v6 then return ipv6_fault(v6) end
  if not match(low, "^[%w._-]+$") or match(low, "%.%.") or match(low, "^%.") then return "has no proper host" end
  low = string.gsub(low, "%.$", "")
  if low == "metadata.google.internal" then return "leads to a cloud's metadata service" end
  local last = match(low, "[^.]*$")
  if match(last, "^%d+$") or match(last, "^0x%x*$") then return ipv4_fault(low) end
  return nil
end

local function query_fault(rest, query)
  if not query and match(rest, "[?#\\]") then return "must have no query and no fragment" end
  return match(rest, "[#\\]") and "must have no fragment" or
    match(rest, "^[^/]*%?") and "must have a path before its query" or nil
end

-- An address that may be called: scheme, host, no user, no fragment, no query unless `query` is true.
local function url_fault(url, query)
  if match(url, "[^\x21-\x7e]") or #url > 1024 then return "holds bytes that no address has" end
  local scheme, rest = match(url, "^(%a[%w+.-]*)://(.*)$")
  if not scheme then return "must begin with https:// or http://" end
  scheme = string.lower(scheme)
  if scheme ~= "http" and scheme ~= "https" then return "must begin with https:// or http://" end
  if query_fault(rest, query) then return query_fault(rest, query) end
  local authority = match(rest, "^[^/]*")
  if match(authority, "@") then return "must have no user in it: keys belong to api_key" end
  local host, port = match(authority, "^(.-):(%d+)$")
  if match(authority, "%]$") or not host then host, port = authority, nil end
  if host == "" then return "has no host" end
  if port and (tonumber(port) < 1 or tonumber(port) > 65535) then return "has no proper port" end
  if match(host, ":") and not match(host, "^%[") then return "has no proper host" end
  return host_fault(host)
end

local function url_kind(k, query)
  return function(value, at)
    if type(value) ~= "string" then
      return k.tell(at, "N202", "must be the address of an API, got %s", k.show(value))
    end
    local fault = url_fault(value, query)
    if fault then return k.tell(at, "N208", "%s: %s", fault, k.show(value)) end
    return query and value or (string.gsub(value, "/+$", ""))
  end
end

-- ------------------------------------------------------------------------------------ headers

-- Written by neap, or a way to make two parsers disagree.
local own_headers = {
  ["host"] = true, ["content-length"] = true, ["content-type"] = true, ["content-encoding"] = true,
  ["transfer-encoding"] = true, ["connection"] = true, ["keep-alive"] = true, ["expect"] = true,
  ["upgrade"] = true, ["te"] = true, ["trailer"] = true, ["accept-encoding"] = true,
  ["proxy-authorization"] = true, ["proxy-connection"] = true,
}

local function header_name(k)
  return function(value, at)
    if not match(value, "^[%w!#$%%&'*+.^_`|~-]+$") or #value > 100 then
      return k.tell(at, "N208", "is no name of a header")
    end
    if own_headers[string.lower(value)] then return k.tell(at, "N208", "is written by neap itself") end
    return value
  end
end

local function header_value(k)
  return k.either(k.is_secret, k.secret, function(value, at)
    if type(value) ~= "string" then
      return k.tell(at, "N202", "must be the text of a header, got %s", k.show(value))
    end
    if match(value, "[^\t\x20-\x7e]") or #value > 4096 or match(value, "^%s") or match(value, "%s$") then
      return k.tell(at, "N208", "holds bytes that can't stand in a header")
    end
    return value
  end)
end

-- --------------------------------------------------------------------------------------- files

local rate_names = { "input", "cached_input", "cache_write", "cache_write_1h", "output", "reasoning" }

local function largest_divisor(a, b)
  while b ~= 0 do a, b = b, a % b end
  return a
end

-- part · to / from, rounded up; the dearest of all where that would be too much.
local function scaled(part, to, from)
  if from == 0 then return part > to and part or to end
  local divisor = largest_divisor(to, from)
  to, from = to // divisor, from // divisor
  if to ~= 0 and part > math.maxinteger // to then return MAX_PRICE end
  return (part * to + from - 1) // from
end

-- What was not given of a price: cached, written and reasoning tokens cost what plain ones do; in the
-- tier above they cost as many times more as plain ones do there.
local function fill_rates(given)
  local base = {}
  base.input, base.output = given.input, given.output
  base.cached_input = given.cached_input or base.input
  base.cache_write = given.cache_write or base.input
  base.cache_write_1h = given.cache_write_1h or base.cache_write
  base.reasoning = given.reasoning or base.output
  local tier = given.above
  if not tier then return base, nil end
  local above = { tokens = tier.tokens }
  above.input, above.output = tier.input or base.input, tier.output or base.output
  for _, name in ipairs(rate_names) do
    local like = (name == "reasoning" or name == "output") and "output" or "input"
    above[name] = tier[name] or scaled(base[name], above[like], base[like])
  end
  return base, above
end

local function providers_file(k, name)
  local ms = k.integer(1, 600000)
  local breaker = k.record {
    failures = k.may(k.integer(0, 1000000), 5),
    rate = k.may(k.number(0, 1), 0.5),
    min_calls = k.may(k.integer(1, 1000000), 20),
    window_ms = k.may(k.integer(100, 3600000), 10000),
    open_ms = k.may(k.integer(1, 3600000), 60000),
  }
  local function finish(p, at, given)
    local one, many = rawget(given, "api_key"), rawget(given, "api_keys")
    if one ~= nil and many ~= nil then
      k.tell(k.below(at, "api_keys"), "N207", "stands beside api_key: one of them is enough")
      return false
    end
    p.keys = p.api_keys or (p.api_key and { p.api_key }) or {}
    p.given = given
    p.given_first_ms = given.first_token_timeout_ms ~= nil and p.first_token_timeout_ms or nil
    if one == nil and many == nil then return true end
    for _, header in ipairs(p.headers or {}) do
      local low = string.lower(header.name)
      if low == "authorization" or low == "x-api-key" then
        k.tell(header.at, "N208", "is written by neap where there is an api_key")
        return false
      end
    end
    return true
  end
  local provider = k.record({
    adapter = k.need(k.choice { "openai", "anthropic" }),
    base_url = k.need(url_kind(k)),
    api_key = k.may(k.secret),
    api_keys = k.may(k.list(k.secret, 1, MAX_KEYS, "secrets")),
    connect_timeout_ms = k.may(ms, 1000),
    first_token_timeout_ms = k.may(ms, 8000),
    idle_timeout_ms = k.may(ms, 10000),
    timeout_ms = k.may(ms, 30000),
    breaker = k.may(breaker, breaker({}, k.file("providers.lua"))),
    max_inflight = k.may(k.integer(1, 1000000), 0),
    keep_warm = k.may(k.integer(0, 64), 0),
    headers = k.may(k.map(header_name(k), header_value(k), 0, 20, "headers"), {}),
  }, finish)
  return k.map(name, provider, 1, 64, "providers")
end

local function models_file(k, name)
  local price = k.money(6, MAX_PRICE)
  local above = k.record {
    tokens = k.need(k.integer(1, 1000000000)),
    input = k.may(price), cached_input = k.may(price), cache_write = k.may(price),
    cache_write_1h = k.may(price), output = k.may(price), reasoning = k.may(price),
  }
  local prices = k.record {
    input = k.need(price), output = k.need(price), cached_input = k.may(price),
    cache_write = k.may(price), cache_write_1h = k.may(price), reasoning = k.may(price),
    above = k.may(above),
  }
  local model = k.record {
    provider = k.need(name),
    id = k.may(k.text("the provider's name of the model", "^[\x21-\x7e]+$", 128)),
    tier = k.may(k.text("a short word", "^[%w_.-]+$", 32), ""),
    context = k.may(k.integer(1, 1000000000), 0),
    max_output = k.may(k.integer(1, 1000000000), 0),
    usd_per_million = k.may(prices),
    usd_per_request = k.may(k.money(9, MAX_PRICE)),
    as_of = k.may(k.date),
  }
  local model_name = k.text("a name of letters, digits and . _ : / @ + -", "^[%w._:/@+-]+$", 128)
  return k.map(model_name, model, 1, 512, "models")
end

local function endpoint_path(k)
  return function(value, at)
    if value == "/v1/chat/completions" or value == "/v1/messages" or value == "/v1/models" then
      return k.tell(at, "N209", "is not served yet: endpoints are /api/NAME/reply")
    end
    if not match(value, "^/api/[%w_-]+/reply$") or #value > 80 then
      return k.tell(at, "N203", "must be a path of the form /api/NAME/reply")
    end
    return value
  end
end

local hook_names = { "admit", "route", "truncate", "budget", "retry", "respond", "degrade", "alert" }

local function endpoints_file(k)
  local on_error = {}
  for _, hook in ipairs(hook_names) do on_error[hook] = k.may(k.choice { "default", "refuse" }) end
  local slo = k.record {
    p95_ms = k.may(k.integer(1, 3600000), 0),
    error_rate = k.may(k.number(0, 1), 0.0),
    degraded_rate = k.may(k.number(0, 1), 0.0),
    cost_usd = k.may(k.money(9), 0),
  }
  local cache = k.record {
    ttl_s = k.need(k.integer(1, 31536000)),
    stale_if_error_s = k.may(k.integer(0, 31536000)),
  }
  local endpoint = k.record {
    slo = k.may(slo, { p95_ms = 0, error_rate = 0.0, degraded_rate = 0.0, cost_usd = 0 }),
    models = k.need(k.list(k.text("the name of a model", ".", 128), 1, MAX_PLAN, "models")),
    deadline_ms = k.may(k.integer(1, 3600000), 10000),
    max_attempts = k.may(k.integer(1, 16), 3),
    max_cost_usd = k.may(k.money(9), -1),
    hedge_after_ms = k.may(k.integer(1, 3600000), 0),
    max_tokens = k.may(k.integer(1, 1048576), 1024),
    body_bytes = k.may(k.integer(1, 67108864), 1048576),
    on_disconnect = k.may(k.choice { "abort", "drain" }, "abort"),
    on_error = k.may(k.record(on_error), {}),
    cache = k.may(cache),
  }
  return k.map(endpoint_path(k), endpoint, 1, 64, "endpoints")
end

local function tenants_file(k)
  local text = k.text("a name", ".", 128)
  local tenant = k.record({
    keys = k.need(k.list(k.text('"sha256:" and 64 hexadecimal digits, as `neap key hash` prints it',
      "^sha256:" .. string.rep("%x", 64) .. "$", 71), 1, 64, "keys")),
    endpoints = k.may(k.list(text, 1, 64, "endpoints")),
    models = k.may(k.list(text, 1, 512, "models")),
    requests_per_minute = k.may(k.integer(1, 1000000000), 0),
    tokens_per_minute = k.may(k.integer(1, 1000000000000), 0),
    concurrency = k.may(k.integer(1, 1000000), 0),
    priority = k.may(k.integer(0, 9), 0),
    expires = k.may(k.date),
    disabled = k.may(k.boolean, false),
  })
  local plain = k.text("a name of letters, digits and . _ -", "^[%w._-]+$", 64)
  local function tenant_name(value, at)
    if value == "anonymous" then
      return k.tell(at, "N203", "is the name of callers without a key, where there are no tenants")
    end
    return plain(value, at)
  end
  return k.map(tenant_name, tenant, 0, 10000, "tenants")
end

local function budgets_file(k)
  local function account(value, at)
    local wanted = '"global", "tenant", "tenant:NAME", "endpoint:PATH", "model:NAME" or "provider:NAME"'
    if type(value) ~= "string" then
      return k.tell(at, "N202", "must be %s, got %s", wanted, k.show(value))
    end
    if value == "global" or value == "tenant" then return { kind = value, of = "", text = value } end
    local kind, of = match(value, "^(%a+):(.+)$")
    local known = { tenant = "NAME", endpoint = "PATH", model = "NAME", provider = "NAME" }
    if known[value] then return k.tell(at, "N203", 'must say which one: "%s:%s"', value, known[value]) end
    if not kind or not known[kind] then
      return k.tell(at, "N203", "must be %s, got %s%s", wanted, k.show(value),
        k.guess(kind or value, { "global", "tenant", "endpoint", "model", "provider" }))
    end
    return { kind = kind, of = of, text = value }
  end
  return k.list(k.record {
    account = k.need(account),
    window = k.need(k.choice({ "minute", "hour", "day", "week", "month", "none" },
      { hourly = "hour", daily = "day", weekly = "week", monthly = "month" })),
    limit_usd = k.need(k.money(9)),
    on_exceeded = k.may(k.choice { "degrade", "reject" }, "degrade"),
    unknown = k.may(k.choice { "p95", "worst" }, "p95"),
  }, 0, 256, "budgets")
end

local function alerts_file(k)
  local function part(value, at)
    if type(value) ~= "number" or not (value > 0 and value <= 10) then
      return k.tell(at, "N203", "must be a part of the limit, such as 0.8, got %s", k.show(value))
    end
    return value
  end
  local sink = k.record {
    webhook = k.need(k.either(k.is_secret, k.secret, url_kind(k, true))),
    format = k.may(k.choice { "json", "slack" }, "json"),
  }
  return k.record {
    sinks = k.may(k.list(sink, 0, 16, "sinks"), {}),
    budget = k.may(k.list(part, 0, 16, "parts"), {}),
    p95_jump = k.may(k.number(1, 1000)),
    burn = k.may(k.boolean, false),
    breaker = k.may(k.boolean, false),
    reload = k.may(k.boolean, false),
    daily_report = k.may(k.time_of_day),
  }
end

-- --------------------------------------------------------------------------- cross references

-- What a reference needs to know of a list: its places by name, all names, and whether it was read.
local function index(list)
  local x = { place = {}, known = list.names or {}, read = list.names ~= nil, sorted = {} }
  for i, item in ipairs(list) do x.place[item.name] = i end
  for name in pairs(x.known) do x.sorted[#x.sorted + 1] = name end
  table.sort(x.sorted)
  return x
end

-- The place of a name; nil, and a problem where nothing of this name was even tried to declare.
local function refer(k, x, name, at, what, file)
  if x.place[name] then return x.place[name] end
  if x.read and not x.known[name] then
    k.tell(at, "N205", "names the %s %s, which %s does not have%s", what, k.show(name), file,
      k.guess(name, x.sorted))
  end
  return nil
end

local function refer_all(k, x, names, at, what, file)
  local places = {}
  for i, name in ipairs(names or {}) do
    places[#places + 1] = refer(k, x, name, k.below(at, i), what, file)
  end
  k.no_repeats(names, at)
  return places
end

local function link_models(k, models, providers)
  for _, m in ipairs(models) do
    m.provider_place = refer(k, providers, m.provider, k.below(m.at, "provider"), "provider", "providers.lua")
    m.id = m.id or m.name
    m.priced = (m.usd_per_million or m.usd_per_request) ~= nil
    m.base, m.above = fill_rates(m.usd_per_million or { input = 0, output = 0 })
    m.per_request = m.usd_per_request or 0
  end
end

local function link_endpoints(k, endpoints, models)
  for _, e in ipairs(endpoints) do
    e.model_places = refer_all(k, models, e.models, k.below(e.at, "models"), "model", "models.lua")
  end
end

local function link_tenants(k, tenants, endpoints, models)
  local owner = {}
  for _, t in ipairs(tenants) do
    t.endpoint_places = refer_all(k, endpoints, t.endpoints, k.below(t.at, "endpoints"), "endpoint", "endpoints.lua")
    t.model_places = refer_all(k, models, t.models, k.below(t.at, "models"), "model", "models.lua")
    for i, key in ipairs(t.keys) do
      local low = string.lower(key)
      if owner[low] then
        k.tell(k.below(k.below(t.at, "keys"), i), "N207", "is a key of %s already", k.show(owner[low]))
      end
      owner[low] = t.name
      t.keys[i] = string.sub(low, 8)
    end
  end
end

-- Every attempt touches the budgets for all, for each tenant, and those of its own four names.
local function most_accounts(budgets)
  local fixed, named = 0, {}
  for _, b in ipairs(budgets) do
    if b.account.of == "" then
      fixed = fixed + 1
    else
      local of = named[b.account.kind] or {}
      of[b.account.of] = (of[b.account.of] or 0) + 1
      of.most = math.max(of.most or 0, of[b.account.of])
      named[b.account.kind] = of
    end
  end
  for _, of in pairs(named) do fixed = fixed + of.most end
  return fixed
end

local function link_budgets(k, budgets, indexes, at)
  local files = {
    tenant = "tenants.lua", endpoint = "endpoints.lua", model = "models.lua", provider = "providers.lua",
  }
  local seen = {}
  for i, b in ipairs(budgets) do
    local account, place = b.account, k.below(k.below(at, i), "account")
    if account.of ~= "" and not (account.kind == "tenant" and account.of == "anonymous") then
      refer(k, indexes[account.kind], account.of, place, account.kind, files[account.kind])
    end
    local key = account.text .. "/" .. b.window
    if seen[key] then k.tell(place, "N207", "has a budget for each %s already: %s", b.window, key) end
    seen[key] = true
  end
  local most = most_accounts(budgets)
  if most > MAX_ACCOUNTS then
    k.tell(at, "N203", "has up to %d budgets for one call; %d are the most", most, MAX_ACCOUNTS)
  end
end

-- --------------------------------------------------------------------------------- the check

local file_order = {
  ["providers.lua"] = 1, ["models.lua"] = 2, ["endpoints.lua"] = 3, ["tenants.lua"] = 4,
  ["budgets.lua"] = 5, ["alerts.lua"] = 6,
}

-- Gives each problem its line, and sorts them as they are read. A file is read once for all of its own.
local function place_problems(k, problems, native, locate)
  local readers = {}
  for i, p in ipairs(problems) do
    p.file, p.order = p.at.file, i
    if readers[p.file] == nil then
      local source = native.source(p.file)
      readers[p.file] = source and locate.reader(source) or false
    end
    if readers[p.file] then p.line, p.column = readers[p.file](k.path_of(p.at)) end
    p.at = nil
  end
  table.sort(problems, function(a, b)
    if a.file ~= b.file then return file_order[a.file] < file_order[b.file] end
    if (a.line or 0) ~= (b.line or 0) then return (a.line or 0) < (b.line or 0) end
    if (a.column or 0) ~= (b.column or 0) then return (a.column or 0) < (b.column or 0) end
    return a.order < b.order
  end)
end

function M.check(data, native, locate, kinds)
  local k = kinds
  local problems = k.begin(native)
  local name = k.text("a name of letters, digits and . _ -", "^[%w._-]+$", 64)
  local function read(file, kind, without)
    if not data[file] then return without end
    local made = kind(data[file], k.file(file))
    if made == nil then return without end
    return made
  end
  local providers = read("providers.lua", providers_file(k, name), {})
  local models = read("models.lua", models_file(k, name), {})
  local endpoints = read("endpoints.lua", endpoints_file(k), {})
  local tenants = read("tenants.lua", tenants_file(k), data["tenants.lua"] == nil and { names = {} } or {})
  local budgets = read("budgets.lua", budgets_file(k), {})
  local alerts = read("alerts.lua", alerts_file(k), nil)
  local indexes = {
    provider = index(providers), model = index(models), endpoint = index(endpoints), tenant = index(tenants),
  }
  local made = {
    providers = providers, models = models, endpoints = endpoints, tenants = tenants,
    budgets = budgets, alerts = alerts,
  }
  link_models(k, models, indexes.provider)
  link_endpoints(k, endpoints, indexes.model)
  link_tenants(k, tenants, indexes.endpoint, indexes.model)
  link_budgets(k, budgets, indexes, k.file("budgets.lua"))
  k.doubts.tell(k, made, native)
  place_problems(k, problems, native, locate)
  return made, problems
end

M.url_fault = url_fault

return M

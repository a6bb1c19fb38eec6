-- Decides what of a policy set's data is right by its form and hardly meant: warnings.
--
-- M.tell(k, made, native): `made` is what schema.lua made of the data files, its names turned into places.

local M = {}

local match = string.match

local DAY_MS = 86400000

-- Whether an address is of this machine.
local function is_loopback(url)
  local authority = match(url, "^%a+://([^/]*)") or ""
  return match(authority, "^127%.") or match(authority, "^localhost[:]?%d*$") or match(authority, "^%[::1%]")
end

-- About the least that a call costs: 100 tokens in, 16 out, in units of money.
local function cheapest(model)
  return (model.base.input * 100 + model.base.output * 16 + 999) // 1000 + model.per_request
end

local function warn_price(k, m, now_ms)
  local tier = m.usd_per_million and m.usd_per_million.above
  if not m.priced then
    k.warn(m.at, "N220", "has no price: its calls count as free, no budget holds them")
  elseif m.as_of and now_ms - m.as_of.ms > 180 * DAY_MS then
    k.warn(k.below(m.at, "as_of"), "N221", "is older than 180 days: are the prices still right?")
  elseif m.as_of and m.as_of.ms - now_ms > 366 * DAY_MS then
    k.warn(k.below(m.at, "as_of"), "N229", "is more than a year ahead: a mistyped year?")
  end
  if tier and next(tier, next(tier)) == nil then
    k.warn(k.below(k.below(m.at, "usd_per_million"), "above"), "N232",
      "has no prices: above %d tokens nothing is different", tier.tokens)
  end
end

local function warn_models(k, models, native)
  for _, m in ipairs(models) do
    warn_price(k, m, native.now_ms)
    if m.context > 0 and m.max_output > m.context then
      k.warn(k.below(m.at, "max_output"), "N231", "is more than context = %d, which holds prompt and answer", m.context)
    end
    if m.name == "auto" then
      k.warn(m.at, "N233", "is called what clients write to leave the choice to route")
    end
  end
end

-- The least of what a field is in all providers of an endpoint; nil where one has none.
local function least_of(e, models, providers, field)
  local least
  for _, place in ipairs(e.model_places) do
    local p = providers[models[place].provider_place or 0]
    if not p or not p[field] then return nil end
    least = least and math.min(least, p[field]) or p[field]
  end
  return least
end

local function warn_deadline(k, e, models, providers)
  local connect = least_of(e, models, providers, "connect_timeout_ms")
  local first = least_of(e, models, providers, "given_first_ms")
  if connect and e.deadline_ms < connect then
    k.warn(k.below(e.at, "deadline_ms"), "N223",
      "is over before a connection has failed (connect_timeout_ms = %d)", connect)
  elseif first and e.deadline_ms < first then
    k.warn(k.below(e.at, "deadline_ms"), "N223",
      "is over before any of its providers' timeouts (first_token_timeout_ms = %d)", first)
  end
end

-- What keeps a second call from ever being made beside a slow first one.
local function warn_hedge(k, e, models)
  if e.hedge_after_ms == 0 then return end
  local at, first, other = k.below(e.at, "hedge_after_ms"), nil, false
  for _, place in ipairs(e.model_places) do
    local provider = models[place].provider_place
    first = first or provider
    other = other or provider ~= first
  end
  if e.hedge_after_ms >= e.deadline_ms then
    k.warn(at, "N227", "never comes: the deadline is over before (deadline_ms = %d)", e.deadline_ms)
  elseif e.max_attempts < 2 then
    k.warn(at, "N227", "has no effect: max_attempts = 1 leaves no second call")
  elseif not other then
    k.warn(at, "N227", "has no effect: all models are of one provider, and the second call goes to another")
  end
end

local function warn_endpoint(k, e, models, providers)
  local least
  for _, place in ipairs(e.model_places) do
    local m = models[place]
    local cost = m.priced and cheapest(m) or 0
    least = least and math.min(least, cost) or cost
  end
  if least and e.max_cost_usd >= 0 and e.max_cost_usd < least then
    k.warn(k.below(e.at, "max_cost_usd"), "N222", "is less than the cheapest call can cost")
  end
  warn_deadline(k, e, models, providers)
  warn_hedge(k, e, models)
  if e.cache then k.warn(k.below(e.at, "cache"), "N224", "has no effect yet") end
end

-- A key that is there twice is tried twice, and a provider that limits it limits both.
local function warn_keys(k, p, native)
  local seen = {}
  for i, key in ipairs(p.keys) do
    local label = native.secret(key.secret)
    if label and seen[label] then
      k.warn(k.below(k.below(p.at, "api_keys"), i), "N207", "is there twice: %s", k.show(key.secret))
    end
    if label then seen[label] = true end
  end
end

local function warn_providers(k, providers, native)
  for _, p in ipairs(providers) do
    warn_keys(k, p, native)
    if match(string.lower(p.base_url), "^http:") and not is_loopback(p.base_url) then
      k.warn(k.below(p.at, "base_url"), "N225", "is not https: keys and texts can be read on the way")
    end
    for _, field in ipairs { "connect_timeout_ms", "first_token_timeout_ms", "idle_timeout_ms" } do
      if p[field] > p.timeout_ms and p.given[field] ~= nil then
        k.warn(k.below(p.at, field), "N226", "never comes: timeout_ms = %d is over before", p.timeout_ms)
      end
    end
  end
end

local function warn_tenants(k, tenants, native)
  for _, t in ipairs(tenants) do
    if t.expires and t.expires.ms <= native.now_ms and not t.disabled then
      k.warn(k.below(t.at, "expires"), "N228", "is over: its keys are refused")
    end
  end
end

local function warn_budgets(k, budgets)
  for i, b in ipairs(budgets) do
    if b.limit_usd == 0 then
      k.warn(k.below(k.below(k.file("budgets.lua"), i), "limit_usd"), "N230",
        "is nothing: no call of %s that has a price is made", b.account.text)
    end
  end
end

function M.tell(k, made, native)
  warn_providers(k, made.providers, native)
  warn_models(k, made.models, native)
  for _, e in ipairs(made.endpoints) do warn_endpoint(k, e, made.models, made.providers) end
  warn_tenants(k, made.tenants, native)
  warn_budgets(k, made.budgets)
end

return M

// The first page: is it within its objectives, what does it do now, what is spent, what changed.

import { h } from "./dom.js";
import { chart, greatest, grouped, moment, sum, timeAxis } from "./chart.js";
import { bar, empty, firstRows, name, panel, state, table } from "./parts.js";
import { NONE, clock, count, duration, money, moment as when, ms, perSecond, percent, several, shortMs, since, times } from "./format.js";
import { requestTable } from "./requests.js";
import { policies } from "./policies.js";

const SPANS = { "15m": { ms: 900000, words: "last 15 minutes" }, "24h": { ms: 86400000, words: "last 24 hours" } };
const WINDOWS = ["5m", "30m", "1h", "6h", "3d"];

// --- alerts

const SEVERITY = { page: "bad", ticket: "warn", info: "none" };

function alertRow(alert, now) {
  return {
    key: `${alert.alert} ${alert.subject} ${alert.threshold} ${alert.since}`,
    cells: [
      state(SEVERITY[alert.severity] || "warn", alert.severity),
      h("span", null, h("b", null, alert.alert), " ", alert.subject && name(alert.subject)),
      alert.text,
      h("span", { title: alert.since }, alert.resolvedAt
        ? `${when(alert.since, now)}, for ${duration((Date.parse(alert.resolvedAt) - Date.parse(alert.since)) / 1000)}`
        : `${since(alert.since, now)} ago`),
      (alert.sentTo || []).join(", ") || NONE,
    ],
  };
}

function alertTable(caption, list, app) {
  const columns = [{ name: "severity" }, { name: "alert", bare: true }, { name: "what", class: "text", bare: true },
    { name: "since", class: "nowrap" }, { name: "told to", class: "wide" }];
  const order = ["page", "ticket", "info"];
  const sorted = [...list].sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  const [rows, more] = firstRows(app, caption, sorted, 8);
  return [table(caption, columns, rows.map((alert) => alertRow(alert, app.now))), more];
}

function alerts(app) {
  const said = app.data.alerts;
  if (!said) return null;
  const resolved = said.resolved.length > 0 && h("details", null,
    h("summary", null, `${count(said.resolved.length)} resolved in the last day`),
    alertTable("Alerts that have resolved", said.resolved, app));
  return panel("Alerts", { class: said.alerts.length ? "firing" : "quiet",
    note: said.alerts.length ? `${count(said.alerts.length)} firing` : "none is firing" },
  said.alerts.length > 0 && alertTable("Alerts that are firing", said.alerts, app), resolved);
}

// --- the figures of the last minute

// The series of the endpoint that is looked at, or of all; zeroes where it had no request.
function seriesOf(app, series) {
  if (!app.endpoint) return series.all;
  const found = series.endpoints.find((e) => e.path === app.endpoint);
  const nothing = series.all.requests.map(() => 0);
  return found || { requests: nothing, errors: nothing, degraded: nothing, clientErrors: nothing,
    costUsd: nothing, p95Ms: nothing.map(() => null) };
}

function tile(label, value, note, level) {
  return h("div", { class: "tile", key: label },
    h("dt", null, label), h("dd", null, level ? state(level, value) : value, note && h("span", { class: "tile-note" }, note)));
}

function tiles(app) {
  const series = app.data.series15m;
  const status = app.data.status;
  if (!series || !status) return null;
  const steps = Math.min(12, series.all.requests.length);
  const last = (list) => list.slice(list.length - steps);
  const requests = sum(last(series.all.requests));
  const counted = requests - sum(last(series.all.clientErrors));
  const share = (list) => (counted > 0 ? percent(sum(last(list)) / counted) : NONE);
  const cost = sum(last(series.all.costUsd));
  const open = status.breakers.filter((b) => b.state !== "closed").length;
  const span = steps * series.stepS;
  return h("dl", { class: "tiles", "aria-label": "The last minute" },
    tile("Requests", steps ? perSecond(requests / span) : NONE, "last minute"),
    tile("Errors", share(series.all.errors), `${count(sum(last(series.all.errors)))} of ${count(counted)}`),
    tile("Degraded", share(series.all.degraded), `${count(sum(last(series.all.degraded)))} of ${count(counted)}`),
    tile("p95 latency", ms(greatest(last(series.all.p95Ms))), "slowest 5 s of them"),
    tile("Spend", steps ? `${money(cost / span * 3600)}/h` : NONE, `${money(cost)} last minute`),
    tile("In flight", count(status.inflight), several(status.workers, "worker")),
    tile("Breakers", open ? `${open} open` : "all closed", several(status.breakers.length, "model"), open ? "bad" : ""));
}

// --- charts

function objectiveOf(app, name) {
  const endpoints = (app.data.status || { endpoints: [] }).endpoints;
  const one = app.endpoint ? endpoints.find((e) => e.path === app.endpoint) : endpoints.length === 1 && endpoints[0];
  const value = one && one.objectives[name];
  return value > 0 ? value : null;
}

function share(part, whole) {
  return part.map((n, i) => (whole[i] > 0 ? n / whole[i] : null));
}

function rateLines(lists, seconds) {
  return [{ label: "all", kind: "main", area: true, values: lists.requests.map((n) => n / seconds) },
    { label: "client’s fault", kind: "alt", values: lists.clientErrors.map((n) => n / seconds) }];
}

function drawn(app, series, span) {
  const axis = timeAxis(series, span.ms);
  const source = seriesOf(app, series);
  const lists = {};
  for (const key of ["requests", "errors", "degraded", "clientErrors", "costUsd"]) {
    lists[key] = grouped(axis, source[key], sum);
  }
  const p95 = grouped(axis, source.p95Ms, greatest);
  const counted = lists.requests.map((n, i) => n - lists.clientErrors[i]);
  const errorGoal = objectiveOf(app, "error_rate");
  const p95Goal = objectiveOf(app, "p95_ms");
  const seconds = axis.step / 1000;
  const shared = { axis, width: app.chartWidth, cursor: app.cursor, onCursor: app.setCursor };
  return h("div", { class: "charts" },
    chart({ ...shared, title: "Requests", note: "per second", format: perSecond, least: 1,
      lines: rateLines(lists, seconds) }),
    chart({ ...shared, title: "Errors, degraded", note: "share of requests", format: percent, least: errorGoal ? errorGoal * 1.5 : 0.01,
      goal: errorGoal && { value: errorGoal, label: `errors: at most ${percent(errorGoal)}` },
      lines: [{ label: "errors", kind: "bad", values: share(lists.errors, counted) },
        { label: "degraded", kind: "warn", values: share(lists.degraded, counted) }] }),
    chart({ ...shared, title: "p95 latency", note: axis.group > 1 ? "the worst minute" : "of each step", format: ms, tick: shortMs, least: p95Goal ? p95Goal * 1.2 : 10,
      goal: p95Goal && { value: p95Goal, label: `objective ${ms(p95Goal)}` },
      lines: [{ label: "p95", kind: "time", values: p95 }] }),
    chart({ ...shared, title: "Spend", note: "per hour, at this pace", format: money, least: 0.001,
      lines: [{ label: "spend", kind: "main", area: true, values: lists.costUsd.map((usd) => usd / seconds * 3600) }] }));
}

function choice(label, now, options, choose) {
  return h("div", { class: "choice", role: "group", "aria-label": label }, options.map(([value, text]) =>
    h("button", { key: value, type: "button", "aria-pressed": value === now ? "true" : "false", onclick: () => choose(value) }, text)));
}

function traffic(app) {
  const series = app.data[`series${app.span}`];
  const status = app.data.status;
  if (!series || !status) return null;
  const span = SPANS[app.span];
  const axis = timeAxis(series, span.ms);
  const paths = status.endpoints.map((e) => e.path);
  const tools = [
    h("label", { class: "pick" }, h("span", { class: "unseen" }, "Endpoint"),
      h("select", { value: app.endpoint, onchange: (event) => app.set({ endpoint: event.target.value }) },
        h("option", { value: "" }, "all endpoints"), paths.map((path) => h("option", { key: path, value: path }, path)))),
    choice("Span", app.span, [["15m", "15 min"], ["24h", "24 h"]], (value) => app.set({ span: value, cursor: null })),
  ];
  const at = app.cursor !== null && app.cursor < axis.n ? ` at ${moment(axis, app.cursor)}` : "";
  const note = axis.raw === 0 ? "the first figures come after 5 seconds"
    : `${span.words}, by ${duration(axis.step / 1000)}${at || ", figures of the latest step"}`;
  return panel("Over time", { note, tools }, drawn(app, series, span));
}

// --- objectives

function burnCell(value, set) {
  if (!set) return h("span", { class: "muted" }, NONE);
  const level = value > 6 ? "bad" : value > 1 ? "warn" : "";
  return h("span", { class: `burn ${level}` }, value > 1 && [h("span", { "aria-hidden": "true" }, "▲ "), h("span", { class: "unseen" }, "over: ")], times(value));
}

// Two windows together, as the alerts see it.
function verdict(burn, key) {
  const of = (w) => burn[w][key];
  if ((of("1h") > 14.4 && of("5m") > 14.4) || (of("6h") > 6 && of("30m") > 6)) return state("bad", "burning fast");
  if (of("3d") > 1 && of("6h") > 1) return state("warn", "burning");
  return of("1h") > 1 ? state("warn", "over for now") : state("good", "within");
}

const OBJECTIVES = [
  ["p95_ms", "p95", ms, (e) => ms(e.p95Ms)],
  ["error_rate", "errors", percent, (e, goal) => percent(e.burn["5m"].error_rate * goal)],
  ["degraded_rate", "degraded", percent, (e, goal) => percent(e.burn["5m"].degraded_rate * goal)],
  ["cost_usd", "mean cost", money, (e, goal) => money(e.burn["5m"].cost_usd * goal)],
];

function objectiveRows(endpoint) {
  const rows = [];
  for (const [key, label, format, now] of OBJECTIVES) {
    const goal = endpoint.objectives[key];
    if (!(goal > 0)) continue;
    rows.push({
      key: `${endpoint.path} ${key}`,
      class: rows.length === 0 ? "first" : "",
      cells: [h("span", { class: rows.length === 0 ? "name mono" : "name mono repeated" }, endpoint.path), label, format(goal), now(endpoint, goal),
        ...WINDOWS.map((w) => burnCell(endpoint.burn[w][key], true)), verdict(endpoint.burn, key)],
    });
  }
  if (rows.length === 0) {
    rows.push({ key: endpoint.path, class: "first lean", cells: [name(endpoint.path), h("span", { class: "muted" }, "none set"), NONE,
      ms(endpoint.p95Ms), ...WINDOWS.map(() => burnCell(0, false)), NONE] });
  }
  return rows;
}

function objectives(app) {
  const status = app.data.status;
  if (!status) return null;
  const columns = [{ name: "endpoint" }, { name: "objective", class: "nowrap strong", bare: true }, { name: "at most", class: "number" },
    { name: "last 5 min", class: "number" },
    ...WINDOWS.map((w) => ({ name: `burn ${w}`, class: w === "30m" || w === "6h" ? "number middle" : "number", title: `how many times faster than allowed, over ${w}` })), { name: "state", class: "nowrap early", bare: true }];
  return panel("Objectives", { note: "burn: how many times faster than allowed, over 5 minutes to 3 days" },
    table("Endpoints against their objectives", columns, status.endpoints.flatMap(objectiveRows)));
}

// --- money

function budgetRow(b, now) {
  const whole = b.limitUsd > 0 ? b.limitUsd : 1;
  const used = (b.spentUsd + b.reservedUsd) / whole;
  const words = `${money(b.spentUsd)} of ${money(b.limitUsd)}${b.reservedUsd > 0 ? `, ${money(b.reservedUsd)} held` : ""}`;
  const level = used >= 1 ? "bad" : used >= 0.8 ? "warn" : "good";
  return {
    key: b.account,
    cells: [name(b.account),
      bar(words, [{ share: b.spentUsd / whole, class: `spent ${level}` }, { share: b.reservedUsd / whole, class: "held" }]),
      h("span", null, h("b", null, percent(b.spentUsd / whole)), used >= 1 ? state("bad", "used up") : used >= 0.8 ? state("warn", "nearly") : null),
      words,
      b.resetsAt ? h("span", { title: b.resetsAt }, duration((Date.parse(b.resetsAt) - now) / 1000)) : "never",
      b.onExceeded],
  };
}

function budgets(app) {
  const status = app.data.status;
  if (!status) return null;
  const columns = [{ name: "account" }, { name: "use", class: "bar-cell", bare: true }, { name: "spent", class: "number", bare: true },
    { name: "of the limit", class: "nowrap", bare: true }, { name: "resets in", class: "number nowrap" },
    { name: "then", title: "what happens when it is used up", class: "wide" }];
  const use = (b) => (b.spentUsd + b.reservedUsd) / Math.max(b.limitUsd, 1e-12);
  const sorted = [...status.budgets].sort((a, b) => use(b) - use(a));
  const [rows, more] = firstRows(app, "Budgets", sorted, 12);
  return panel("Budgets", { note: status.budgets.length ? "the fullest first" : "budgets.lua declares none" },
    status.budgets.length
      ? [table("Budgets", columns, rows.map((b) => budgetRow(b, app.now))), more]
      : empty("Without budgets nothing but each request’s cap limits what is spent."));
}

function spendTable(app, title, all, total, what, note) {
  const [rows, more] = firstRows(app, title, all, 8);
  const most = rows.length ? Math.max(rows[0].usd, 1e-12) : 1;
  const columns = [{ name: title.toLowerCase().replace("spend by ", "") }, { name: "to scale", class: "bar-cell", bare: true },
    { name: "spent", class: "number" }, { name: "share", class: "number" }, { name: what, class: "number wide" }];
  return panel(title, { note },
    rows.length === 0 ? empty("Nothing was asked for yet.")
      : [table(title, columns, rows.map((row) => ({ key: `${row.title} ${row.name}`, cells: [
        name(row.name, row.title),
        bar(`${money(row.usd)} of ${money(total)}`, [{ share: row.usd / most, class: "spent plain" }]),
        money(row.usd), percent(total > 0 ? row.usd / total : 0), count(row.n)] }))), more]);
}

// Of today, UTC, as budgets of a day are.
function spend(app) {
  if (!app.data.days) return null;
  const [today, yesterday] = app.data.days.days;
  const note = `today, UTC: ${money(today.spentUsd)}${yesterday ? `, the day before: ${money(yesterday.spentUsd)}` : ""}`;
  const models = today.models.map((m) => ({ name: m.model, title: m.provider && `at ${m.provider}`, usd: m.spentUsd, n: m.attempts }));
  const tenants = today.tenants.map((t) => ({ name: t.tenant, usd: t.spentUsd, n: t.requests }));
  return [spendTable(app, "Spend by model", models, today.spentUsd, "calls", note),
    spendTable(app, "Spend by tenant", tenants, today.spentUsd, "requests", note)];
}

function limits(app) {
  const tenants = app.data.budgets ? app.data.budgets.tenants : [];
  if (tenants.length === 0) return null;
  const used = (f) => (f ? `${count(f.used)} of ${count(f.limit)}` : NONE);
  const columns = [{ name: "tenant" }, { name: "requests a minute", class: "number" },
    { name: "tokens a minute", class: "number" }, { name: "at once", class: "number" }];
  const [rows, more] = firstRows(app, "Limits of tenants", tenants, 8);
  return panel("Limits of tenants", { note: "used in this minute, the fullest first" },
    table("Limits of tenants", columns, rows.map((t) => ({ key: t.tenant,
      cells: [name(t.tenant), used(t.requestsPerMinute), used(t.tokensPerMinute), used(t.concurrency)] }))), more);
}

// --- providers

function breaker(b) {
  if (b.state === "closed") return state("good", "closed");
  const why = b.lastClass ? `after ${b.lastClass}` : "";
  return b.state === "open"
    ? state("bad", `open${b.waitMs > 0 ? `, ${duration(b.waitMs / 1000)} left` : ""}`, why)
    : state("warn", "half open, probing", why);
}

function providers(app) {
  const status = app.data.status;
  if (!status) return null;
  const columns = [{ name: "provider" }, { name: "model", bare: true }, { name: "breaker", class: "nowrap" },
    { name: "p95", class: "number", title: "of the last 5 minutes, from 20 calls on" },
    { name: "errors", class: "number", title: "of the last 5 minutes" },
    { name: "failed of calls", class: "number", title: "in the breaker’s window" },
    { name: "in flight", class: "number", title: "of the provider" }, { name: "last fault", class: "wide" }];
  const closed = (b) => b.state === "closed";
  const sorted = [...status.breakers].sort((a, b) => closed(a) - closed(b));
  const [rows, more] = firstRows(app, "Providers", sorted, 20);
  return panel("Providers", { note: "p95 and errors of the last 5 minutes" },
    table("Providers, models and their breakers", columns, rows.map((b) => ({
      key: `${b.provider} ${b.model}`,
      cells: [name(b.provider), name(b.model), breaker(b), ms(b.p95Ms),
        percent(b.errorRate), `${count(b.failed)} of ${count(b.calls)}`, count(b.inflight), b.lastClass || NONE] }))), more);
}

// --- the page

function newest(app) {
  const said = app.data.newest;
  if (!said) return null;
  return panel("Newest requests", { tools: h("a", { href: "#/requests" }, "All requests") },
    said.requests.length ? requestTable("Newest requests", said.requests, app) : empty("No request came yet."));
}

export function overview(app) {
  if (!app.data.status) {
    return h("div", { class: "page", key: "waiting" }, h("h1", { class: "unseen" }, "Overview"),
      h("p", { class: "empty" }, app.fault ? "Nothing to show yet." : "Asking neap…"));
  }
  return h("div", { class: "page", key: "overview" },
    h("h1", { class: "unseen" }, `Overview at ${clock(app.now)}`),
    tiles(app), alerts(app), traffic(app), objectives(app),
    h("div", { class: "columns" },
      h("div", { class: "stack" }, budgets(app), providers(app), limits(app)),
      h("div", { class: "stack" }, spend(app), policies(app))),
    newest(app));
}

export function overviewNeeds(app) {
  const needs = { status: ["/api/status", 2000], alerts: ["/api/alerts", 5000], policies: ["/api/policies", 5000],
    days: ["/api/days", 10000], budgets: ["/api/budgets", 5000], newest: ["/api/requests?limit=10", 2000],
    series15m: ["/api/series?span=15m", 5000] };
  if (app.span === "24h") needs.series24h = ["/api/series?span=24h", 30000];
  return needs;
}

// The newest requests, with a filter.

import { h } from "./dom.js";
import { empty, name, outcome, panel, requestLink, table } from "./parts.js";
import { NONE, count, moment, money, ms } from "./format.js";

const OUTCOMES = ["ok", "degraded", "cancelled", "invalid_request", "unauthorized", "forbidden", "not_found", "too_large",
  "rate_limited", "budget_exceeded", "upstream_failed", "deadline_exceeded", "overloaded", "draining", "policy_failed"];
const PAGE = 50;

export function requestTable(caption, rows, app) {
  const columns = [{ name: "time", class: "nowrap" }, { name: "outcome", class: "nowrap early", bare: true }, { name: "endpoint", bare: true },
    { name: "tenant", bare: true }, { name: "model", bare: true }, { name: "attempts", class: "number" }, { name: "latency", class: "number nowrap", bare: true },
    { name: "cost", class: "number", bare: true }, { name: "request", class: "wide" }];
  return table(caption, columns, rows.map((r) => ({
    key: `${r.requestId} ${r.at}`,
    cells: [h("a", { href: `#/requests/${encodeURIComponent(r.requestId)}`, title: `${r.at} ${r.requestId}` }, moment(r.at, app.now)),
      outcome(r), name(r.endpoint || NONE), name(r.tenant || NONE),
      name(r.model || NONE, r.provider && `at ${r.provider}`), count(r.attempts), ms(r.latencyMs), money(r.costUsd),
      requestLink(r.requestId)],
  })));
}

export function listPath(filter, before) {
  const query = new URLSearchParams({ limit: String(PAGE) });
  for (const name of ["endpoint", "tenant", "outcome"]) {
    if (filter[name]) query.set(name, filter[name]);
  }
  if (before) query.set("before", before);
  return `/api/requests?${query}`;
}

// What stands behind the question mark of the page's address.
export function filterOf(query) {
  const given = new URLSearchParams(query);
  return { endpoint: given.get("endpoint") || "", tenant: given.get("tenant") || "", outcome: given.get("outcome") || "",
    before: given.get("before") || "" };
}

export function addressOf(filter) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) {
    if (value) query.set(name, value);
  }
  const text = query.toString();
  return text ? `#/requests?${text}` : "#/requests";
}

function choose(label, value, options, all, change) {
  const known = value && !options.includes(value) ? [...options, value] : options;
  return h("label", { class: "field" }, h("span", null, label),
    h("select", { value, onchange: (event) => change(event.target.value) },
      h("option", { value: "" }, all), known.map((o) => h("option", { key: o, value: o }, o))));
}

function filters(app) {
  const go = (change) => { location.hash = addressOf({ ...app.filter, before: "", ...change }); };
  const endpoints = app.data.status ? app.data.status.endpoints.map((e) => e.path) : [];
  return h("form", { class: "filters", role: "search", "aria-label": "Requests", onsubmit: (event) => {
    event.preventDefault();
    const fields = event.currentTarget.elements;
    const id = fields.id.value.trim();
    if (id) location.hash = `#/requests/${encodeURIComponent(id)}`;
    else go({ tenant: fields.tenant.value.trim() });
  } },
  choose("Endpoint", app.filter.endpoint, endpoints, "all", (endpoint) => go({ endpoint })),
  choose("Outcome", app.filter.outcome, OUTCOMES, "all", (outcomeName) => go({ outcome: outcomeName })),
  h("label", { class: "field" }, h("span", null, "Tenant"),
    h("input", { name: "tenant", type: "text", value: app.filter.tenant, autocomplete: "off", spellcheck: "false",
      onchange: (event) => go({ tenant: event.target.value.trim() }) })),
  h("label", { class: "field grow" }, h("span", null, "Request id, or its beginning"),
    h("input", { name: "id", type: "text", autocomplete: "off", spellcheck: "false", class: "mono" })),
  h("button", { type: "submit" }, "Show"));
}

export function requestsPage(app) {
  const said = app.data.list;
  const rows = said ? said.requests : [];
  const filtered = app.filter.endpoint || app.filter.tenant || app.filter.outcome;
  const tools = [
    h("button", { key: "pause", type: "button", "aria-pressed": app.paused ? "true" : "false", disabled: Boolean(app.filter.before),
      onclick: () => app.set({ paused: !app.paused }) }, "Pause"),
    app.filter.before && h("a", { key: "new", href: addressOf({ ...app.filter, before: "" }) }, "Newest"),
    said && said.next && h("a", { key: "old", href: addressOf({ ...app.filter, before: said.next }) }, "Older"),
  ];
  const note = app.filter.before ? "older ones, as they were when asked" : app.paused ? "paused" : "the newest, live";
  return h("div", { class: "page", key: "requests" },
    h("h1", { class: "unseen" }, "Requests"), filters(app),
    panel("Requests", { note, tools },
      app.listFault ? empty(app.listFault)
        : !said ? empty("Asking neap…")
          : rows.length ? requestTable("Requests", rows, app)
            : empty(filtered ? "No request that is kept in memory is like that." : "No request came yet.")));
}

export function requestsNeeds(app) {
  const needs = { status: ["/api/status", 5000], alerts: ["/api/alerts", 10000] };
  if (app.filter.before) needs.list = [listPath(app.filter, app.filter.before), Infinity];
  else if (!app.paused || !app.data.list) needs.list = [listPath(app.filter), 2000];
  return needs;
}

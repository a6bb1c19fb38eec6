// One request: what came of it, its attempts on a line of time, and what `neap explain` tells.

import { h } from "./dom.js";
import { empty, outcome, panel } from "./parts.js";
import { addressOf } from "./requests.js";
import { count, duration, money, moment, ms, several, us } from "./format.js";

const SKIPS = { budget: "the budget hook or the cap of a request said no", breaker: "its breaker is open",
  busy: "too many calls are in flight, or its retries are used up", quota: "its quota is used up",
  deadline: "not enough time was left" };

// --- the line of time

function place(from, to, whole) {
  const left = Math.min(100, 100 * from / whole);
  return { left: `${left.toFixed(3)}%`, width: `${Math.max(0.15, Math.min(100 - left, 100 * (to - from) / whole)).toFixed(3)}%` };
}

function tokensOf(tokens) {
  if (!tokens) return null;
  const cached = tokens.cached ? ` (${count(tokens.cached)} cached)` : "";
  return `${count(tokens.prompt)} tokens in${cached}, ${count(tokens.completion)} out`;
}

function wordsOf(a) {
  const words = [a.lost ? "ended: another answered first" : `${a.status ? `${a.status} ` : ""}${a.class}`, ms(a.latencyMs)];
  if (a.hedge) words.unshift("beside the one before");
  if (a.ttftMs !== undefined) words.push(`first byte after ${ms(a.ttftMs)}`);
  const tokens = tokensOf(a.tokens);
  if (tokens) words.push(tokens);
  words.push(`${money(a.costUsd)} ${a.settled}`);
  if (a.probe) words.push("a probe of its breaker");
  if (a.usageImpossible) words.push("impossible usage, estimated");
  if (a.retryAfterMs) words.push(`asked to wait ${ms(a.retryAfterMs)}`);
  if (a.retryInMs !== undefined) words.push(`again after ${ms(a.retryInMs)}`);
  return words.join(" · ");
}

function attemptRow(record, a, i, whole) {
  const level = a.class === "ok" ? "good" : a.lost || a.class === "cancelled" ? "warn" : "bad";
  const end = a.atMs + a.latencyMs;
  const text = record.firstTextMs;
  const first = a.ttftMs === undefined ? end : Math.min(end, a.atMs + a.ttftMs);
  return h("li", { key: `a${i}`, class: "step" },
    h("div", { class: "step-name" }, h("b", null, `${i + 1}`), " ", h("span", { class: "mono" }, a.model),
      h("span", { class: "muted" }, ` at ${a.provider}${a.key ? `, key ${a.key}` : ""}`)),
    h("div", { class: "track", "aria-hidden": "true" },
      h("span", { class: `wait ${level}`, style: place(a.atMs, first, whole) }),
      end > first && h("span", { class: `flow ${level}`, style: place(first, end, whole) }),
      text >= a.atMs && text <= end && !a.lost && h("span", { class: "mark", style: { left: place(text, text, whole).left } }),
      a.retryInMs > 0 && h("span", { class: "pause", style: place(end, end + a.retryInMs, whole) })),
    h("div", { class: `step-words ${level}` }, wordsOf(a)),
    a.error && !a.lost && h("div", { class: "step-error" }, a.error));
}

function skipRow(s, i) {
  return h("li", { key: `s${i}`, class: "step" },
    h("div", { class: "step-name" }, h("b", null, "–"), " ", h("span", { class: "mono" }, s.model)),
    h("div", { class: "step-words warn" }, `passed over: ${s.account ? `the budget ${s.account} has no room for it` : SKIPS[s.why] || s.why}`));
}

// Attempts and what was passed over, in their order.
function steps(record, whole) {
  const skipped = record.skipped || [];
  const out = [];
  const skipsAfter = (n) => skipped.forEach((s, i) => { if (s.attempts === n) out.push(skipRow(s, i)); });
  skipsAfter(0);
  record.attempts.forEach((a, i) => {
    out.push(attemptRow(record, a, i, whole));
    skipsAfter(i + 1);
  });
  return out;
}

// What the bars mean, of those that are there.
function legend(record) {
  const any = (is) => record.attempts.some(is);
  const ended = (a) => a.lost || a.class === "cancelled";
  const entry = (form, text) => h("span", { class: "legend-entry", key: form },
    h("span", { class: `key ${form}`, "aria-hidden": "true" }), ` ${text}`);
  return [
    any((a) => a.class === "ok") && entry("wait-key", "waiting for the first byte"),
    any((a) => a.class === "ok" && a.ttftMs < a.latencyMs) && entry("flow-key", "receiving"),
    any((a) => a.class !== "ok" && !ended(a)) && entry("wait bad", "failed"),
    any((a) => a.class !== "ok" && !ended(a) && a.ttftMs < a.latencyMs) && entry("flow bad", "failed while receiving"),
    any(ended) && entry("wait warn", "ended early: not needed any more"),
    any((a) => a.retryInMs > 0) && entry("pause-key", "pause before the next attempt"),
    record.firstTextMs !== undefined && entry("mark-key", "first text at the client"),
  ];
}

function timeline(record) {
  const ends = record.attempts.map((a) => a.atMs + a.latencyMs);
  const whole = Math.max(1, record.latencyMs, ...ends);
  const list = steps(record, whole);
  if (list.length === 0) return empty("No provider was called.");
  const marks = [0, 0.25, 0.5, 0.75, 1];
  if (record.attempts.length === 0) return h("div", { class: "timeline" }, h("ol", { class: "steps" }, list));
  return h("div", { class: "timeline" },
    h("div", { class: "scale", "aria-hidden": "true" }, marks.map((m) =>
      h("span", { key: m, class: m === 0 ? "begin" : m === 1 ? "end" : m === 0.5 ? "" : "quarter", style: { left: `${m * 100}%` } },
        m === 0 ? "0" : ms(whole * m)))),
    h("ol", { class: "steps" }, list),
    h("p", { class: "muted legend-line" }, legend(record)));
}

// --- the rest

function fact(name, ...value) {
  return h("div", { class: "fact", key: name }, h("dt", null, name), h("dd", null, value));
}

// Finer than milliseconds where nothing but neap took time.
function took(record) {
  return record.attempts.length === 0 ? us(record.overheadUs) : ms(record.latencyMs);
}

function facts(record, now) {
  const budget = record.budget;
  const estimate = record.estimate;
  const search = (change) => addressOf({ endpoint: "", tenant: "", outcome: "", before: "", ...change });
  return h("dl", { class: "facts" },
    fact("outcome", outcome(record)),
    record.message && fact("message", record.message),
    record.param && fact("field", h("span", { class: "mono" }, record.param)),
    fact("time", h("span", { title: record.at }, moment(record.at, now))),
    fact("took", took(record), record.attempts.length > 0 && h("span", { class: "muted" }, `, ${us(record.overheadUs)} of it in neap itself`)),
    record.firstTextMs !== undefined && fact("first text", `after ${ms(record.firstTextMs)}`),
    fact("cost", money(record.costUsd), budget && h("span", { class: "muted" }, ` of ${money(budget.reserved)} held`)),
    budget && budget.accounts.length > 0 && fact("paid by", h("span", { class: "mono" }, budget.accounts.join(", "))),
    estimate && fact("estimate", `${count(estimate.promptTokens)} tokens in, at most ${count(estimate.maxTokens)} out: about ${money(estimate.costUsd)}, at most ${money(estimate.worstUsd)}`),
    record.endpoint && fact("endpoint", h("a", { class: "mono", href: search({ endpoint: record.endpoint }) }, record.endpoint)),
    record.tenant && fact("tenant", h("a", { class: "mono", href: search({ tenant: record.tenant }) }, record.tenant)),
    record.policy && fact("policy", h("span", { class: "mono" }, record.policy)),
    record.plan && fact("plan", h("span", { class: "mono" }, record.plan.join(", "))),
    record.dropped && fact("left out", h("span", { class: "mono" }, record.dropped.join(", "))),
    record.retryAfterS && fact("come again", `after ${duration(record.retryAfterS)}`));
}

function hookItem(hook, i) {
  const place = hook.line ? `${hook.name}.lua:${hook.line}` : hook.at;
  return h("li", { key: i }, h("b", { class: "mono" }, hook.name),
    hook.returned && hook.returned !== "nothing" ? [" returned ", h("span", { class: "mono" }, hook.returned)] : hook.error ? "" : " had no opinion",
    hook.why && `: ${hook.why}`,
    hook.error && h("span", { class: "step-error" }, ` failed: ${hook.error}`),
    h("span", { class: "muted" }, ` · ${us(hook.us)}${place ? `, ${place}` : ""}`));
}

export function requestPage(app) {
  const record = app.data.record;
  const back = h("p", { class: "crumbs" }, h("a", { href: "#/requests" }, "Requests"), " / ", h("span", { class: "mono" }, app.requestId));
  if (!record) {
    return h("div", { class: "page", key: "request" }, back, h("h1", { class: "unseen" }, `Request ${app.requestId}`),
      empty(app.listFault || "Asking neap…"));
  }
  const hooks = record.hooks || [];
  return h("div", { class: "page", key: `request ${record.requestId}` },
    back, h("h1", { class: "mono id" }, record.requestId),
    panel("What came of it", {}, facts(record, app.now)),
    panel("Attempts", { note: `${several(record.attempts.length, "attempt")}, ${took(record)} in all` }, timeline(record)),
    h("div", { class: "columns" },
      panel("In words", { note: "as neap explain tells it" },
        h("pre", { tabindex: 0, role: "region", "aria-label": "What neap explain says" }, app.data.told || "…")),
      panel("Hooks", { note: hooks.length ? "" : "no hook was called" }, hooks.length > 0 && h("ol", { class: "hooks" }, hooks.map(hookItem)))),
    h("details", { class: "panel raw" }, h("summary", null, "The whole record"),
      h("pre", { tabindex: 0, role: "region", "aria-label": "The record as JSON" }, JSON.stringify(record, null, 2))));
}

export function requestNeeds(app) {
  const path = `/api/requests/${encodeURIComponent(app.requestId)}`;
  return { status: ["/api/status", 5000], alerts: ["/api/alerts", 10000], record: [path, Infinity], told: [`${path}/explain`, Infinity] };
}


// The generations of the policy set, and the two things that can be done to it.

import { h } from "./dom.js";
import { panel, state, table } from "./parts.js";
import { NONE, count, moment, since } from "./format.js";

const LEVEL = { running: "good", kept: "none", rejected: "bad", rolled_back: "warn" };
const WORDS = { rolled_back: "rolled back" };

function hookErrors(generation) {
  const hooks = Object.entries(generation.hooks);
  const errors = hooks.reduce((n, [, hook]) => n + hook.errors, 0);
  const title = hooks.map(([name, hook]) => `${name}: ${count(hook.errors)} errors of ${count(hook.calls)} calls`).join("\n");
  return h("span", { title }, count(errors));
}

function row(generation, now) {
  const [first, ...rest] = (generation.error || "").trim().split("\n");
  const lines = 1 + rest.length;
  return {
    key: `${generation.number} ${generation.version} ${generation.loadedAt}`,
    cells: [h("span", { class: "mono" }, generation.version || NONE),
      state(LEVEL[generation.state] || "none", WORDS[generation.state] || generation.state, generation.error || ""),
      h("span", { title: moment(generation.loadedAt, now) }, `${since(generation.loadedAt, now)} ago`),
      generation.trigger, count(generation.requests), hookErrors(generation)],
    note: first && h("span", null, first, lines > 1 && h("span", { class: "muted" }, ` and ${count(lines - 1)} more lines`)),
  };
}

// The generation that a rollback would bring back.
export function before(generations) {
  return generations.find((g) => g.state === "kept") || null;
}

function problem(p, i) {
  const place = p.file ? `${p.file}:${p.line}:${p.column}: ` : "";
  return h("li", { key: i }, h("span", { class: "mono" }, place), h("b", null, p.code ? `${p.code} ` : ""), p.text);
}

const RESULTS = {
  ok: ["good", "is running now"],
  unchanged: ["none", "is what runs already: the folder has not changed"],
  rejected: ["bad", "was rejected; what ran before runs on"],
  rolled_back: ["warn", "is running again"],
};

function done(app) {
  const what = app.done;
  if (!what) return null;
  if (what.fault) return h("div", { class: "result", role: "status" }, state("bad", `${what.verb} failed: ${what.fault}`));
  const [level, words] = RESULTS[what.result] || ["none", what.result];
  return h("div", { class: "result", role: "status" },
    state(level, `${what.version || "The set"} ${words}.`),
    what.problems.length > 0 && h("ul", { class: "problems" }, what.problems.slice(0, 20).map(problem)),
    what.problems.length > 20 && h("p", { class: "muted" }, `and ${count(what.problems.length - 20)} more: neap check says all`));
}

export function policies(app) {
  const said = app.data.policies;
  if (!said) return null;
  const back = before(said.generations);
  const columns = [{ name: "version" }, { name: "state", class: "nowrap", bare: true }, { name: "since", class: "number nowrap" },
    { name: "by", class: "wide" }, { name: "requests", class: "number" }, { name: "hook errors", class: "number" }];
  const tools = [
    h("button", { key: "reload", type: "button", disabled: app.busy, onclick: () => app.ask("reload") }, "Reload"),
    h("button", { key: "back", type: "button", disabled: app.busy || !back, onclick: () => app.ask("rollback"),
      title: back ? "" : "no earlier generation is kept" }, "Roll back"),
  ];
  return panel("Policies", { note: app.busy ? "working…" : "generations, the newest first", tools },
    done(app), table("Generations of the policy set", columns, said.generations.map((g) => row(g, app.now))));
}

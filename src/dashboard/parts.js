// What several pages are built of.

import { h } from "./dom.js";

export function panel(title, props, ...kids) {
  const id = `panel-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("section", { class: `panel ${props.class || ""}`, "aria-labelledby": id, key: id },
    h("div", { class: "panel-head" }, h("h2", { id }, title), props.note && h("span", { class: "muted" }, props.note),
      props.tools && h("div", { class: "tools" }, props.tools)),
    kids);
}

function tableRow(row, columns) {
  const cells = row.cells.map((cell, i) => h(i === 0 ? "th" : "td",
    { scope: i === 0 ? "row" : false, class: columns[i].class || false, "data-label": i > 0 && !columns[i].bare && columns[i].name }, cell));
  const note = row.note && h("tr", { key: `${row.key} note`, class: "note" }, h("td", { colspan: columns.length }, row.note));
  return [h("tr", { key: row.key, class: row.class || false }, cells), note];
}

// columns: [{name, class, title, bare: needs no name beside it where rows are told one below the other}]; rows: [{key, cells, class, note}], a cell is a text, a node or a list, a
// note a line below.
export function table(caption, columns, rows) {
  return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    h("table", null,
      h("caption", { class: "unseen" }, caption),
      h("thead", null, h("tr", null, columns.map((c) =>
        h("th", { scope: "col", class: c.class || false, title: c.title }, c.name)))),
      h("tbody", null, rows.map((row) => tableRow(row, columns)))));
}

// The first rows of many, and a button for the rest.
export function firstRows(app, what, rows, n) {
  const all = app.unfolded.has(what) || rows.length <= n + 2;
  const toggle = () => {
    if (all) app.unfolded.delete(what);
    else app.unfolded.add(what);
    app.set({});
  };
  const more = rows.length > n + 2 && h("p", { class: "more" },
    h("button", { type: "button", "aria-expanded": all ? "true" : "false", onclick: toggle },
      all ? `Show the first ${n}` : `Show all ${rows.length}`));
  return [all ? rows : rows.slice(0, n), more];
}

export function empty(text) {
  return h("p", { class: "empty" }, text);
}

// A name of others' choosing: cut where it is long, whole when pointed at.
export function name(text, title) {
  return h("span", { class: "name mono", title: title ? `${text}, ${title}` : text }, text);
}

const MARKS = { good: "●", warn: "▲", bad: "■", none: "○" };

// A state in words; the mark has a form of its own for each level, the colour says it once more.
export function state(level, text, title) {
  return h("span", { class: `state ${level}`, title }, h("span", { "aria-hidden": "true" }, `${MARKS[level]} `), text);
}

// A bar of a whole: parts are [{share, class}], drawn one after the other.
export function bar(label, parts) {
  return h("span", { class: "bar", role: "img", "aria-label": label },
    parts.map((part) => h("span", { class: part.class,
      style: { width: `${Math.max(0, Math.min(100, part.share * 100)).toFixed(2)}%` } })));
}

export function requestLink(id, text) {
  return h("a", { href: `#/requests/${encodeURIComponent(id)}`, class: "mono" }, text || id);
}

const GOOD = new Set(["ok"]);
const SOFT = new Set(["degraded", "cancelled"]);

export function outcome(row) {
  const level = GOOD.has(row.outcome) ? "good" : SOFT.has(row.outcome) || row.status < 500 ? "warn" : "bad";
  const status = row.status ? ` ${row.status}` : "";
  return state(level, `${row.outcome}${row.outcome === "ok" && row.status === 200 ? "" : status}${row.reason ? `, ${row.reason}` : ""}`);
}

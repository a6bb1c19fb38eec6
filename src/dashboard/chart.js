// Lines over time. A chart is drawn in pixels of its own width, so that texts keep their size. One moment
// of all charts can be pointed at, or walked to with the arrow keys; the figures beside the names are of
// that moment, else of the latest.

import { h } from "./dom.js";
import { clock } from "./format.js";

const HEIGHT = 150;
const LEFT = 50;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;
const MINUTE = 60000;
const POINTS = 240; // more are joined

// {from, until, step, n} in milliseconds; lists of n figures are drawn to the end of the span.
export function timeAxis(series, spanMs) {
  const until = Date.parse(series.until);
  const raw = series.all.requests.length;
  const group = Math.max(1, Math.ceil(spanMs / (series.stepS * 1000) / POINTS));
  const step = series.stepS * 1000 * group;
  return { until, from: until - spanMs, step, group, n: Math.ceil(raw / group), raw };
}

// Figures by group, from the end, so that the newest group is whole.
export function grouped(axis, values, join) {
  const out = [];
  for (let end = axis.raw; end > 0; end -= axis.group) {
    out.unshift(join(values.slice(Math.max(0, end - axis.group), end)));
  }
  return out;
}

export const sum = (list) => list.reduce((a, b) => a + b, 0);
export const greatest = (list) => list.reduce((a, b) => (b !== null && (a === null || b > a) ? b : a), null);

function niceTop(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((m) => m * size).find((top) => top >= value * 0.9999);
}

function timeTicks(axis, width) {
  const span = axis.until - axis.from;
  const steps = [1, 2, 3, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720].map((m) => m * MINUTE);
  const most = Math.max(2, Math.floor((width - LEFT - RIGHT) / 62));
  const step = steps.find((s) => span / s <= most) || steps[steps.length - 1];
  const zone = new Date(axis.until).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let t = Math.ceil((axis.from - zone) / step) * step + zone; t <= axis.until; t += step) ticks.push(t);
  return ticks;
}

const there = (values, i) => i >= 0 && i < values.length && values[i] !== null;

// One line for each run of figures.
function linePath(values, x, y) {
  let path = "";
  values.forEach((value, i) => {
    if (value !== null) path += `${there(values, i - 1) ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
  });
  return path;
}

// Figures that stand alone are dots: a line needs two.
function lonelyDots(line, x, y) {
  return line.values.map((value, i) => value !== null && !there(line.values, i - 1) && !there(line.values, i + 1) &&
    h("circle", { key: `${line.label} ${i}`, class: `dot ${line.kind}`, cx: x(i), cy: y(value), r: 2.5 }));
}

function areaPath(values, x, y) {
  if (values.length < 2) return "";
  const points = values.map((value, i) => `L${x(i).toFixed(1)} ${y(value || 0).toFixed(1)}`).join("");
  return `M${x(0).toFixed(1)} ${y(0)}${points}L${x(values.length - 1).toFixed(1)} ${y(0)}Z`;
}

function grid(chart, top, y) {
  const right = chart.width - RIGHT;
  return [0, 0.5, 1].map((part) =>
    h("g", { key: `y${part}` },
      h("line", { class: part ? "grid" : "axis", x1: LEFT, x2: right, y1: y(top * part), y2: y(top * part) }),
      h("text", { class: "tick", x: LEFT - 6, y: y(top * part) + 4, "text-anchor": "end" },
        part ? (chart.tick || chart.format)(top * part) : "0")));
}

function times(chart, xOf) {
  return timeTicks(chart.axis, chart.width)
    .filter((t) => xOf(t) > LEFT + 14 && xOf(t) < chart.width - RIGHT - 10)
    .map((t) => h("g", { key: `x${t}` },
      h("line", { class: "axis", x1: xOf(t), x2: xOf(t), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }),
      h("text", { class: "tick", x: xOf(t), y: HEIGHT - 5, "text-anchor": "middle" }, clock(t, false))));
}

function goalLine(chart, top, y) {
  if (!chart.goal || chart.goal.value > top) return null;
  const at = y(chart.goal.value);
  return h("g", { key: "goal" },
    h("line", { class: "goal", x1: LEFT, x2: chart.width - RIGHT, y1: at, y2: at }),
    h("text", { class: "tick goal-text", x: chart.width - RIGHT - 2, y: at < TOP + 14 ? at + 13 : at - 4,
      "text-anchor": "end" }, chart.goal.label));
}

function said(chart, i) {
  return chart.lines.map((line) => `${line.label} ${chart.format(i < 0 ? null : line.values[i])}`).join(", ");
}

function moves(chart, n) {
  const to = (i) => chart.onCursor(Math.min(n - 1, Math.max(0, i)), true);
  const at = chart.cursor === null ? n - 1 : chart.cursor;
  return {
    onkeydown: (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -12, PageUp: 12 }[event.key];
      if (step) to(at + step);
      else if (event.key === "Home") to(0);
      else if (event.key === "End") to(n - 1);
      else if (event.key === "Escape") chart.onCursor(null);
      else return;
      event.preventDefault();
    },
    onblur: () => chart.onCursor(null),
    onpointerleave: () => chart.onCursor(null),
    onpointermove: (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / (chart.width - LEFT - RIGHT);
      const back = (1 - share) * (chart.axis.until - chart.axis.from) / chart.axis.step;
      const i = n - 1 - Math.floor(back);
      chart.onCursor(i >= 0 && i < n ? i : null);
    },
  };
}

function drawing(chart) {
  const { axis } = chart;
  const n = axis.n;
  const most = greatest(chart.lines.map((line) => greatest(line.values)));
  const top = niceTop(Math.max(most || 0, chart.least));
  const xOf = (t) => LEFT + (chart.width - LEFT - RIGHT) * (t - axis.from) / (axis.until - axis.from);
  const x = (i) => xOf(axis.until - (n - 1 - i + 0.5) * axis.step);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top;
  const i = chart.cursor === null || chart.cursor >= n ? -1 : chart.cursor;
  return h("svg", {
    width: chart.width, height: HEIGHT, viewBox: `0 0 ${chart.width} ${HEIGHT}`, class: "plot", tabindex: 0,
    role: "slider", "aria-label": `${chart.title}, ${chart.note}`, "aria-valuemin": 0, "aria-valuemax": Math.max(n - 1, 0),
    "aria-valuenow": Math.max(i < 0 ? n - 1 : i, 0),
    "aria-valuetext": n === 0 ? "nothing yet" : `${moment(axis, i < 0 ? n - 1 : i)}: ${said(chart, i < 0 ? n - 1 : i)}`,
    ...moves(chart, n),
  },
  grid(chart, top, y), times(chart, xOf), goalLine(chart, top, y),
  chart.lines.map((line) => line.area && h("path", { class: `area ${line.kind}`, d: areaPath(line.values, x, y) })),
  chart.lines.map((line) => h("path", { class: `line ${line.kind}`, d: linePath(line.values, x, y) })),
  chart.lines.map((line) => lonelyDots(line, x, y)),
  i >= 0 && h("line", { class: "cursor", x1: x(i), x2: x(i), y1: TOP, y2: HEIGHT - BOTTOM }),
  i >= 0 && chart.lines.map((line) => line.values[i] !== null &&
    h("circle", { class: `dot ${line.kind}`, cx: x(i), cy: y(line.values[i]), r: 3.5 })));
}

// When the i-th step was.
export function moment(axis, i) {
  return clock(axis.until - (axis.n - 1 - i + 0.5) * axis.step, axis.step < MINUTE);
}

// {title, note, axis, width, lines: [{label, kind, values, area}], goal: {value, label}, format, tick: the same
// for the scale, least: the least top of it, cursor: index or null, onCursor}
export function chart(spec) {
  const i = spec.cursor === null || spec.cursor >= spec.axis.n ? spec.axis.n - 1 : spec.cursor;
  return h("figure", { class: "chart", key: spec.title },
    h("figcaption", null,
      h("span", { class: "chart-title" }, spec.title, h("span", { class: "muted" }, ` ${spec.note}`)),
      h("span", { class: "legend" }, spec.lines.map((line) => h("span", { key: line.label, class: "entry" },
        h("svg", { width: 16, height: 8, class: "swatch", "aria-hidden": "true" },
          h("path", { class: `line ${line.kind}`, d: "M0 4H16" })),
        `${line.label} `, h("b", null, spec.format(i < 0 ? null : line.values[i])))))),
    drawing(spec));
}

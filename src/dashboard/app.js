// The page: where it is, what it asks for and how often, and the frame around it.

import { h, render } from "./dom.js";
import { Refused, get, getText, hasToken, now, post, setToken } from "./api.js";
import { state } from "./parts.js";
import { clock, count, duration, since } from "./format.js";
import { overview, overviewNeeds } from "./overview.js";
import { filterOf, requestsNeeds, requestsPage } from "./requests.js";
import { requestNeeds, requestPage } from "./request.js";
import { before } from "./policies.js";

const TICK_MS = 500;
const AGAIN_MS = [1000, 2000, 4000, 8000, 15000];

const app = {
  data: {}, // answers by name
  asked: {}, // name: {path, at, busy}
  answeredAt: 0,
  now: Date.now(),
  page: "overview", requestId: "", filter: filterOf(""),
  span: "15m", endpoint: "", cursor: null, paused: false,
  fault: null, // {since, next, tries, why} while nobody answers
  listFault: "", // why a list or a record is not there
  needsToken: false, tokenFault: "",
  unproven: true, // nothing was answered yet with this token
  unfolded: new Set(), // tables that show all their rows
  busy: false, done: null, asking: "", // reload or rollback
  chartWidth: 300,
  set(change) {
    Object.assign(app, change);
    draw();
  },
  setCursor(i) {
    if (i !== app.cursor) app.set({ cursor: i });
  },
  ask(verb) {
    app.set({ asking: verb });
  },
};

const PAGES = {
  overview: [overview, overviewNeeds, "Overview"],
  requests: [requestsPage, requestsNeeds, "Requests"],
  request: [requestPage, requestNeeds, "Request"],
};

// --- asking

function failed(name, fault) {
  if (fault.status === 401) {
    if (!app.needsToken) app.tokenFault = hasToken() ? "neap does not take this token." : "";
    app.needsToken = true;
    setToken("");
  } else if ([400, 404, 409].includes(fault.status) && ["list", "record", "told"].includes(name)) {
    app.listFault = fault.message;
    app.data[name] = null;
  } else {
    const tries = app.fault ? app.fault.tries + 1 : 0;
    app.fault = { since: app.fault ? app.fault.since : app.answeredAt, tries, why: fault.message,
      next: Date.now() + AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)] };
  }
}

async function load(name, path) {
  const asked = { path, at: Date.now(), busy: true };
  app.asked[name] = asked;
  try {
    const body = await (name === "told" ? getText(path) : get(path));
    if (app.asked[name] !== asked) return; // something else is wanted by now
    app.data[name] = body;
    app.answeredAt = now();
    app.fault = null;
    if (app.unproven) setTimeout(tick, 0);
    app.unproven = false;
    if (["list", "record"].includes(name)) app.listFault = "";
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    if (app.asked[name] === asked) failed(name, fault);
  } finally {
    asked.busy = false;
    draw();
  }
}

// While nobody answers, or the token is new, one question at a time is asked.
function askForWhatIsDue() {
  const now = Date.now();
  const careful = app.fault || app.unproven;
  if (app.needsToken || document.hidden) return;
  if (app.fault && now < app.fault.next) return;
  const needs = Object.entries(PAGES[app.page][1](app));
  const busy = needs.some(([name]) => app.asked[name] && app.asked[name].busy);
  for (const [name, [path, every]] of needs) {
    const asked = app.asked[name];
    if (asked && asked.path === path && (asked.busy || (!app.fault && now - asked.at < every))) continue;
    if (careful && busy) return;
    load(name, path);
    if (careful) return;
  }
}

function tick() {
  app.now = now();
  askForWhatIsDue();
  draw();
}

async function change(verb) {
  app.set({ busy: true, asking: "", done: null });
  try {
    app.done = { verb, ...await post(`/api/policies/${verb}`) };
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    if (fault.status === 401) failed("", fault);
    app.done = { verb: verb === "reload" ? "Reload" : "Rollback", fault: fault.message };
  }
  app.busy = false;
  for (const name of ["policies", "status", "alerts"]) delete app.asked[name];
  tick();
}

// --- where it is

function route() {
  const [path, query] = location.hash.slice(1).split("?");
  const parts = path.split("/").filter(Boolean);
  const before = [app.page, app.requestId, JSON.stringify(app.filter)].join(" ");
  app.page = parts[0] === "requests" ? (parts[1] ? "request" : "requests") : "overview";
  app.requestId = "";
  try {
    app.requestId = decodeURIComponent(parts[1] || "");
  } catch {
    app.page = "requests";
  }
  app.filter = filterOf(query);
  if ([app.page, app.requestId, JSON.stringify(app.filter)].join(" ") !== before) {
    for (const name of ["list", "record", "told"]) {
      delete app.data[name];
      delete app.asked[name];
    }
    Object.assign(app, { listFault: "", cursor: null, paused: false, done: null });
    window.scrollTo(0, 0);
  }
  tick();
}

// --- the frame

function link(page, href, text) {
  const here = page === app.page || (page === "requests" && app.page === "request");
  return h("a", { key: page, href, "aria-current": here ? "page" : false }, text);
}

function pulse() {
  if (app.needsToken) return state("warn", "token asked for");
  if (app.fault) return state("bad", "no answer");
  if (!app.answeredAt) return state("none", "connecting");
  return state("good", "live");
}

function head() {
  const status = app.data.status;
  return [
    h("a", { class: "brand", href: "#/" }, h("img", { src: "/dashboard/favicon.svg", alt: "", width: 22, height: 22 }), "neap"),
    h("nav", { "aria-label": "Pages" }, link("overview", "#/", "Overview"), link("requests", "#/requests", "Requests")),
    h("div", { class: "facts-line" },
      status && h("span", { key: "version", class: "wide" }, `version ${status.version}`),
      status && h("span", { key: "up", class: "wide", title: status.startedAt }, `up ${since(status.startedAt, app.now)}`),
      status && h("span", { key: "policy" }, "policy ", h("span", { class: "mono" }, status.policy)),
      status && status.draining && h("span", { key: "draining" }, state("warn", "draining: it takes no further requests")),
      status && status.simulate && h("span", { key: "simulate" }, state("warn", "imitation providers: nothing is paid")),
      h("span", { key: "pulse", class: "pulse", role: "status" }, pulse())),
  ];
}

function faultBanner() {
  if (!app.fault) return null;
  const wait = Math.max(0, Math.ceil((app.fault.next - Date.now()) / 1000));
  const old = app.fault.since ? ` What is shown is of ${clock(app.fault.since)}.` : "";
  return h("div", { class: "banner", role: "alert", key: "banner" },
    h("span", null, state("bad", `neap does not answer at ${location.host}`), `: ${app.fault.why}.${old} `),
    h("span", { class: "muted", "aria-live": "off" }, wait > 0 ? `Trying again in ${duration(wait)}. ` : "Trying… "),
    h("button", { type: "button", onclick: () => { app.fault.next = 0; tick(); } }, "Try now"));
}

// --- dialogs

function tokenDialog() {
  return h("form", { method: "dialog", key: "token", onsubmit: (event) => {
    event.preventDefault();
    const field = event.currentTarget.elements.token;
    setToken(field.value);
    field.value = "";
    app.set({ needsToken: false, tokenFault: "", unproven: true, asked: {} });
    tick();
  } },
  h("h2", { id: "dialog-title" }, "Admin token"),
  h("p", null, "This neap asks operators for the token that it was given as ", h("code", null, "NEAP_ADMIN_TOKEN"),
    ". It stays in the memory of this page."),
  h("label", { class: "field" }, h("span", null, "Token"),
    h("input", { name: "token", type: "password", autocomplete: "off", required: true, class: "mono",
      "aria-describedby": app.tokenFault ? "token-fault" : false })),
  app.tokenFault && h("p", { id: "token-fault", role: "alert" }, state("bad", app.tokenFault)),
  h("div", { class: "tools" }, h("button", { type: "submit", class: "main" }, "Go on")));
}

function confirmDialog() {
  const back = before((app.data.policies || { generations: [] }).generations);
  const reload = app.asking === "reload";
  const close = () => app.set({ asking: "" });
  return h("form", { method: "dialog", key: "confirm", onsubmit: (event) => {
    event.preventDefault();
    change(app.asking);
  } },
  h("h2", { id: "dialog-title" }, reload ? "Reload the policies?" : "Roll back the policies?"),
  h("p", null, reload
    ? "The folder is read, checked and tested. Only a set that passes replaces the one that runs; requests go on meanwhile."
    : ["The set ", h("span", { class: "mono" }, back ? back.version : ""), " replaces ", h("span", { class: "mono" }, app.data.status ? app.data.status.policy : ""),
      " between requests. The one that runs now is not tried again until its folder changes."]),
  h("div", { class: "tools" },
    h("button", { type: "button", onclick: close }, "Cancel"),
    h("button", { type: "submit", class: "main" }, reload ? "Reload" : "Roll back")));
}

function drawDialog() {
  const dialog = document.getElementById("dialog");
  const wanted = app.needsToken ? "token" : app.asking ? "confirm" : "";
  if (wanted) render(dialog, wanted === "token" ? tokenDialog() : confirmDialog());
  if (wanted && !dialog.open) dialog.showModal();
  if (!wanted && dialog.open) dialog.close();
}

// --- drawing

let measured = false;

// Whether charts are to be drawn anew, in another width. Measured once for each size of the page.
function fitCharts() {
  const first = measured ? null : document.querySelector(".chart");
  if (!first) return false;
  measured = true;
  const before = app.chartWidth;
  app.chartWidth = Math.max(220, Math.floor(first.clientWidth));
  return app.chartWidth !== before;
}

function resized() {
  measured = false;
  draw();
}

function drawNow() {
  const [page, , name] = PAGES[app.page];
  const main = document.getElementById("main");
  const firing = app.data.alerts ? app.data.alerts.alerts.length : 0;
  document.title = `${app.fault ? "no answer · " : firing ? `${count(firing)} firing · ` : ""}${app.page === "request" ? app.requestId : name} · neap ${location.host}`;
  render(document.getElementById("head"), head());
  main.classList.toggle("stale", Boolean(app.fault));
  render(main, faultBanner(), page(app));
  if (fitCharts()) render(main, faultBanner(), page(app));
  drawDialog();
}

let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawNow();
  });
}

async function begin() {
  const dialog = document.getElementById("dialog");
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    if (!app.needsToken) app.set({ asking: "" });
  });
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });
  window.addEventListener("hashchange", route);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });
  new ResizeObserver(resized).observe(document.getElementById("main"));
  try {
    app.needsToken = (await get("/dashboard/settings")).token;
  } catch (fault) {
    failed("", fault);
  }
  route();
  setInterval(tick, TICK_MS);
}

begin();

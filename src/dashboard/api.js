// Asking the admin socket that this page came from. The token is kept in this variable alone.

const PATIENCE_MS = 10000;

let token = "";
let skew = 0; // of neap's clock to this one, in milliseconds, where it matters

// What neap's clock shows.
export function now() {
  return Date.now() + skew;
}

// A header of whole seconds, on its way for a moment.
function learnSkew(date) {
  const apart = Date.parse(date) + 500 - Date.now();
  if (!Number.isNaN(apart)) skew = Math.abs(apart) > 3000 ? apart : 0;
}

export function setToken(text) {
  token = text;
}

export function hasToken() {
  return token !== "";
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0: nobody answered
  }
}

async function call(path, method, patience) {
  const headers = method === "POST" ? { "X-Neap-Admin": "1" } : {};
  if (token) headers.Authorization = `Bearer ${token}`;
  const signal = AbortSignal.timeout(patience);
  try {
    const reply = await fetch(path, { method, headers, signal, cache: "no-store", credentials: "omit" });
    learnSkew(reply.headers.get("Date"));
    return { reply, text: await reply.text() };
  } catch (fault) {
    throw new Refused(0, fault.name === "TimeoutError" ? `no answer within ${patience / 1000} s` : "the connection failed");
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function refusal(reply, text) {
  const said = parsed(text);
  const message = said && said.error && said.error.message;
  return new Refused(reply.status, message || `it answers ${reply.status}`);
}

export async function get(path) {
  const { reply, text } = await call(path, "GET", PATIENCE_MS);
  const body = parsed(text);
  if (!reply.ok) throw refusal(reply, text);
  if (body === null) throw new Refused(0, "what answers is no neap");
  return body;
}

export async function getText(path) {
  const { reply, text } = await call(path, "GET", PATIENCE_MS);
  if (!reply.ok) throw refusal(reply, text);
  return text;
}

// Reload and rollback: a refused set (422) is an answer, too. Tests of a set take their time.
export async function post(path) {
  const { reply, text } = await call(path, "POST", 120000);
  const body = parsed(text);
  if ((reply.ok || reply.status === 422) && body && body.result) return body;
  throw refusal(reply, text);
}

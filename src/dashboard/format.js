// Figures with their units, as people read them.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export const NONE = "–";

export function count(n) {
  return n === null || n === undefined ? NONE : whole.format(n);
}

// As many decimals as three figures need.
function three(n) {
  const size = Math.abs(n);
  return size >= 100 ? whole.format(n) : size >= 10 ? n.toFixed(1) : n.toFixed(2);
}

function trim(text) {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

export function money(usd) {
  if (usd === null || usd === undefined) return NONE;
  if (usd === 0) return "$0";
  if (usd >= 1000) return `$${whole.format(usd)}`;
  if (usd >= 0.1) return `$${usd.toFixed(2)}`;
  const digits = Math.min(9, 2 - Math.floor(Math.log10(usd)));
  return `$${trim(usd.toFixed(digits))}`;
}

export function ms(value) {
  if (value === null || value === undefined || value < 0) return NONE;
  if (value >= 10000) return `${trim(three(value / 1000))} s`;
  return value >= 10 ? `${whole.format(value)} ms` : `${trim(value.toFixed(1))} ms`;
}

// For scales, where there is little room.
export function shortMs(value) {
  return value >= 1000 ? `${trim((value / 1000).toFixed(2))} s` : ms(value);
}

export function us(value) {
  return value >= 1000 ? ms(value / 1000) : `${whole.format(value)} µs`;
}

// "1 attempt", "2 attempts".
export function several(n, what) {
  return `${whole.format(n)} ${what}${n === 1 ? "" : "s"}`;
}

export function percent(share) {
  if (share === null || share === undefined || share < 0) return NONE;
  const value = share * 100;
  return `${value === 0 ? "0" : value < 0.01 ? "<0.01" : trim(value < 10 ? value.toFixed(2) : value.toFixed(1))} %`;
}

export function perSecond(n) {
  return n === null || n === undefined ? NONE : `${trim(three(n))}/s`;
}

// A burn rate: how many times faster than allowed.
export function times(n) {
  return n === null || n === undefined ? NONE : `${n === 0 ? "0" : n < 0.01 ? "<0.01" : trim(three(n))}×`;
}

// The two largest units.
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return s < 600 && s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

export function since(iso, now) {
  return duration((now - Date.parse(iso)) / 1000);
}

const two = (n) => String(n).padStart(2, "0");

export function clock(at, seconds = true) {
  const d = new Date(at);
  return `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? `:${two(d.getSeconds())}` : ""}`;
}

// The day too when it is another one.
export function moment(iso, now) {
  const d = new Date(iso);
  const same = d.toDateString() === new Date(now).toDateString();
  return same ? clock(d) : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(d)}`;
}

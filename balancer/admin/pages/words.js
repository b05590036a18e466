// Figures as people read them, with their units. Null and undefined are "not known": a merge patch takes nulls away.

export const NONE = "–";
const FEW = 50; // requests; fewer say how many they were
export const BUSY = 0.9; // share of a core; a worker that uses more is busy
export const LATE = 100; // ms; a worker that is later than that is late

// Kept, as making one takes longer than all that a page does with it.
const FORMATS = [0, 1, 2].map(
  (digits) => new Intl.NumberFormat("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
);
const number = (value, digits) => FORMATS[digits].format(value);

function short(value) {
  if (value === 0) return "0";
  if (Math.abs(value) >= 100) return number(value, 0);
  return number(value, Math.abs(value) >= 10 || Number.isInteger(value) ? 0 : Math.abs(value) >= 1 ? 1 : 2);
}

export const count = (value) => (value == null ? NONE : number(value, 0));
export const plain = (value) => (value == null ? NONE : short(value));
export const rate = (value) => (value == null ? NONE : `${short(value)}/s`);

// Milliseconds.
export function duration(ms) {
  if (ms == null) return NONE;
  if (ms < 1000) return `${short(ms)} ms`;
  return ms < 60_000 ? `${short(ms / 1000)} s` : span(ms / 1000);
}

// Seconds, in at most two units: "2 min", "1 h 5 min".
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

// A share from 0 to 1.
export function share(value) {
  if (value == null) return NONE;
  const percent = value * 100;
  if (percent > 0 && percent < 0.1) return "under 0.1 %";
  if (percent < 100 && percent > 99.9) return "over 99.9 %";
  return `${number(percent, percent === 0 || percent >= 10 ? 0 : 1)} %`;
}

function scaled(value, base, units) {
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit += 1;
  }
  return `${unit ? short(value) : number(value, 0)} ${units[unit]}`;
}

export const bytesPerSecond = (value) =>
  value == null ? NONE : scaled(value, 1000, ["B/s", "kB/s", "MB/s", "GB/s"]);
export const memory = (value) => (value == null ? NONE : scaled(value, 1024, ["B", "KiB", "MiB", "GiB"]));

// "n = 7" where a figure is of few requests.
export const few = (rates) => (rates && rates.n > 0 && rates.n < FEW ? `n\u00a0=\u00a0${rates.n}` : "");

const two = (value) => `${value}`.padStart(2, "0");

// A time in UTC, given as text (ISO 8601) or in seconds since the epoch. With a day if it is not that of `now`.
export function clock(time, now) {
  const date = new Date(typeof time === "number" ? time * 1000 : time);
  if (Number.isNaN(date.getTime())) return NONE;
  const shown = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
  const day = date.toISOString().slice(0, 10);
  return now && day !== now.slice(0, 10) ? `${day} ${shown}` : shown;
}

// Seconds from one time to another.
export const between = (from, to) => (new Date(to) - new Date(from)) / 1000;

// With a capital and a full stop.
export function sentence(text) {
  if (!text) return "";
  const begun = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

// "12:03:04, 2 min ago"
export const since = (time, now) => `${clock(time, now)}, ${span(between(time, now))} ago`;

// "not known" and its like for rates that have no requests to go by.
export const errors = (rates) => (rates?.errors == null ? NONE : share(rates.errors));

// What is promised for requests, and whether it was kept: {kind, word, text}.
export function promise(slo) {
  if (!slo) return { kind: "open", word: "nothing promised", text: "" };
  const slow = 1 - slo.percentile / 100;
  const promised = `${short(slo.percentile)} % within ${duration(slo.latency)}, at most ${share(slo.errors)} failed`;
  if (slo.met == null) {
    return { kind: "open", word: "too few requests to tell", text: `n = ${slo.n}; promised: ${promised}` };
  }
  const found = `${share(slo.slow_share)} were later, ${share(slo.failed_share)} failed`;
  if (slo.met) return { kind: "ok", word: "kept", text: `${promised}: ${found}` };
  const broken = [];
  if (slo.slow_share > slow) {
    broken.push(`${share(slo.slow_share)} later than ${duration(slo.latency)} (at most ${share(slow)})`);
  }
  if (slo.failed_share > slo.errors) broken.push(`${share(slo.failed_share)} failed (at most ${share(slo.errors)})`);
  return { kind: "bad", word: "missed", text: broken.join(", ") || `${promised}: ${found}` };
}

// State of an upstream -> [shape, word].
const STATES = {
  active: ["ok", "active"],
  draining: ["half", "draining"],
  maintenance: ["off", "in maintenance"],
  ejected: ["bad", "ejected"],
  probation: ["watch", "on probation"],
  unchecked: ["open", "not checked yet"],
  unresolved: ["watch", "has no address"],
};

export function state(upstream) {
  const [kind, word] = STATES[upstream.state] ?? ["open", upstream.state];
  if (upstream.state === "active" && !upstream.eligible) return ["bad", "not eligible"];
  return [kind, word];
}

export const stateWord = (name) => (STATES[name] ?? ["open", name])[1];

// How ill an upstream is: 0 is the worst.
const ORDER = ["ejected", "unresolved", "unchecked", "probation", "maintenance", "draining", "active"];
export const illness = (upstream) =>
  upstream.state === "active" && !upstream.eligible ? 0 : ORDER.indexOf(upstream.state);

// Who has to act -> the answer to "is it the balancer?"
const WHOSE = {
  upstream: "No. It is this upstream.",
  app: "No. It is the app that runs there.",
  operator: "No. Somebody has set it so.",
  network: "No. It is the network on the way to the upstream.",
  balancer: "Yes.",
};
export const isItTheBalancer = (whose) => WHOSE[whose] ?? "Not known.";

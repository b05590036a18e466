// Puts the page together: what is pushed is drawn once per frame, and only what can be seen.

import { changes, permission } from "./changes.js";
import { say, set, show } from "./dom.js";
import { findings } from "./findings.js";
import { happenings } from "./lists.js";
import { History } from "./history.js";
import { itself, totals } from "./instance.js";
import { Live } from "./live.js";
import { pools } from "./pools.js";
import { routes } from "./routes.js";
import { legend, patterns } from "./track.js";
import * as words from "./words.js";

const SIGNS = { bad: "✖", watch: "▲", ok: "✔" }; // in the title, which has no shapes
const at = (id) => document.getElementById(id);
const visible = new Set();
const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) visible.add(target);
      else visible.delete(target);
    }
    history.refresh();
    schedule();
  },
  { rootMargin: "200px" },
);

const history = new History("api/history", { wanted, changed: schedule });
const act = changes(at("dialog"), () => live.overview, announce);
const context = {
  history,
  act,
  watch: (node) => observer.observe(node),
  sees: (node) => visible.has(node),
};

document.body.append(patterns());
at("legend").append(legend());
const parts = [
  findings(at("now"), announce),
  totals(at("totals")),
  routes(at("routes"), context),
  pools(at("pools"), context),
  happenings(at("events"), at("failures")),
  itself(at("workers"), at("certificates")),
];
at("span").addEventListener("change", (event) => {
  history.span = Number(event.target.value);
  schedule();
});

// What is visible and needs history: pools for their timelines, routes for their charts.
function wanted() {
  const found = [];
  for (const node of visible) {
    if (!node.isConnected) {
      observer.unobserve(node);
      visible.delete(node);
    } else if (node.dataset.key.startsWith("pool:") || node.querySelector("details")?.open) {
      found.push(node.dataset.key);
    }
  }
  return found;
}

document.addEventListener("toggle", () => (history.refresh(), schedule()), true);

function announce(sentence) {
  say(at("announcements"), sentence);
}

let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    if (live.overview) draw(live.overview);
  });
}

function draw(overview) {
  const began = performance.now();
  const { instance, now } = overview;
  const { may, text } = permission(instance);
  say(at("name"), instance.name);
  say(at("version"), `${instance.version} (${instance.build})`);
  say(at("clock"), `${words.clock(now)} UTC`);
  say(at("may"), text);
  show(at("may"), text);
  set(at("may"), "class", may ? "note" : "hint");
  for (const part of parts) part(overview, may);
  performance.clearMeasures("update");
  performance.measure("update", { start: began }); // the tests read it
}

const live = new Live("api/stream", "api/overview", {
  changed(overview) {
    show(at("waiting"), false);
    show(at("main"), true);
    const [first] = overview.findings;
    document.title = `${SIGNS[first.level]} ${first.text} – ${overview.instance.name}`;
    history.refresh();
    schedule();
  },
  stale(since) {
    const lost = since !== undefined;
    set(document.body, "data-stale", lost ? "yes" : null);
    set(at("live"), "data-kind", lost ? "bad" : null);
    if (!lost) return void (say(at("live"), "live"), announce("The figures are live again."));
    const overview = live.overview;
    const text = overview
      ? `Stale since ${words.clock(overview.now)} UTC: the balancer does not answer. All figures are from then.`
      : "The balancer does not answer yet.";
    if (at("live").textContent !== text) announce(text);
    say(at("live"), text);
    if (overview) document.title = `✖ stale since ${words.clock(overview.now)} – ${overview.instance.name}`;
  },
});

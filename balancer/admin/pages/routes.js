// The routes: rates, durations and what is promised; the sides of a split beside each other.

import { chart } from "./chart.js";
import { el, mark, say, set, show } from "./dom.js";
import { figures, Paged } from "./table.js";
import { sides } from "./split.js";
import * as words from "./words.js";

const FIRST = 6;
const MORE = 20;
const FEW = 4; // with fewer routes, the charts of the first are open
const FIGURES = [
  ["rps", "Requests"],
  ["errors", "Errors (5xx)"],
  ["refusals", "4xx"],
  ["p50", "p50"],
  ["p95", "p95"],
  ["p99", "p99"],
  ["bytesIn", "Bytes in"],
  ["bytesOut", "Bytes out"],
];

// How ill a route is, the worst first.
export function illness(route) {
  if (route.slo?.met === false) return 0;
  if (Object.values(route.sides).some((side) => side.slo?.met === false)) return 1;
  if (route.rates?.errors > 0.01) return 2;
  return 3;
}

const KINDS = ["bad", "bad", "watch", "ok"];

function article(name, context) {
  const shape = mark();
  const word = el("span", { class: "word" });
  const about = el("p", { class: "note" });
  const shown = figures(FIGURES);
  const charts = [
    chart("Requests", [["rps", "requests"]], words.rate),
    chart("Errors", [["errors", "share"]], words.share, 0.01),
    chart("Time to the first byte", [["p95", "p95"], ["p50", "p50"], ["p99", "p99"]], words.duration),
  ];
  const details = el(
    "details",
    {},
    el("summary", {}, `Charts of ${name}`),
    el("div", { class: "charts" }, ...charts.map((each) => each.node)),
  );
  const split = sides(name, context);
  const node = el(
    "article",
    { class: "card", "data-key": `route:${name}` },
    el("h3", {}, shape.node, `${name} `, word),
    about,
    shown.node,
    split.node,
    details,
  );
  context.watch(node);

  return {
    node,
    update({ route, may, isOpen }) {
      const kind = KINDS[illness(route)];
      if (isOpen && !details.dataset.decided) details.open = true;
      details.dataset.decided = "yes";
      const promise = words.promise(route.slo);
      shape.update(kind);
      set(node, "data-kind", kind);
      say(word, route.slo ? `promise: ${promise.word}` : promise.word);
      const pools = Object.keys(route.sides).filter(Boolean);
      const leads = pools.length ? `To pool ${pools.join(" and ")}.` : "It answers by itself.";
      const kept = promise.text ? ` Promise: ${promise.text}.` : "";
      say(about, `${leads}${kept}${route.read_only ? " It serves no changes now, as an operator wants." : ""}`);
      const { rates } = route;
      shown.update({
        rps: [words.rate(rates?.rps), words.few(rates)].filter(Boolean).join(", "),
        errors: words.errors(rates),
        refusals: words.share(rates?.client_errors),
        p50: words.duration(rates?.p50),
        p95: words.duration(rates?.p95),
        p99: words.duration(rates?.p99),
        bytesIn: words.bytesPerSecond(rates?.in),
        bytesOut: words.bytesPerSecond(rates?.out),
      });
      show(split.node, route.split);
      if (route.split) split.update(route, may);
      if (!details.open || !context.sees(node)) return;
      const history = context.history.of(`route:${name}`);
      for (const each of charts) each.update(history);
    },
  };
}

export function routes(parent, context) {
  const list = el("div", { class: "cards" });
  const paged = new Paged(list, "route", (name) => article(name, context), { first: FIRST, more: MORE });
  parent.append(paged.filter, list, paged.foot);
  return (overview, may) => {
    // Those that are equally well stay in the order in which they are tried.
    const found = Object.entries(overview.routes).map(([name, route]) => [illness(route), name, route]);
    found.sort((one, two) => one[0] - two[0]);
    const isOpen = (index) => index === 0 && found.length < FEW;
    paged.update(found.map(([, name, route], index) => [name, { route, may, isOpen: isOpen(index) }]));
  };
}

// The pools: what they can lose, what they do, and their upstreams.

import { chart } from "./chart.js";
import { el, mark, say, set, show } from "./dom.js";
import { figures, gauge, Paged } from "./table.js";
import { upstreams } from "./upstreams.js";
import * as words from "./words.js";

const FIRST = 6;
const MORE = 20;
const OPEN = 2; // as many pools have their charts open at once
const FIGURES = [
  ["rps", "Requests"],
  ["errors", "Errors"],
  ["p50", "p50"],
  ["p95", "p95"],
  ["p99", "p99"],
  ["inflight", "In flight / limit"],
  ["queue", "In the queue"],
  ["refused", "Refused"],
  ["retries", "Retries"],
  ["bytes", "In / out"],
];

// How ill a pool is, the worst first, its shape, and its word.
export function condition(pool) {
  if (!pool.eligible) return [0, "bad", pool.panic ? "panic: no upstream is eligible" : "no upstream is eligible"];
  if (pool.panic) return [0, "bad", "panic"];
  if (pool.overload) return [1, "bad", "overloaded"];
  const out = pool.total - pool.eligible;
  if (out) return [2, 2 * pool.eligible < pool.total ? "bad" : "watch", `${out} of ${pool.total} out`];
  if (pool.on_backup) return [3, "watch", "on backup"];
  if (Object.keys(pool.problems ?? {}).length) return [4, "watch", "discovery has problems"];
  return [5, "ok", pool.total === 1 ? "its only upstream serves" : `all ${pool.total} serve`];
}

function article(name, context) {
  const shape = mark();
  const word = el("span", { class: "word" });
  const lose = el("b");
  const growth = el("span");
  const overload = el("p", { class: "alert", hidden: true });
  const problems = el("p", { class: "alert", hidden: true });
  const policy = el("span", { class: "note" });
  const shown = figures(FIGURES);
  const busy = gauge();
  shown.node.children[5].append(busy.node);
  const charts = [
    chart("Requests", [["rps", "requests"]], words.rate),
    chart("Errors", [["errors", "share"]], words.share, 0.01),
    chart("Time to the first byte", [["p95", "p95"], ["p50", "p50"], ["p99", "p99"]], words.duration),
    chart("In flight and waiting", [["inflight", "in flight"], ["limit", "limit"], ["queue", "queue"]], words.count),
  ];
  const details = el(
    "details",
    {},
    el("summary", {}, `Charts of ${name}`),
    el("div", { class: "charts" }, ...charts.map((each) => each.node)),
  );
  const list = upstreams(name, context);
  const node = el(
    "article",
    { class: "card", "data-key": `pool:${name}` },
    el("h3", {}, shape.node, `${name} `, word),
    el("p", {}, "If upstreams fail: ", lose, ". How much more it can take: ", growth, ". ", policy),
    overload,
    problems,
    shown.node,
    list.node,
    details,
  );
  context.watch(node);

  return {
    node,
    update({ pool, now, may, isOpen }) {
      const [, kind, text] = condition(pool);
      if (isOpen && !details.dataset.decided) details.open = true;
      details.dataset.decided = "yes";
      shape.update(kind);
      set(node, "data-kind", kind);
      say(word, text);
      say(lose, pool.can_lose?.text || "not known");
      say(growth, pool.growth?.text ?? "not known yet");
      say(policy, `Policy: ${pool.policy}.`);
      show(overload, pool.overload);
      if (pool.overload) say(overload, overloaded(pool.overload, now));
      const wrong = Object.entries(pool.problems ?? {});
      show(problems, wrong.length);
      say(problems, wrong.map(([source, why]) => `${source}: ${why}`).join("; "));
      const { rates } = pool;
      shown.update({
        rps: [words.rate(rates?.rps), words.few(rates)].filter(Boolean).join(", "),
        errors: words.errors(rates),
        p50: words.duration(rates?.p50),
        p95: words.duration(rates?.p95),
        p99: words.duration(rates?.p99),
        inflight: `${words.count(pool.inflight)} / ${pool.limit ? words.count(pool.limit) : "no limit"}`,
        queue: words.count(pool.queue),
        refused: words.rate(pool.refused),
        retries: words.rate(pool.retries),
        bytes: `${words.bytesPerSecond(rates?.in)} / ${words.bytesPerSecond(rates?.out)}`,
      });
      busy.update(pool.limit ? pool.inflight / pool.limit : null);
      const history = context.history.of(`pool:${name}`);
      if (details.open && context.sees(node)) for (const each of charts) each.update(history);
      list.update(pool, history, now, may);
    },
  };
}

const overloaded = ({ since, served, refused, left }, now) =>
  `Overloaded since ${words.since(since, now)}: ${words.rate(served)} served, ${words.rate(refused)} refused, ` +
  `${words.rate(left)} gave up waiting.`;

export function pools(parent, context) {
  const list = el("div", { class: "cards" });
  const paged = new Paged(list, "pool", (name) => article(name, context), { first: FIRST, more: MORE });
  parent.append(paged.filter, list, paged.foot);
  return (overview, may) => {
    const found = Object.entries(overview.pools)
      .map(([name, pool]) => [condition(pool)[0], name, pool])
      .sort((one, two) => one[0] - two[0] || (one[1] < two[1] ? -1 : one[1] > two[1] ? 1 : 0));
    paged.update(found.map(([, name, pool], index) => [name, { pool, now: overview.now, may, isOpen: index < OPEN }]));
  };
}

// The upstreams of a pool: state and timeline, share against weight, requests in flight against their limit.

import { el, mark, say, set, show } from "./dom.js";
import { gauge, Paged, row, table } from "./table.js";
import { track } from "./track.js";
import * as words from "./words.js";

const COLUMNS = [
  ["name", "Upstream"],
  ["timeline", "States"],
  ["share", "Share / weight"],
  ["inflight", "In flight / limit"],
  ["rps", "Requests"],
  ["errors", "Errors"],
  ["p95", "p95"],
  ["actions", "Actions"],
];
const FIRST = 8;
const MORE = 40;
const STATES = { active: "Activate", draining: "Drain", maintenance: "Maintenance" };

function line(pool, id, { act }) {
  const { node, cells } = row(COLUMNS);
  const shape = mark();
  const word = el("b");
  const tags = el("span", { class: "note" });
  cells.name.append(el("span", { class: "id" }, id), el("span", { class: "state" }, shape.node, word), tags);
  const strip = track(`States of ${id}`);
  cells.timeline.append(strip.node);
  const part = gauge();
  const partText = el("span");
  cells.share.append(partText, part.node);
  const busy = gauge();
  const busyText = el("span");
  cells.inflight.append(busyText, busy.node);
  const few = el("span", { class: "note" });
  const rps = el("span");
  cells.rps.append(rps, " ", few);
  const buttons = {};
  for (const [state, label] of Object.entries(STATES)) {
    buttons[state] = el(
      "button",
      { type: "button", "aria-label": `${label} ${id}`, click: () => act({ kind: "state", pool, id, state }) },
      label,
    );
  }
  buttons.weight = el(
    "button",
    { type: "button", "aria-label": `Weight of ${id}`, click: () => act({ kind: "weight", pool, id }) },
    "Weight",
  );
  cells.actions.append(...Object.values(buttons));
  const why = el("td", { role: "cell", class: "why", "data-label": "Why" });
  node.append(why);

  return {
    node,
    update({ upstream, history, now, may }) {
      const [kind, text] = words.state(upstream);
      shape.update(kind);
      say(word, text);
      set(node, "data-kind", kind);
      const said = [];
      if (upstream.address && upstream.address !== id) said.push(upstream.address);
      if (upstream.backup) said.push("backup");
      say(tags, said.join(", "));
      show(tags, said.length);
      if (history) strip.update(history.states[id], history.now, history.span);
      part.update(upstream.share, upstream.weight_share);
      say(partText, `${words.share(upstream.share)} / ${words.share(upstream.weight_share)}`);
      const present = words.plain(upstream.effective_weight);
      const slow = upstream.effective_weight < upstream.weight ? `, starting slowly at ${present}` : "";
      set(cells.share, "title", `weight ${upstream.weight}${slow}`);
      busy.update(upstream.limit ? upstream.inflight / upstream.limit : null);
      say(busyText, `${words.count(upstream.inflight)} / ${upstream.limit ? words.count(upstream.limit) : "no limit"}`);
      say(rps, words.rate(upstream.rates?.rps));
      say(few, words.few(upstream.rates));
      say(cells.errors, words.errors(upstream.rates));
      set(cells.errors, "data-kind", upstream.rates?.errors > 0.01 ? "bad" : null);
      say(cells.p95, words.duration(upstream.rates?.p95));
      const admin = upstream.state in STATES ? upstream.state : "active";
      for (const [name, button] of Object.entries(buttons)) {
        show(button, name !== admin);
        set(button, "disabled", !may);
      }
      say(why, reason(upstream, kind, now));
      show(why, why.textContent);
    },
  };
}

// Why an upstream is not simply active: since when, until when, what to do.
function reason(upstream, kind, now) {
  if (kind === "ok") return upstream.why ?? "";
  const said = [];
  if (upstream.since) said.push(`Since ${words.since(upstream.since, now)}.`);
  if (upstream.until && upstream.until > now) said.push(`Until ${words.clock(upstream.until, now)} at least.`);
  if (upstream.why) said.push(words.sentence(upstream.why));
  if (upstream.todo) said.push(`To do: ${words.sentence(upstream.todo)}`);
  if (upstream.whose) said.push(`The balancer? ${words.isItTheBalancer(upstream.whose)}`);
  return said.join(" ");
}

export function upstreams(pool, context) {
  const { node, body } = table(`Upstreams of pool ${pool}, the worst first`, COLUMNS, "upstreams");
  const paged = new Paged(body, "upstream", (id) => line(pool, id, context), { first: FIRST, more: MORE });
  let order = [];
  return {
    node: el("div", {}, paged.filter, node, paged.foot),
    update(view, history, now, may) {
      const found = Object.entries(view.upstreams);
      // Sorting is by state and name only, so that rows do not jump with every figure.
      order = found
        .map(([id, upstream]) => [words.illness(upstream), id, upstream])
        .sort((one, two) => one[0] - two[0] || (one[1] < two[1] ? -1 : one[1] > two[1] ? 1 : 0));
      paged.update(order.map(([, id, upstream]) => [id, { upstream, history, now, may }]));
    },
  };
}

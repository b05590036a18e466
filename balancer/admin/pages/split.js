// The sides of a split route beside each other. The style sheet turns the table on wide screens, so that a side is a
// line; roles are said again, as browsers then no longer take it for a table.

import { el, say, set, show } from "./dom.js";
import * as words from "./words.js";

// Row -> what it says of a side.
const ROWS = [
  ["Weight", (side) => words.count(side.weight)],
  ["Share of requests", (side) => words.share(side.share)],
  ["Requests", (side) => [words.rate(side.rates?.rps), words.few(side.rates)].filter(Boolean).join(", ")],
  ["Errors (5xx)", (side) => words.errors(side.rates)],
  ["p50", (side) => words.duration(side.rates?.p50)],
  ["p95", (side) => words.duration(side.rates?.p95)],
  ["p99", (side) => words.duration(side.rates?.p99)],
  ["Retries", (side) => words.rate(side.retries)],
  ["Eligible upstreams", (side) => words.count(side.eligible)],
  ["Promise", (side) => words.promise(side.slo).word],
];

// What is being watched after a change of the split, or how the last watch has ended if it was taken back.
export function watched(gate, last) {
  if (!gate) return last?.result === "breached" ? `The last change was taken back: ${last.why}` : "";
  const back = Object.entries(gate.back_to ?? {}).map(([pool, weight]) => `${pool}=${weight}`);
  const waits = gate.waiting ? ` Time does not count now: ${gate.waiting}.` : "";
  return (
    `The last change is being watched, ${words.span(gate.passed)} of ${words.span(gate.hold)}: ` +
    `back to ${back.join(" ")} if ${(gate.abort_if ?? []).join(" or ")}.${waits}`
  );
}

export function sides(route, { act }) {
  const column = (label) => el("th", { role: "columnheader", scope: "col" }, label);
  const head = el("tr", { role: "row" }, column("Side"));
  const lines = ROWS.map(([label]) => el("tr", { role: "row" }, el("th", { role: "rowheader", scope: "row" }, label)));
  const table = el(
    "table",
    { class: "sides", role: "table" },
    el("caption", { class: "unseen" }, `The sides of route ${route}`),
    el("thead", { role: "rowgroup" }, head),
    el("tbody", { role: "rowgroup" }, ...lines),
  );
  const gate = el("p", { class: "alert calm", hidden: true });
  const ask = () => act({ kind: "split", route });
  const button = el("button", { type: "button", click: ask }, `Split ${route} otherwise`);
  // Many sides scroll inside; a keyboard reaches that too.
  const label = `Sides of ${route}`;
  const scroller = el("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": label }, table);
  let drawn = "";

  return {
    node: el("div", { class: "split" }, scroller, gate, button),
    update(view, may) {
      const names = Object.keys(view.sides);
      if (drawn !== names.join("\n")) {
        drawn = names.join("\n");
        table.style.setProperty("--lines", names.length + 1);
        head.replaceChildren(head.firstChild, ...names.map((name) => column(name || "itself")));
        for (const each of lines) {
          each.replaceChildren(each.firstChild, ...names.map(() => el("td", { role: "cell" })));
        }
      }
      ROWS.forEach(([, text], index) => {
        const cells = lines[index].children;
        names.forEach((name, place) => say(cells[place + 1], text(view.sides[name])));
      });
      say(gate, watched(view.gate, view.last_gate));
      show(gate, gate.textContent);
      set(button, "disabled", !may);
    },
  };
}

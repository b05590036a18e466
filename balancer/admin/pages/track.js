// The states of an upstream over time, as a strip: each state has its height and pattern, not its colour only.

import { el, set, svg } from "./dom.js";
import { clock, span as inWords, stateWord } from "./words.js";

const SAID = 5; // states in the text for screen readers, the newest ones
// State -> top and height of its bar in pixels, of 16.
const BARS = {
  active: [5, 6],
  ejected: [0, 16],
  probation: [0, 11],
  draining: [8, 8],
  maintenance: [1, 14],
  unchecked: [7, 2],
  unresolved: [13, 3],
};

// The states in a span of time: [{state, from, to}] in seconds since the epoch, cut to the span.
export function states(transitions, from, to) {
  const found = [];
  transitions.forEach(([begin, state], index) => {
    const end = transitions[index + 1]?.[0] ?? to;
    if (end <= from || begin >= to || !state) return;
    found.push({ state, from: Math.max(begin, from), to: Math.min(end, to) });
  });
  return found;
}

// The pattern of ejected bars, once for the page.
export const patterns = () =>
  svg(
    "svg",
    { class: "patterns", "aria-hidden": "true" },
    svg(
      "defs",
      {},
      svg(
        "pattern",
        { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse" },
        svg("path", { d: "M-1 7L7 -1M-1 1L1 -1M5 7L7 5", class: "hatching" }),
      ),
    ),
  );

function bar(state, x, width, title) {
  const [y, height] = BARS[state] ?? [6, 4];
  const shape = { x, y, width, height };
  const group = svg("g", {}, svg("title", {}, title), svg("rect", { ...shape, class: `bar ${state}` }));
  if (state === "ejected") group.append(svg("rect", { ...shape, fill: "url(#hatch)" }));
  return group;
}

export function track(label) {
  const drawing = svg("svg", { class: "track", role: "img", "aria-label": `${label}: no history yet` });
  let drawn = "";
  return {
    node: drawing,
    // `transitions` are [[seconds since the epoch, state], ...], oldest first; the last state lasts until `now`.
    update(transitions, now, span) {
      const found = states(transitions ?? [], now - span, now);
      const key = `${Math.round(now)} ${span} ${found.length} ${found.at(-1)?.state}`;
      if (key === drawn) return;
      drawn = key;
      const place = (time) => ((time - now + span) / span) * 100;
      const words = found.map((one) => {
        const end = one.to >= now ? "now" : clock(one.to);
        return `${stateWord(one.state)} from ${clock(one.from)} to ${end}`;
      });
      const bars = found.map((one, index) => {
        const x = place(one.from);
        return bar(one.state, `${x.toFixed(2)}%`, `${Math.max(0.4, place(one.to) - x).toFixed(2)}%`, words[index]);
      });
      drawing.replaceChildren(...bars);
      const said = words.length ? words.slice(-SAID).join("; ") : "no history yet";
      set(drawing, "aria-label", `${label}, last ${inWords(span)}: ${said}`);
    },
  };
}

// What the bars mean, as a list.
export function legend() {
  const each = Object.keys(BARS).map((state) => {
    const drawing = svg("svg", { class: "sample", "aria-hidden": "true" }, bar(state, 0, 24, ""));
    return el("li", {}, drawing, stateWord(state));
  });
  return el("ul", { class: "legends", "aria-label": "What the bars of the timelines mean" }, ...each);
}

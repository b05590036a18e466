// What matters now, the worst first: a sentence, since when, why, what to do, and whether it is the balancer.

import { el, Keyed, mark, say, show } from "./dom.js";
import { figures } from "./table.js";
import { BUSY, duration, isItTheBalancer, LATE, share, since } from "./words.js";

const WORDS = { bad: "Bad", watch: "Watch", ok: "Well" };
const FIRST = 6; // further ones that are shown at once
const NAMED = 3; // upstreams that a cause names

// Why something is so, and whether it is the balancer, as far as what is shown of the pool or the upstream tells.
export function explained(finding, overview) {
  const pool = overview.pools[finding.pool];
  const upstream = pool?.upstreams[finding.upstream];
  if (upstream) return { why: upstream.why, whose: upstream.whose ? isItTheBalancer(upstream.whose) : own(overview) };
  if (pool?.overload) {
    return { why: "More requests come than its upstreams can serve.", whose: "No. The upstreams are at their limit." };
  }
  const out = Object.entries(pool?.upstreams ?? {}).filter(([, one]) => one.state === "ejected");
  const causes = new Set(out.map(([, one]) => one.whose));
  const why = out.slice(0, NAMED).map(([id, one]) => `${id}: ${one.why || "ejected"}`);
  if (out.length > NAMED) why.push(`and ${out.length - NAMED} more`);
  const [cause] = causes;
  return { why: why.join("; "), whose: causes.size === 1 && cause ? isItTheBalancer(cause) : own(overview) };
}

// What the workers themselves say: they are the balancer.
export function own({ workers }) {
  const all = Object.entries(workers ?? {});
  const away = all.find(([, one]) => one.state !== "ready");
  if (away) return `Perhaps: its worker ${away[0]} is ${away[1].state}.`;
  const busiest = Math.max(0, ...all.map(([, one]) => one.cpu ?? 0));
  const latest = Math.max(0, ...all.map(([, one]) => one.lag ?? 0));
  const figures = `its busiest worker uses ${share(busiest)} of a core, and the latest is ${duration(latest)} late.`;
  return busiest > BUSY || latest > LATE ? `Perhaps: ${figures}` : `No sign of that: ${figures}`;
}

const keyOf = ({ level, pool, upstream, route }, index) =>
  JSON.stringify([level, pool, upstream, route, pool || upstream || route ? "" : index]);

function other() {
  const shape = mark();
  const word = el("b");
  const text = el("span");
  const more = el("p", { class: "note" });
  return {
    node: el("li", {}, shape.node, el("div", {}, el("p", {}, word, ": ", text), more)),
    update([finding, now]) {
      shape.update(finding.level);
      say(word, WORDS[finding.level]);
      say(text, finding.text);
      say(more, [finding.since ? `Since ${since(finding.since, now)}.` : "", finding.todo].filter(Boolean).join(" "));
      show(more, more.textContent);
    },
  };
}

// `announce(sentence)` is called when another finding has become the first.
export function findings(section, announce) {
  const shape = mark();
  const word = el("span", { class: "unseen" });
  const sentence = el("span", { id: "first-finding" });
  const heading = el("h1", { class: "lead" }, shape.node, word, sentence);
  const answers = figures(
    [
      ["since", "Since when"],
      ["why", "Why"],
      ["todo", "What to do"],
      ["whose", "Is it the balancer?"],
    ],
    "answers",
  );
  const list = el("ul", { class: "findings", "aria-label": "Other findings, the worst first" });
  const button = el("button", { type: "button", hidden: true, click: () => (button.hidden = wants = true) });
  let wants = false;
  let announced = null;
  section.replaceChildren(heading, answers.node, list, button);
  const others = new Keyed(list, other);

  return (overview) => {
    const [first, ...rest] = overview.findings;
    const { why, whose } = explained(first, overview);
    section.dataset.level = first.level;
    shape.update(first.level);
    say(word, `${WORDS[first.level]}: `);
    say(sentence, first.text);
    answers.update({
      since: first.since ? since(first.since, overview.now) : "Not known.",
      why: why || "Not known.",
      todo: first.todo || "Nothing.",
      whose,
    });
    show(answers.node, first.level !== "ok");
    const seen = wants ? rest : rest.slice(0, FIRST);
    others.update(seen.map((finding, index) => [keyOf(finding, index), [finding, overview.now]]));
    show(list, seen.length);
    show(button, seen.length < rest.length);
    say(button, `Show ${rest.length - seen.length} more findings`);
    const key = keyOf(first, 0);
    if (announced !== null && key !== announced) announce(`${WORDS[first.level]}: ${first.text}`);
    announced = key;
  };
}

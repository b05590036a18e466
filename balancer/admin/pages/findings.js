// What matters now, the worst first: a sentence, since when, why, what to do, and whether it is the balancer.

import { el, Keyed, mark, say, show } from "./dom.js";
import { figures } from "./table.js";
import { isItTheBalancer, since } from "./words.js";

const WORDS = { bad: "Bad", watch: "Watch", ok: "Well" };
const FIRST = 6; // further ones that are shown at once

// The upstream that a finding is about, if it is about one.
const about = (finding, overview) => overview.pools?.[finding.pool]?.upstreams?.[finding.upstream];

// Why, and whose it is, of a finding.
export function explained(finding, overview) {
  const upstream = about(finding, overview);
  const why = finding.why || upstream?.why || "";
  const whose = finding.whose || upstream?.whose || "";
  return { why, whose };
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
      whose: isItTheBalancer(whose),
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

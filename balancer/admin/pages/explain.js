// The page of an explained request: what happened in order of time, and among which upstreams was chosen.

import { el, say, set } from "./dom.js";
import * as words from "./words.js";

const at = (id) => document.getElementById(id);
const WHY = {
  failure: "the balancer answered it with an error of its own",
  retry: "it was sent more than once",
  sample: "it is in the sample of all requests",
  header: "a trusted proxy asked for it",
  watch: "an operator asked for such requests",
};

async function ask(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
  const answer = await response.json().catch(() => null);
  if (!response.ok || !answer) throw new Error(answer?.error ?? `the balancer answers ${response.status}`);
  return answer;
}

const facts = (...pairs) =>
  el("dl", { class: "facts" }, ...pairs.filter(Boolean).flatMap(([term, text]) => [el("dt", {}, term), el("dd", {}, text)]));

const noted = (text, note) => (note ? `${text} (${note})` : text);

function route({ name, number, conditions, earlier, left_out: left, note }) {
  const where = number ? `${name}, number ${number}` : name;
  const asks = conditions.length ? `: ${conditions.join(", ")}` : "";
  const others = earlier.map((one) => el("li", {}, `not ${one.name}: ${one.unmet.join(", ") || "it would match now"}`));
  if (left) others.push(el("li", {}, `nor ${left} others before it`));
  return [
    "route",
    el("div", {}, noted(`${where}${asks}`, note), el("ul", { class: "note" }, ...others)),
  ];
}

function choice(one, number) {
  const by = one.by === "policy" ? one.policy : one.by;
  const title = `Choice ${number + 1}, at ${words.duration(one.at)}: ${one.upstream ?? "none"}${by ? ` by ${by}` : ""}`;
  const remarks = [
    one.panic && "Panic: none was eligible, so ejected ones were used.",
    one.waiting && `${one.waiting} requests waited in the queue.`,
    one.note && `${one.note}.`,
    one.left_out && `${one.left_out} others are not listed.`,
  ].filter(Boolean);
  const head = ["upstream", "weight", "in flight", "elsewhere", "limit", "state"];
  const rows = one.candidates.map((each) => {
    const isChosen = each.upstream === one.upstream;
    const weight = each.effective_weight === each.weight ? `${each.weight}` : `${each.effective_weight} of ${each.weight}`;
    const cells = [weight, each.inflight, each.elsewhere ?? words.NONE, each.limit || words.NONE];
    const state = isChosen ? "chosen" : each.state;
    return el(
      "tr",
      { class: isChosen ? "chosen" : null },
      el("th", { scope: "row" }, each.upstream),
      ...[...cells, state].map((cell) => el("td", {}, `${cell}`)),
    );
  });
  const passed = one.passed_over.map((each) =>
    el(
      "tr",
      { class: "passed" },
      el("th", { scope: "row" }, each.upstream),
      ...[words.NONE, each.inflight, words.NONE, words.NONE, each.why].map((cell) => el("td", {}, `${cell}`)),
    ),
  );
  const table = el(
    "table",
    { class: "loads" },
    el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...rows, ...passed),
  );
  const scroll = el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": title }, table);
  return el(
    "div",
    {},
    el("h3", {}, title),
    remarks.length ? el("p", { class: "note" }, remarks.join(" ")) : null,
    rows.length || passed.length ? scroll : null,
  );
}

function explanation(one) {
  const cut = one.cut;
  const story = one.story.map((step) =>
    el(
      "li",
      {},
      el("time", {}, words.duration(step.at)),
      el("span", { class: cut && step.kind === "end" ? "cut" : null }, step.text),
    ),
  );
  const split = one.split;
  const weights = split && Object.entries(split.weights).map(([pool, weight]) => `${pool} ${weight}`);
  return el(
    "article",
    { class: "card", "data-kind": cut ? "bad" : "ok" },
    el("h2", {}, `${one.method} ${one.host}${one.target}`),
    facts(
      ["answer", `${one.status} after ${words.duration(one.duration)}, ${one.response_bytes} bytes`],
      ["client", `${one.client}${one.scheme ? `, by ${one.scheme}` : ""}`],
      ["began", one.began],
      one.trace_id && ["trace", one.trace_id],
      ["kept, as", WHY[one.why] ?? one.why],
      route(one.route),
      split && ["side", noted(`${split.pool} of ${weights.join(", ")}, by ${split.key}`, split.note)],
      one.pin && ["pin", `${one.pin.result}: ${one.pin.text}`],
      cut && ["cut by", `${cut.reason}: ${cut.detail}${cut.phase ? `; it was ${cut.phase}` : ""}. To act: ${cut.source}.`],
      cut?.limit && ["limit", el("code", {}, `BALANCER_${cut.limit}`)],
    ),
    el("h3", {}, "What happened"),
    el("ol", { class: "story" }, ...story),
    ...one.choices.map(choice),
    one.fields.length
      ? el(
          "details",
          {},
          el("summary", {}, "Header fields of the request"),
          facts(...one.fields.map(([name, value]) => [name, value])),
        )
      : null,
    ...one.notes.map((note) => el("p", { class: "hint" }, note)),
  );
}

function summary(one) {
  const link = el("a", { href: `explain?id=${encodeURIComponent(one.request_id)}` }, one.request_id);
  const result = [one.status, one.reason].filter(Boolean).join(" ");
  const where = one.upstream ?? one.pool ?? one.route;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, link),
    ...[one.began, `${one.method} ${one.host}${one.target}`, result, where, words.duration(one.duration), one.why].map(
      (cell) => el("td", {}, `${cell}`),
    ),
  );
}

function list({ requests }) {
  const head = ["request id", "began", "request", "answer", "by", "took", "kept, as"];
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": "Explained requests" },
    el(
      "table",
      { class: "loads" },
      el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...requests.map(summary)),
    ),
  );
}

async function draw() {
  const id = new URLSearchParams(location.search).get("id") ?? "";
  at("id").value = id;
  document.title = id ? `${id} · Explain a request · balancer` : "Explain a request · balancer";
  set(at("said"), "data-kind", null);
  say(at("said"), "Asking the balancer…");
  try {
    const answer = await ask(id ? `api/explain/${encodeURIComponent(id)}` : "api/explain");
    const found = id ? answer.explanations.map(explanation) : answer.requests.length ? [list(answer)] : [];
    at("found").replaceChildren(...found);
    const several = found.length > 1 ? `${found.length} requests had this id, the newest first.` : "";
    const none = "No request is explained yet: none has failed, and none was asked for.";
    say(at("said"), id ? several : found.length ? "The requests that are explained, the newest first." : none);
  } catch (error) {
    at("found").replaceChildren();
    set(at("said"), "data-kind", "bad");
    say(at("said"), `${error.message}.`.replace(/\.\.$/, "."));
  }
}

function go() {
  const id = at("id").value.trim();
  history.pushState(null, "", id ? `explain?id=${encodeURIComponent(id)}` : "explain");
  draw();
}

at("ask").addEventListener("click", go);
at("id").addEventListener("keydown", (event) => {
  if (event.key === "Enter") go();
});
addEventListener("popstate", draw);
draw();

// What has happened: the last events, and the last errors that the balancer itself answered.

import { el, Keyed, mark, say, set, show } from "./dom.js";
import * as words from "./words.js";

const FIRST = 10;
// Kinds of events -> their shape; those that are not here are neither good nor bad.
const KINDS = {
  bad: "ejected panic overload out silent unresolved loop certificate_refused certificate_failed".split(" "),
  watch: "probation ejection_skipped backup draining maintenance certificate_expiry certificate_awaited".split(" "),
  ok: "readmitted checked resolved active panic_over overload_over out_over backup_over certificate".split(" "),
};
const SHAPES = new Map(Object.entries(KINDS).flatMap(([shape, kinds]) => kinds.map((kind) => [kind, shape])));
// The source of a failure -> who has to act.
const SOURCES = { upstream: "the app", client: "the client", balancer: "the balancer" };

function event() {
  const shape = mark();
  const time = el("time");
  const kind = el("b");
  const text = el("span");
  return {
    node: el("li", {}, shape.node, el("p", {}, time, " ", kind, " ", text)),
    update([one, now]) {
      shape.update(SHAPES.get(one.kind) ?? "open");
      set(time, "datetime", one.time);
      say(time, words.clock(one.time, now));
      say(kind, one.kind.replaceAll("_", " "));
      const ofPool = one.pool && !one.upstream && !one.text.includes(one.pool);
      say(text, ofPool ? `pool ${one.pool}: ${one.text}` : one.text);
    },
  };
}

// What was tried for a request, in order.
export const tried = (attempts) =>
  (attempts ?? []).map(({ upstream, failure, detail }) => `${upstream} ${failure}${detail ? ` (${detail})` : ""}`);

function failure() {
  const time = el("time");
  const status = el("b");
  const request = el("code");
  const detail = el("p", { class: "note" });
  const attempts = el("ol", { class: "tried" });
  const link = el("a", {}, "Explain this request");
  const id = el("code");
  const foot = el("p", { class: "note" }, link, " ", id);
  return {
    node: el("li", {}, el("p", {}, time, " ", status, " ", request), detail, attempts, foot),
    update([one, now]) {
      set(time, "datetime", one.time);
      say(time, words.clock(one.time, now));
      say(status, `${one.status} ${one.reason}`);
      say(request, [one.method, one.host, one.target].filter(Boolean).join(" ") || "a request that could not be read");
      const where = [one.route && `route ${one.route}`, one.pool && `pool ${one.pool}`, `client ${one.client}`];
      const who = SOURCES[one.source] ?? one.source;
      say(detail, `${words.sentence(one.detail)} To act: ${who}. ${where.filter(Boolean).join(", ")}.`);
      const found = tried(one.attempts);
      if (attempts.childElementCount !== found.length) attempts.replaceChildren(...found.map(() => el("li")));
      found.forEach((text, index) => say(attempts.children[index], `tried ${text}`));
      show(attempts, found.length);
      show(foot, one.request_id);
      set(link, "href", `explain?id=${encodeURIComponent(one.request_id ?? "")}`);
      set(link, "aria-label", `Explain request ${one.request_id}`);
      say(id, one.request_id ?? "");
    },
  };
}

// A list of which the first are shown; `none` is said if there is nothing.
function list(parent, kind, make, none) {
  const node = el("ol", { class: kind });
  const empty = el("p", { class: "note" }, none);
  const button = el("button", { type: "button", hidden: true, click: () => enlarge() });
  const rows = new Keyed(node, make);
  parent.append(empty, node, button);
  let wants = FIRST;
  let drawn = null;
  let now = "";

  function enlarge() {
    wants = Infinity;
    draw();
  }

  function draw() {
    const seen = drawn.slice(0, wants);
    // Two of the same second may be alike; their place from the end tells them apart, and stays when others come.
    const times = new Map();
    const entries = seen.toReversed().map((one) => {
      const own = `${one.revision ?? ""} ${one.time} ${one.request_id ?? ""}`;
      times.set(own, (times.get(own) ?? 0) + 1);
      return [`${own} ${times.get(own)}`, [one, now]];
    });
    rows.update(entries.toReversed());
    show(empty, !drawn.length);
    show(button, seen.length < drawn.length);
    say(button, `Show ${drawn.length - seen.length} more`);
  }

  return (found, time) => {
    if (found === drawn && time.slice(0, 10) === now.slice(0, 10)) return; // another array if there is news
    drawn = found;
    now = time;
    draw();
  };
}

export function happenings(eventsIn, failuresIn) {
  const events = list(eventsIn, "events", event, "Nothing has happened yet.");
  const failures = list(failuresIn, "failures", failure, "No request was answered with an error of the balancer's own.");
  return (overview) => {
    events(overview.events ?? [], overview.now);
    failures(overview.failures ?? [], overview.now);
  };
}

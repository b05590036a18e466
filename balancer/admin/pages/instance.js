// The balancer itself: its workers and certificates, and the sums over all routes.

import { el, Keyed, mark, say, set, show } from "./dom.js";
import { figures, gauge, row, table } from "./table.js";
import * as words from "./words.js";

const WORKERS = [
  ["slot", "Worker"],
  ["state", "State"],
  ["cpu", "CPU"],
  ["memory", "Memory"],
  ["lag", "Loop lag"],
  ["fds", "Open files"],
  ["restarts", "Restarts"],
];
const CERTIFICATES = [
  ["name", "Certificate"],
  ["names", "For"],
  ["end", "Ends"],
  ["issuer", "Issuer"],
  ["state", "State"],
];
const SOON = 21 * 86_400; // seconds

function worker(slot) {
  const { node, cells } = row(WORKERS);
  say(cells.slot, `worker ${slot}`);
  const text = el("span");
  const bar = gauge();
  cells.cpu.append(text, bar.node);
  return {
    node,
    update(view) {
      say(cells.state, view.state);
      say(text, view.cpu == null ? words.NONE : `${words.share(view.cpu)} of a core`);
      bar.update(view.cpu);
      set(cells.cpu, "data-kind", view.cpu > words.BUSY ? "bad" : null);
      say(cells.memory, words.memory(view.memory));
      say(cells.lag, words.duration(view.lag));
      set(cells.lag, "data-kind", view.lag > words.LATE ? "bad" : null);
      say(cells.fds, words.count(view.fds));
      say(cells.restarts, words.count(view.restarts));
    },
  };
}

// What is to be said of a certificate: [shape, text].
export function certificate(view, now) {
  const left = words.between(now, view.not_after);
  if (left <= 0) return ["bad", "has expired"];
  if (view.problem) return ["bad", view.problem];
  if (view.acme?.error) return ["bad", view.acme.error];
  if (left < SOON) return ["watch", "ends soon"];
  return view.acme && view.acme.state !== "issued" ? ["watch", view.acme.state] : ["ok", "valid"];
}

function certificateRow() {
  const { node, cells } = row(CERTIFICATES);
  const shape = mark();
  const word = el("span");
  cells.state.append(shape.node, word);
  return {
    node,
    update([view, now]) {
      const [kind, text] = certificate(view, now);
      const left = words.between(now, view.not_after);
      say(cells.name, view.name);
      say(cells.names, view.pools?.length ? `upstreams of ${view.pools.join(", ")}` : view.names.join(", "));
      say(cells.end, `${view.not_after.slice(0, 10)}${left > 0 ? `, in ${words.span(left)}` : ""}`);
      say(cells.issuer, view.issuer);
      shape.update(kind);
      say(word, text);
    },
  };
}

export function itself(workersIn, certificatesIn) {
  const workers = table("Workers", WORKERS, "workers");
  const certificates = table("Certificates", CERTIFICATES, "certificates");
  const none = el("p", { class: "note" }, "There is no TLS listener, and no certificate for upstreams.");
  workersIn.append(workers.node);
  certificatesIn.append(none, certificates.node);
  const slots = new Keyed(workers.body, worker);
  const kept = new Keyed(certificates.body, certificateRow);
  return (overview) => {
    slots.update(Object.entries(overview.workers ?? {}));
    const found = overview.certificates ?? [];
    kept.update(found.map((view, index) => [`${index} ${view.name}`, [view, overview.now]]));
    show(none, !found.length);
    show(certificates.node, found.length);
  };
}

const TOTALS = [
  ["rps", "Requests"],
  ["errors", "Errors (5xx)"],
  ["inflight", "In flight"],
  ["upstreams", "Upstreams that serve"],
  ["bytes", "In / out"],
  ["up", "Running for"],
];

// The sums over all routes and pools.
export function totals(parent) {
  const shown = figures(TOTALS, "figures totals");
  parent.append(shown.node);
  return (overview) => {
    let [rps, failed, bytesIn, bytesOut, inflight, eligible, total] = [0, 0, 0, 0, 0, 0, 0];
    for (const { rates } of Object.values(overview.routes)) {
      rps += rates?.rps ?? 0;
      failed += (rates?.rps ?? 0) * (rates?.errors ?? 0);
      bytesIn += rates?.in ?? 0;
      bytesOut += rates?.out ?? 0;
    }
    for (const pool of Object.values(overview.pools)) {
      inflight += pool.inflight ?? 0;
      eligible += pool.eligible;
      total += pool.total;
    }
    shown.update({
      rps: words.rate(rps),
      errors: rps ? words.share(failed / rps) : words.NONE,
      inflight: words.count(inflight),
      upstreams: `${words.count(eligible)} of ${words.count(total)}`,
      bytes: `${words.bytesPerSecond(bytesIn)} / ${words.bytesPerSecond(bytesOut)}`,
      up: words.span(words.between(overview.instance.started, overview.now)),
    });
  };
}

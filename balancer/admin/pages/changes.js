// The dialogs by which an upstream is drained, activated or weighted, and a split changed.

import { el, say, show } from "./dom.js";
import { change, keep, token } from "./sending.js";
import * as words from "./words.js";

const STATES = {
  active: ["Activate", "It gets requests again, as its checks and the policy decide."],
  draining: ["Drain", "It gets no new requests; those that run there go on to their end."],
  maintenance: [
    "Maintenance for",
    "It gets no requests at all, and is not checked; those that run there go on to their end.",
  ],
};
const DONE = { active: "is active", draining: "is draining", maintenance: "is in maintenance" };
const GATE = "errors>+0.5%,p95>1.3x";

const part = encodeURIComponent;

function number(label, value, least, most) {
  const input = el("input", { type: "number", min: least, max: most, step: 1, required: true, value });
  return { input, node: el("label", {}, `${label} `, input) };
}

// What one less costs, as far as it is known.
function warning(pool, state) {
  if (state === "active" || !pool) return "";
  if (pool.can_lose?.n === 0) return " This pool can lose none of its upstreams under the present load.";
  return pool.can_lose?.n ? ` This pool ${pool.can_lose.text}.` : "";
}

// Each kind of change: {title, text, fields, path, body(), done()}.
const KINDS = {
  state({ pool, id, state }, overview) {
    const [verb, means] = STATES[state];
    const view = overview.pools[pool];
    const running = view?.upstreams[id]?.inflight;
    const inflight = running && state !== "active" ? ` ${words.count(running)} in flight now.` : "";
    return {
      title: `${verb} ${id}`,
      text: `${means}${inflight}${warning(view, state)}`,
      verb: verb.split(" ")[0],
      fields: [],
      path: `api/pools/${part(pool)}/upstreams/${part(id)}`,
      body: () => ({ admin_state: state }),
      done: () => `${id} ${DONE[state]}.`,
    };
  },
  weight({ pool, id }, overview) {
    const field = number("Weight", overview.pools[pool]?.upstreams[id]?.weight ?? 1, 1, 1000);
    return {
      title: `Weight of ${id}`,
      text: "Its part of the requests, relative to the weights of the others. A whole number from 1 to 1000.",
      verb: "Set weight",
      fields: [field.node],
      path: `api/pools/${part(pool)}/upstreams/${part(id)}`,
      body: () => ({ weight: field.input.valueAsNumber }),
      done: () => `The weight of ${id} is ${field.input.value}.`,
    };
  },
  split({ route }, overview) {
    const sides = Object.entries(overview.routes[route]?.sides ?? {});
    const weights = sides.map(([pool, side]) => [pool, number(`Weight of ${pool}`, side.weight, 0, 1000)]);
    const gated = el("input", { type: "checkbox", checked: true });
    const minutes = number("Minutes", 10, 1, 1440);
    const condition = el("input", { type: "text", value: GATE, required: true, spellcheck: "false" });
    return {
      title: `Split ${route}`,
      text: "The weights of the sides, relative to each other; 0 gets no new clients.",
      verb: "Split",
      fields: [
        ...weights.map(([, field]) => field.node),
        el("label", { class: "check" }, gated, " Watch it, and take it back if it gets worse"),
        minutes.node,
        el("label", {}, "Back if ", condition),
      ],
      path: `api/routes/${part(route)}/split`,
      body() {
        const given = Object.fromEntries(weights.map(([pool, field]) => [pool, field.input.valueAsNumber]));
        const gate = { hold: minutes.input.valueAsNumber * 60, abort_if: condition.value };
        return gated.checked ? { weights: given, gate } : { weights: given };
      },
      done() {
        const set = weights.map(([pool, field]) => `${pool}=${field.input.value}`);
        return `Route ${route} is split ${set.join(" ")}.`;
      },
    };
  },
};

// Whether this page may ask for changes, and what is said about it.
export function permission({ changes }) {
  if (changes.allowed === "no") return { may: false, text: `Changes are off here: ${changes.hint}` };
  const asks = changes.allowed === "token";
  return { may: true, text: asks ? "Changes need the ADMIN_TOKEN; this page asks for it once." : "" };
}

// Returns act(what): opens the dialog of a change. `present()` is the overview, `announce(text)` says what was done.
export function changes(dialog, present, announce) {
  const title = el("h2", { id: "dialog-title" });
  const text = el("p", { id: "dialog-text" });
  const fields = el("div", { class: "fields" });
  const secret = el("input", { type: "password", autocomplete: "off", spellcheck: "false" });
  const secretIn = el("label", {}, "ADMIN_TOKEN, kept until this tab is closed ", secret);
  const problem = el("p", { class: "alert", role: "alert" });
  const submit = el("button", { type: "submit", class: "main" });
  const cancel = el("button", { type: "button", click: () => dialog.close() }, "Cancel");
  const buttons = el("p", { class: "buttons" }, submit, cancel);
  const form = el("form", { submit: send }, title, text, fields, secretIn, problem, buttons);
  dialog.replaceChildren(form);
  let asked = null;
  let revision = 0;

  function asksForToken(wanted) {
    show(secretIn, wanted);
    secret.required = wanted;
    secret.value = "";
  }

  function complain(said) {
    say(problem, said);
    show(problem, said);
  }

  async function send(event) {
    event.preventDefault();
    if (!secretIn.hidden) keep(secret.value.trim());
    submit.disabled = true;
    const result = await change(asked.path, asked.body(), revision);
    submit.disabled = false;
    if (result.ok) {
      dialog.close();
      announce(asked.done());
      return;
    }
    complain(result.text);
    if (result.status === 401) {
      keep("");
      asksForToken(true);
      secret.focus();
    }
    // What is shown behind the dialog is the present state: the next try is for that.
    if (result.status === 412) revision = present().instance.revision;
  }

  return (what) => {
    const overview = present();
    if (!overview) return;
    asked = KINDS[what.kind](what, overview);
    revision = overview.instance.revision;
    say(title, asked.title);
    say(text, asked.text);
    say(submit, asked.verb);
    fields.replaceChildren(...asked.fields);
    asksForToken(overview.instance.changes.allowed === "token" && !token());
    complain("");
    dialog.showModal();
  };
}

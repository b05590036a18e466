// Tables that become cards on a phone, and lists of many things of which a part is shown.

import { el, Keyed, say, set, show } from "./dom.js";

// A table; `columns` are [name, label]. The roles are said again, as the style sheet lays rows out as grids, and
// browsers then no longer take it for a table.
export function table(caption, columns, kind) {
  const body = el("tbody", { role: "rowgroup" });
  const heads = columns.map(([name, label]) => el("th", { role: "columnheader", scope: "col", class: name }, label));
  const node = el(
    "table",
    { role: "table", class: `grid ${kind}` },
    el("caption", { class: "unseen" }, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)),
    body,
  );
  return { node, body };
}

// A row of it: {node, cells}, cells by the name of their column. The first one is its header.
export function row(columns) {
  const cells = {};
  const node = el("tr", { role: "row" });
  columns.forEach(([name, label], index) => {
    const role = index ? "cell" : "rowheader";
    cells[name] = el(index ? "td" : "th", { role, scope: index ? null : "row", class: name, "data-label": label });
    node.append(cells[name]);
  });
  return { node, cells };
}

// Entries of which `first` are shown, then `more` at a time; with a filter by name where there are many.
export class Paged {
  constructor(parent, what, make, { first, more }) {
    this.keyed = new Keyed(parent, make);
    this.what = what;
    this.first = first;
    this.more = more;
    this.shown = first;
    this.entries = [];
    this.input = el("input", { type: "search", autocomplete: "off", spellcheck: "false", input: () => this.draw() });
    this.filter = el("label", { class: "filter", hidden: true }, `Find ${what} `, this.input);
    this.button = el("button", { type: "button", hidden: true, click: () => this.enlarge() });
    this.note = el("p", { class: "note", hidden: true });
    this.foot = el("div", { class: "foot" }, this.note, this.button);
  }

  enlarge() {
    this.shown += this.more;
    this.draw();
  }

  // `entries` are [key, item], the worst first.
  update(entries) {
    this.entries = entries;
    this.draw();
  }

  draw() {
    const wanted = this.input.value.trim().toLowerCase();
    const found = wanted ? this.entries.filter(([key]) => key.toLowerCase().includes(wanted)) : this.entries;
    const left = found.length - this.shown;
    show(this.filter, this.entries.length > this.first);
    show(this.button, left > 0);
    show(this.note, this.entries.length > this.first || (wanted && !found.length));
    if (left > 0) say(this.button, `Show ${Math.min(left, this.more)} more`);
    say(this.note, `${Math.min(found.length, this.shown)} of ${this.entries.length} ${this.what}s, the worst first`);
    this.keyed.update(found.slice(0, this.shown));
  }
}

// A list of terms and figures: [name, label]; update({name: text}) sets them.
export function figures(terms, kind = "figures") {
  const values = {};
  const node = el("dl", { class: kind });
  for (const [name, label] of terms) {
    values[name] = el("dd");
    node.append(el("div", {}, el("dt", {}, label), values[name]));
  }
  return {
    node,
    update(texts) {
      for (const [name, text] of Object.entries(texts)) say(values[name], text);
    },
  };
}

// A bar from 0 to 1 with a tick at `wanted`, for those who see; its figures are in the text beside it.
export function gauge() {
  const fill = el("span", { class: "fill" });
  const tick = el("span", { class: "tick", hidden: true });
  const node = el("span", { class: "gauge", "aria-hidden": "true" }, fill, tick);
  const percent = (value) => `${(Math.min(1, Math.max(0, value)) * 100).toFixed(1)}%`;
  return {
    node,
    update(value, wanted) {
      show(node, value != null);
      if (value == null) return;
      fill.style.setProperty("inline-size", percent(value));
      set(node, "data-full", value >= 0.9 && wanted == null ? "" : null);
      show(tick, wanted != null);
      if (wanted != null) tick.style.setProperty("inset-inline-start", percent(wanted));
    },
  };
}

// Makes and updates elements. Everything that is shown is text or an attribute: there is no way here to parse markup,
// so nothing that a client has sent can become an element.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

// An HTML element. Attributes that are functions are listeners of the event of that name.
export const el = (name, attributes, ...children) => filled(document.createElement(name), attributes, children);

// An SVG element.
export const svg = (name, attributes, ...children) =>
  filled(document.createElementNS(SVG, name), attributes, children);

// Sets the text of an element, if it is another one: unchanged pages cost no layout.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Sets an attribute, or removes it for null, if it is another one.
export function set(node, name, value) {
  if (value == null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== `${value}`) node.setAttribute(name, value);
}

export function show(node, shown) {
  if (node.hidden === Boolean(shown)) node.hidden = !shown;
}

// The children of an element by key. `make(key)` returns {node, update(item)}.
export class Keyed {
  constructor(parent, make) {
    this.parent = parent;
    this.make = make;
    this.rows = new Map();
  }

  // `entries` are [key, item], in order. Nodes that stay where they are are not touched, so they keep their focus.
  update(entries) {
    const focused = document.activeElement;
    const wanted = new Set(entries.map(([key]) => key));
    for (const [key, row] of this.rows) {
      if (wanted.has(key)) continue;
      row.node.remove();
      this.rows.delete(key);
    }
    let next = this.parent.firstElementChild;
    for (const [key, item] of entries) {
      let row = this.rows.get(key);
      if (!row) this.rows.set(key, (row = this.make(key)));
      if (row.node === next) next = next.nextElementSibling;
      else this.parent.insertBefore(row.node, next);
      row.update(item);
    }
    if (focused !== document.activeElement && this.parent.contains(focused)) focused.focus({ preventScroll: true });
  }
}

// The shape that goes with a word: states differ by shape, not by colour only.
const SHAPES = {
  ok: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13z",
  watch: "M8 1.2 15.4 14.6H.6z",
  bad: "M4.9 1h6.2L15 4.9v6.2L11.1 15H4.9L1 11.1V4.9z",
  off: "M2 2h12v12H2zM5 5v6h6V5z",
  half: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13zm0 2.2v8.6a4.3 4.3 0 0 0 0-8.6z",
  open: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13zm0 2.2a4.3 4.3 0 1 0 0 8.6a4.3 4.3 0 0 0 0-8.6z",
};

// A shape; update(kind) changes it.
export function mark() {
  const path = svg("path", { "fill-rule": "evenodd" });
  const node = svg("svg", { viewBox: "0 0 16 16", class: "mark", "aria-hidden": "true" }, path);
  return {
    node,
    update(kind) {
      set(path, "d", SHAPES[kind] ?? SHAPES.open);
      set(node, "class", `mark ${kind}`);
    },
  };
}

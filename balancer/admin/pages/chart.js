// A line chart as plain SVG, with its figures as text: the lines differ by their dashes, and each has its last value.

import { el, say, set, show, svg } from "./dom.js";
import { span as inWords } from "./words.js";

const WIDTH = 600;
const HEIGHT = 100;

// The end of the scale for values up to `most`: a round number.
export function scale(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((end) => most <= end * 1.0001) ?? 10 * power;
}

// The path of values from left to right, with gaps where they are null.
export function path(values, slots, end) {
  let drawn = "";
  let begins = true;
  const first = slots - values.length;
  values.forEach((value, index) => {
    if (value == null) {
      begins = true;
      return;
    }
    const x = ((first + index) / Math.max(1, slots - 1)) * WIDTH;
    const y = HEIGHT - (Math.min(value, end) / end) * HEIGHT;
    const alone = begins && values[index + 1] == null ? "h1" : "";
    drawn += `${begins ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}${alone}`;
    begins = false;
  });
  return drawn;
}

// `lines` are [series, label]; `format` makes text of a value. `least` is the lowest end of the scale. A limit of 0 is
// none.
export function chart(title, lines, format, least = 0) {
  const end = el("span", { class: "peak" });
  const from = el("span");
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  set(drawing, "aria-label", `${title}: no history yet`);
  const rules = [0.5, HEIGHT / 2, HEIGHT - 0.5].map((y) => `M0 ${y}H${WIDTH}`);
  drawing.append(svg("path", { class: "rule", d: rules.join("") }));
  const drawn = lines.map(([name, label], index) => {
    const line = svg("path", { class: `line line${index}` });
    const sample = svg("svg", { viewBox: "0 0 24 8", class: "sample", "aria-hidden": "true" });
    sample.append(svg("path", { class: `line line${index}`, d: "M0 4H24" }));
    const value = el("b");
    drawing.prepend(line);
    const named = lines.length > 1 ? `${label} ` : "";
    return { name, label, line, value, legend: el("span", { class: "legend" }, sample, named, value) };
  });
  const empty = el("p", { class: "empty" }, "no history yet");
  const node = el(
    "figure",
    { class: "chart" },
    el("figcaption", {}, el("span", { class: "title" }, title), ...drawn.map((each) => each.legend)),
    el("div", { class: "plot" }, end, drawing, empty),
    el("div", { class: "axis", "aria-hidden": "true" }, from, el("span", {}, "now")),
  );
  return {
    node,
    // `history` as History.of returns it, or null.
    update(history) {
      show(empty, !history);
      if (!history) return;
      const slots = Math.ceil(history.span / history.step);
      const series = drawn.map(({ name }) => {
        const values = history.values[name] ?? [];
        return name === "limit" ? values.map((value) => value || null) : values;
      });
      const most = scale(Math.max(least, ...series.flat().filter((value) => value != null)));
      const said = [];
      drawn.forEach((each, index) => {
        const values = series[index];
        set(each.line, "d", path(values, slots, most));
        say(each.value, format(values.at(-1)));
        const there = values.filter((value) => value != null);
        const extent = there.length ? `, from ${format(Math.min(...there))} to ${format(Math.max(...there))}` : "";
        said.push(`${each.label}: now ${format(values.at(-1))}${extent}`);
      });
      say(end, format(most));
      say(from, `${inWords(history.span)} ago`);
      set(drawing, "aria-label", `${title}, last ${inWords(history.span)}. ${said.join("; ")}`);
    },
  };
}

// The last half hour of routes and pools: asked for only while a chart of it can be seen.

const SPANS = [120, 300, 600, 1800]; // seconds

// The span that shows what is known: the shortest that has room for it.
export const fitting = (known) => SPANS.find((span) => known <= span) ?? SPANS.at(-1);

// How many seconds back there is anything but null.
export function known(values, step) {
  const first = values.findIndex((value) => value != null);
  return first < 0 ? 0 : (values.length - first) * step;
}

export class History {
  // `wanted()` returns the keys of what can be seen, such as "pool:web"; `changed()` is called when there is news.
  constructor(url, { wanted, changed }) {
    this.url = url;
    this.wanted = wanted;
    this.changed = changed;
    this.span = 0; // seconds as chosen, 0: as there is history
    this.kept = new Map();
    this.running = false;
  }

  // Ask for what is missing or old, one after the other; called each second.
  async refresh() {
    if (this.running) return;
    this.running = true;
    try {
      for (const key of this.wanted()) {
        const found = this.kept.get(key);
        const age = this.span === SPANS[0] || (found && found.known < SPANS[0]) ? 2_000 : 10_000;
        if (found && Date.now() - found.asked < age) continue;
        const response = await fetch(`${this.url}?only=${encodeURIComponent(key)}`);
        if (!response.ok) continue;
        this.keep(key, await response.json());
        this.changed();
      }
    } catch {
      // The stream says that the balancer cannot be reached.
    } finally {
      this.running = false;
    }
  }

  keep(key, history) {
    const series = history.series[key] ?? {};
    const { fine, coarse } = history;
    let most = 0;
    for (const each of Object.values(series)) {
      most = Math.max(most, known(each.coarse, coarse.step), known(each.fine, fine.step));
    }
    const [kind, ...name] = key.split(":");
    const states = kind === "pool" ? (history.states?.[name.join(":")] ?? {}) : {};
    this.kept.set(key, { asked: Date.now(), now: history.now, fine, coarse, series, states, known: most });
  }

  // What charts of `key` show: {span, now, step, values: {rps: [...]}, states}, or null if it is not known yet.
  of(key) {
    const found = this.kept.get(key);
    if (!found) return null;
    const span = this.span || fitting(found.known);
    const which = span <= found.fine.step * found.fine.length ? "fine" : "coarse";
    const { step } = found[which];
    const values = {};
    for (const [name, each] of Object.entries(found.series)) values[name] = each[which].slice(-Math.ceil(span / step));
    return { span, now: found.now, step, values, states: found.states };
  }
}

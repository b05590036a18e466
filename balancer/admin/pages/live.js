// The overview of the instance, as it is pushed: the whole once, then a merge patch (RFC 7396) each second.

const SILENCE = 5_000; // ms without a message after which the figures are stale
const AGAIN = 2_000; // ms until the next try, where the browser does not try by itself

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// Applies a merge patch; objects of `target` that it changes are changed in place.
export function merged(target, patch) {
  if (!isObject(patch)) return patch;
  const result = isObject(target) ? target : {};
  for (const [name, value] of Object.entries(patch)) {
    if (name === "__proto__") continue;
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value);
  }
  return result;
}

export class Live {
  // `stream` and `whole` are the URLs of the stream and of one overview. `changed(overview)` is called after each
  // message, `stale(since)` when none comes any more: `since` is the time of the last one in ms, null before the first
  // one; `stale(undefined)` when they come again.
  constructor(stream, whole, { changed, stale }) {
    this.stream = stream;
    this.whole = whole;
    this.changed = changed;
    this.stale = stale;
    this.overview = null;
    this.heard = null;
    this.isStale = false;
    this.open();
    setInterval(() => this.watch(), 1_000);
  }

  open() {
    const source = new EventSource(this.stream);
    source.addEventListener("overview", (event) => this.take(JSON.parse(event.data)));
    source.addEventListener("patch", (event) => {
      if (this.overview) this.take(merged(this.overview, JSON.parse(event.data)));
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) this.poll();
      else this.lose(); // it connects again by itself
    });
  }

  // The stream was refused, as there are too many or as the balancer is gone: ask for one overview, and try again.
  async poll() {
    try {
      const response = await fetch(this.whole);
      if (!response.ok) throw new Error(response.status);
      this.take(await response.json());
    } catch {
      this.lose();
    }
    setTimeout(() => this.open(), AGAIN);
  }

  take(overview) {
    this.overview = overview;
    this.heard = Date.now();
    if (this.isStale) {
      this.isStale = false;
      this.stale(undefined);
    }
    this.changed(overview);
  }

  watch() {
    if (this.heard !== null && Date.now() - this.heard > SILENCE) this.lose();
  }

  lose() {
    this.isStale = true;
    this.stale(this.heard);
  }
}

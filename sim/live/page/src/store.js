// What is known of the run: for each key its values in the order of time.

const MOST = 40000;

export class Store {
  constructor() {
    this.series = new Map();
  }

  /** Take what a run keeps for those who come, or come again: what was known from before that stays. */
  load(series) {
    for (const [key, values] of Object.entries(series)) {
      values.sort((one, other) => one.t - other.t);
      const before = values.length ? this.of(key).filter(({ t }) => t < values[0].t) : this.of(key);
      this.series.set(key, before.concat(values));
    }
  }

  /** What is reported late, such as a miss whose end nobody told, goes where it belongs. */
  add(key, value) {
    let values = this.series.get(key);
    if (!values) this.series.set(key, (values = []));
    let place = values.length;
    while (place > 0 && values[place - 1].t > value.t) place--;
    values.splice(place, 0, value);
    if (values.length > MOST) values.splice(0, MOST / 4);
  }

  of(key) {
    return this.series.get(key) ?? [];
  }

  /** Number of values of a key up to and including a time. */
  count(key, t) {
    const values = this.of(key);
    let low = 0;
    let high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle].t <= t) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Points of a key up to a time, thinned to a number and the last: the same ones while more come. */
  trail(key, t, most) {
    const values = this.of(key);
    const stop = this.count(key, t);
    let step = 1;
    while (stop > most * step) step *= 2;
    const points = [];
    for (let i = 0; i < stop - 1; i += step) points.push(...values[i].p);
    if (stop) points.push(...values[stop - 1].p);
    return points;
  }

  /** The value that holds at a time, or null. */
  at(key, t) {
    return this.of(key)[this.count(key, t) - 1] ?? null;
  }
}

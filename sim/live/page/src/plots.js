// Error, latency, age of information, load and queue over time.

import uPlot from "uplot";
import { radius90 } from "./covariance.js";
import { ofLink } from "./look.js";

/** Letters of the longest of some words. */
const widest = (words) => Math.max(0, ...(words ?? []).map((word) => word?.length ?? 0));

/** The border style nearest to a dash. */
const ofDash = (dash) => (dash.length === 0 ? "solid" : dash[0] < 4 ? "dotted" : "dashed");

const WINDOW_S = 60;
const MOST_POINTS = 1500;
/** Losses are counted over this time: a share of a few frames would say nothing. */
const LOSS_S = 2;
const LEAST_ERROR_M = 0.01;
/** No line is drawn across a time without a track that is longer than this, and than some usual ones. */
const GAP_S = 1;
const GAP_STEPS = 4;

/** The longest time between two values across which a line is drawn. */
const widestStep = (values) => {
  const steps = values.slice(1).map(({ t }, n) => t - values[n].t).sort((one, other) => one - other);
  return Math.max(GAP_S, GAP_STEPS * (steps[steps.length >> 1] ?? 0));
};

/** A scale from 0 to a little more than there is, but never more than `most` nor less than `least`. */
const upTo = (most, least) => ({
  range: (_, low, high) => [0, Math.min(most, Math.max(high * 1.08, least) || 1)],
});

/** A scale of metres by powers of ten. */
const inDecades = () => ({
  distr: 3,
  range: (_, low, high) => {
    const power = (value, round) => 10 ** round(Math.log10(Math.max(value || 0, LEAST_ERROR_M)));
    const least = power(low, Math.floor);
    return [least, Math.max(power(high, Math.ceil), least * 10)];
  },
});

export class Plots {
  constructor(host, setting, seek) {
    this.host = host;
    this.setting = setting;
    this.seek = seek;
    this.t = 0;
    this.faults = [];
    this.hasAll = setting.mode === "recorded";
    this.plots = [];
  }

  range() {
    if (this.hasAll || this.setting.duration_s <= 2 * WINDOW_S) return [0, this.setting.duration_s];
    return [Math.max(0, this.t - WINDOW_S), Math.max(this.t, WINDOW_S)];
  }

  paint(colours) {
    for (const { plot } of this.plots) plot.destroy();
    this.host.replaceChildren();
    const links = this.setting.links.map(({ name }, n) => ({ label: name, ...ofLink(n, colours) }));
    const line = (label, colour, dash = [], more = {}) => ({ label, colour, dash, ...more });
    this.plots = [
      this.make(colours, "Error in space, m, logarithmic", (v) => `${v.toFixed(2)} m`, [
        line("fix", colours.fix, [7, 4]),
        line("track", colours.track),
        line("90 % within", colours.third, [2, 3]),
      ], (store, ue) => this.errors(store, ue), inDecades()),
      this.make(colours, "Latency, sample to fix, ms", (v) => `${v.toFixed(1)} ms`, [
        line("latency", colours.track),
        line("at the latest", colours.quiet, [4, 4]),
      ], (store, ue) => this.latency(store, ue)),
      this.make(colours, "Age of information, ms", (v) => `${v.toFixed(0)} ms`, [
        line("just before a fix", colours.track),
        line("just after", colours.third, [2, 3]),
      ], (store, ue) => this.age(store, ue)),
      this.make(colours, "Load of each link, %", (v) => v.toFixed(1), links,
        (store) => this.ofLinks(store, (value) => value.load * 100), upTo(100, 5)),
      this.make(colours, "Queue of each link, kB", (v) => v.toFixed(1), links,
        (store) => this.ofLinks(store, (value) => value.queue / 1000)),
      this.make(colours, `Dropped by each link, % of the last ${LOSS_S} s`, (v) => v.toFixed(1), links,
        (store) => this.losses(store), upTo(100, 5)),
    ];
  }

  make(colours, title, words, lines, read, y = upTo(Infinity, 0)) {
    const figure = document.createElement("figure");
    figure.className = "plot";
    figure.style.margin = "0";
    const heading = document.createElement("h3");
    heading.textContent = title;
    figure.append(heading);
    this.host.append(figure);
    const axis = { stroke: colours.quiet, grid: { stroke: colours.rule, width: 1 }, ticks: { stroke: colours.rule, width: 1 } };
    const font = "12px system-ui, sans-serif";
    const plot = new uPlot({
      width: figure.clientWidth || 400,
      height: 190,
      legend: {
        live: true,
        markers: { width: 2, dash: (_, n) => ofDash(lines[n - 1]?.dash ?? []), fill: () => null },
      },
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { time: false, range: () => this.range() },
        y,
      },
      axes: [
        { ...axis, font, size: 34, values: (_, ticks) => ticks.map((tick) => `${tick} s`) },
        { ...axis, font, size: (_, ticks) => Math.max(46, 18 + 7 * widest(ticks)) },
      ],
      series: [
        { label: "t", value: (_, v) => (v === null ? "–" : `${v.toFixed(1)} s`) },
        ...lines.map(({ label, colour, dash }) => ({
          label,
          stroke: colour,
          dash: dash.length ? dash : undefined,
          width: 2,
          spanGaps: false,
          points: { show: false },
          value: (_, v) => (v === null || v === undefined ? "–" : words(v)),
        })),
      ],
      hooks: { draw: [(u) => this.marks(u, colours)] },
    }, [[0], ...lines.map(() => [null])], figure);
    plot.over.addEventListener("click", () => {
      if (plot.cursor.left >= 0) this.seek(plot.posToVal(plot.cursor.left, "x"));
    });
    return { plot, figure, read };
  }

  /** The time shown, and where something failed. */
  marks(u, colours) {
    const { ctx: pen, bbox } = u;
    const bar = (t, colour, dash) => {
      const x = u.valToPos(t, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) return;
      pen.save();
      pen.strokeStyle = colour;
      pen.lineWidth = Math.max(1, devicePixelRatio);
      pen.setLineDash(dash);
      pen.beginPath();
      pen.moveTo(x, bbox.top);
      pen.lineTo(x, bbox.top + bbox.height);
      pen.stroke();
      pen.restore();
    };
    for (const { t_s: t } of this.faults) bar(t, colours.quiet, [3, 5]);
    if (this.hasAll) bar(this.t, colours.text, []);
  }

  /** Values of a key in the range shown, thinned: the last, and others that stay the same as the range moves. */
  part(store, key, most = MOST_POINTS) {
    const values = store.of(key);
    const [start, stop] = this.range();
    const [first, last] = [Math.max(store.count(key, start) - 1, 0), store.count(key, this.hasAll ? stop : this.t)];
    const step = Math.max(1, Math.ceil((last - first) / most));
    const part = [];
    for (let i = Math.ceil(first / step) * step; i < last - 1; i += step) part.push(values[i]);
    if (last > first) part.push(values[last - 1]);
    return part;
  }

  errors(store, ue) {
    const tracks = this.part(store, `track/${ue}`);
    // Of the same snapshots as the tracks, whichever these are.
    const fixes = this.part(store, `fix/${ue}`, tracks.length ? Infinity : MOST_POINTS);
    if (!fixes.length || !tracks.length) {
      const part = tracks.length ? tracks : fixes;
      const errors = part.map(({ e }) => e);
      const none = part.map(() => null);
      return [part.map(({ t }) => t), tracks.length ? none : errors, tracks.length ? errors : none, none];
    }
    const bySample = new Map(fixes.map((fix) => [fix.s, fix.e]));
    const table = [[], [], [], []];
    const add = (...row) => row.forEach((value, n) => table[n].push(value));
    const widest = widestStep(tracks);
    let last = Infinity;
    for (const { t, s, e, c } of tracks) {
      if (t - last > widest) add((t + last) / 2, null, null, null);
      add(t, bySample.get(s) ?? null, e, radius90(c));
      last = t;
    }
    return table;
  }

  latency(store, ue) {
    const fixes = this.part(store, `fix/${ue}`);
    const latest = this.setting.latest_s * 1000;
    return [fixes.map(({ t }) => t), fixes.map(({ t, s }) => (t - s) * 1000), fixes.map(() => latest)];
  }

  /** Age grows with time and falls when a fix comes: both ends of each fall. */
  age(store, ue) {
    const fixes = this.part(store, `fix/${ue}`);
    return [
      fixes.map(({ t }) => t),
      fixes.map(({ age }) => (age === null ? null : age * 1000)),
      fixes.map(({ t, s }) => (t - s) * 1000),
    ];
  }

  ofLinks(store, read) {
    const parts = this.setting.links.map(({ name }) => this.part(store, `link/${name}`));
    if (parts.every((part) => part.length === 0)) return [[], ...parts];
    const tables = parts.map((part) => [part.map(({ t }) => t), part.map(read)]);
    return uPlot.join(tables);
  }

  losses(store) {
    const table = this.setting.links.map(({ name }) => {
      const part = this.part(store, `link/${name}`);
      let from = 0;
      const shares = part.map(({ t, sent, dropped }) => {
        while (part[from].t < t - LOSS_S) from++;
        const offered = sent - part[from].sent;
        return offered > 0 ? Math.min((100 * (dropped - part[from].dropped)) / offered, 100) : null;
      });
      return [part.map(({ t }) => t), shares];
    });
    return table.every(([times]) => times.length === 0) ? [[], ...table.map(() => [])] : uPlot.join(table);
  }

  /** Without a pointer over it, a legend tells the values at the time shown. */
  tell() {
    for (const { plot } of this.plots) {
      if (plot.cursor.left >= 0) continue;
      const times = plot.data[0];
      let idx = times.length - 1;
      while (idx > 0 && times[idx] > this.t) idx--;
      plot.setLegend({ idx }, false);
    }
  }

  update(store, ue, t, faults) {
    [this.t, this.faults] = [t, faults];
    for (const { plot, read } of this.plots) {
      const table = read(store, ue);
      plot.setData(table[0].length ? table : [[0], ...plot.series.slice(1).map(() => [null])]);
    }
    this.tell();
  }

  /** Only the time has changed. */
  move(t, faults) {
    [this.t, this.faults] = [t, faults];
    for (const { plot } of this.plots) plot.redraw(false);
    this.tell();
  }

  resize() {
    for (const { plot, figure } of this.plots) {
      const width = figure.clientWidth;
      if (width && width !== plot.width) plot.setSize({ width, height: 190 });
    }
  }
}

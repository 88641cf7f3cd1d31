// The page of a run: one that goes on, or one that is over and has a time slider.

import { City2D } from "./city2d.js";
import { City3D } from "./city3d.js";
import { radius90 } from "./covariance.js";
import { look } from "./look.js";
import { Plots } from "./plots.js";
import { Store } from "./store.js";
import { Line, Refused } from "./stream.js";
import { SETTLED_MS, Table } from "./table.js";
import { causes, clock, fault, metres, millis } from "./words.js";

const TRAIL_POINTS = 700;
const FIXES_SHOWN = 150;
const PLOTS_EVERY_MS = 200;
const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50];

const part = (id) => document.getElementById(id);
const write = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

class Page {
  constructor(line, setting, heights) {
    Object.assign(this, { line, setting, heights });
    this.store = new Store();
    this.isLive = setting.mode === "live";
    this.isOver = !this.isLive;
    this.t = 0;
    this.end = setting.duration_s;
    this.ue = setting.ues[0];
    this.isPlaying = false;
    this.chosenAt = -Infinity;
    this.isDirty = true;
    this.plotsDirty = true;
    this.plotsAt = 0;
    this.view = null;
    const ask = setting.controlled ? (command) => this.ask(command) : null;
    this.table = new Table(part("table"), setting, ask, (words) => write(part("said"), words));
    this.plots = new Plots(part("plots"), setting, (t) => this.isOver && this.seek(t));
    this.words();
    this.controls();
    this.choose(null);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    window.addEventListener("resize", () => this.changed());
    this.paint();
    requestAnimationFrame((now) => this.frame(now));
  }

  words() {
    const { scenario, description, city, ues, ues_in_all: all } = this.setting;
    document.title = `${scenario} – fronthaul-sim`;
    part("name").textContent = scenario;
    const rest = all > ues.length ? ` Shown: ${ues.length} of ${all} UEs; the totals are of all.` : "";
    const replay = this.isLive && !this.setting.controlled ? "A replay. " : "";
    part("description").textContent = `${replay}${description}${rest}`;
    part("attribution").textContent = city?.attribution ?? "";
  }

  controls() {
    const [speed, ue, slider] = [part("speed"), part("ue"), part("slider")];
    for (const factor of SPEEDS) speed.append(new Option(`${factor} ×`, String(factor), factor === 1, factor === 1));
    speed.addEventListener("change", () => {
      this.chosenAt = performance.now();
      if (!this.isOver) this.ask({ do: "speed", to: Number(speed.value) });
    });
    for (const name of this.setting.ues) ue.append(new Option(name, name));
    part("ue-choice").hidden = part("others-key").hidden = this.setting.ues.length < 2;
    ue.addEventListener("change", () => {
      this.ue = ue.value;
      this.changed();
    });
    slider.max = String(this.end);
    slider.addEventListener("input", () => this.seek(Number(slider.value)));
    part("play").addEventListener("click", () => this.toggle());
    part("flat").addEventListener("click", () => this.choose(this.view instanceof City3D));
    part("follow").addEventListener("click", () => this.follow(!this.isFollowing));
    document.addEventListener("keydown", (event) => {
      if (!part("single").checked || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.repeat || event.target.closest("select, input:not([type=range], [type=checkbox])")) return;
      if (event.key === " " && !event.target.closest("button, a, input:not([type=range]), summary")) this.toggle();
      else if (event.key === "m") this.choose(this.view instanceof City3D);
      else if (event.key === "f") this.follow(!this.isFollowing);
      else return;
      event.preventDefault();
    });
    // What gets the focus is not scrolled to under the bar.
    new ResizeObserver(([{ target }]) => {
      const covers = getComputedStyle(target).position === "sticky" ? target.offsetHeight + 6 : 0;
      document.documentElement.style.scrollPaddingTop = `${covers}px`;
    }).observe(document.querySelector(".bar"));
    this.over(this.isOver);
  }

  over(isOver) {
    this.isOver = isOver;
    part("slider").hidden = !isOver;
    this.plots.hasAll = isOver;
    if (isOver) this.table.close();
    this.stateDirty = true;
    write(part("play"), isOver ? "Play" : "Pause");
  }

  /** Draw in space or flat; null takes space where the browser can. */
  choose(isFlat) {
    const host = part("scene");
    const redraw = () => (this.isDirty = true);
    this.view?.remove();
    const flat = () => new City2D(host, this.setting, this.heights, redraw);
    if (isFlat) this.view = flat();
    else {
      try {
        const view = new City3D(host, this.setting, this.heights, redraw);
        view.canvas.addEventListener("webglcontextlost", () => this.view === view && this.choose(true), { once: true });
        this.view = view;
      } catch {
        host.replaceChildren();
        this.view = flat();
        part("flat").disabled = true;
        part("flat").title = "This browser has no WebGL";
      }
    }
    host.dataset.view = this.view instanceof City3D ? "space" : "flat";
    part("flat").setAttribute("aria-pressed", String(this.view instanceof City2D));
    this.view.paint(look());
    this.view.follow(Boolean(this.isFollowing));
    this.changed();
  }

  follow(on) {
    this.isFollowing = on;
    part("follow").setAttribute("aria-pressed", String(on));
    this.view.follow(on);
    this.changed();
  }

  paint() {
    const colours = look();
    this.view.paint(colours);
    this.plots.paint(colours);
    this.table.paint(colours);
    this.changed();
  }

  changed() {
    this.isDirty = this.plotsDirty = this.stateDirty = true;
  }

  // Time.

  toggle() {
    if (!this.isOver) {
      this.ask({ do: this.run?.state === "paused" ? "resume" : "pause" });
      return;
    }
    if (!this.isPlaying && this.t >= this.end) this.t = 0;
    this.isPlaying = !this.isPlaying;
    this.playedAt = performance.now();
    write(part("play"), this.isPlaying ? "Pause" : "Play");
    this.state(this.isPlaying ? "playing" : "recorded");
  }

  seek(t) {
    this.t = Math.min(Math.max(t, 0), this.end);
    this.stateDirty = this.isDirty = this.timeDirty = true;
  }

  state(name, words = name) {
    part("state").dataset.state = name;
    write(part("state"), words);
  }

  // The run.

  async ask(command) {
    try {
      await this.line.ask(command);
      write(part("said"), this.run ? "" : "Will be done when the run starts.");
    } catch (error) {
      write(part("said"), `Not done: ${error.message}`);
    }
  }

  recorded({ series, end_s: end, summary }) {
    this.store.load(series);
    this.end = end || this.setting.duration_s;
    this.setting.duration_s = this.end;
    part("slider").max = String(this.end);
    this.state("recorded", summary.complete === false ? "recorded, broken off" : "recorded");
    this.seek(this.end);
    this.changed();
  }

  async live() {
    let pause = 500;
    for (;;) {
      let words = "connection lost";
      try {
        await this.line.follow((kind, content) => {
          pause = 500;
          this.take(kind, content);
        });
      } catch (error) {
        if (error.status === 401) return problem(WRONG_TOKEN);
        if (error instanceof Refused) words = error.message;
      }
      if (this.isOver) return undefined;
      this.state("lost", words);
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(pause * 2, 5000);
    }
  }

  take(kind, content) {
    if (kind === "history") {
      this.store.load(content);
      this.logged = undefined; // what was before is no news
      for (const values of this.store.series.values()) this.t = Math.max(this.t, values.at(-1)?.t ?? 0);
      const run = this.store.of("run").at(-1);
      if (run) this.takeRun(run);
      else this.state("preparing");
    } else if (kind === "update") {
      for (const [key, value] of Object.entries(content.changes)) {
        this.store.add(key, value);
        if (key === "run") this.takeRun(value);
        else this.t = Math.max(this.t, value.t);
      }
    }
    this.changed();
  }

  takeRun(run) {
    if (!this.run) write(part("said"), "");
    this.run = run;
    this.t = Math.max(this.t, run.t);
    this.state(run.state);
    if (!this.isOver) write(part("play"), run.state === "paused" ? "Go on" : "Pause");
    if (run.speed !== null && performance.now() - this.chosenAt > SETTLED_MS) this.showSpeed(run.speed);
    if (run.state === "ended" && !this.isOver) {
      this.end = this.setting.duration_s = this.t;
      part("slider").max = String(this.end);
      this.over(true);
    }
  }

  showSpeed(speed) {
    const choice = part("speed");
    const name = String(speed);
    if (![...choice.options].some((option) => option.value === name)) choice.append(new Option(`${name} ×`, name));
    if (choice.value !== name) choice.value = name;
  }

  // Drawing.

  frame(now) {
    requestAnimationFrame((next) => this.frame(next));
    if (this.isPlaying) {
      this.seek(this.t + ((now - this.playedAt) / 1000) * Number(part("speed").value));
      this.playedAt = now;
      if (this.t >= this.end) this.toggle();
    }
    if (this.stateDirty) this.show();
    const isPutOff = this.isDirty && this.view.draw() === true;
    if ((this.plotsDirty || this.timeDirty) && now - this.plotsAt > PLOTS_EVERY_MS) {
      this.plotsAt = now;
      this.plots.resize();
      const faults = this.store.of("faults").at(-1)?.entries ?? [];
      if (this.plotsDirty) this.plots.update(this.store, this.ue, this.t, faults);
      else this.plots.move(this.t, faults);
      this.plotsDirty = this.timeDirty = false;
    }
    this.stateDirty = false;
    this.isDirty = isPutOff;
  }

  show() {
    const { store, t, ue } = this;
    const faults = store.at("faults", t);
    const down = new Set(faults?.down ?? []);
    const lost = faults?.lost ?? [];
    const states = this.setting.links.map((link) => ({
      name: link.name,
      value: store.at(`link/${link.name}`, t),
      down: link.bs !== null && down.has(link.bs),
      lost: lost.includes(link.bs),
    }));
    const links = this.setting.sites.map(({ bs, p }) => {
      const state = states.find(({ name }) => name === bs);
      const cut = state?.value ? !state.value.up : false;
      const what = [[state?.lost, "lost"], [state?.down, "down"], [cut, "link cut"]].find(([is]) => is)?.[1];
      return { bs, at: p, load: state?.value?.load ?? 0, out: Boolean(what), words: what ? `${bs} ✕ ${what}` : bs };
    });
    const [truth, track, fix] = ["truth", "track", "fix"].map((kind) => store.at(`${kind}/${ue}`, t));
    const fixes = store.of(`fix/${ue}`);
    const stop = store.count(`fix/${ue}`, t);
    this.view.update({
      truthTrail: store.trail(`truth/${ue}`, t, TRAIL_POINTS),
      trackTrail: store.trail(`track/${ue}`, t, TRAIL_POINTS),
      fixes: fixes.slice(Math.max(0, stop - FIXES_SHOWN), stop).flatMap(({ p }) => p),
      truth: truth?.p ?? null,
      track: track?.p ?? null,
      covariance: track?.c ?? null,
      others: this.setting.ues.filter((other) => other !== ue)
        .flatMap((other) => (store.at(`track/${other}`, t) ?? store.at(`truth/${other}`, t))?.p ?? []),
      links,
    });
    this.isDirty = true;
    this.table.update(states);
    this.tiles(truth, track, fix);
    part("lost").hidden = lost.length === 0;
    write(part("lost"), `lost: ${lost.join(", ")}`);
    this.log((this.isOver ? store.of("faults").at(-1) : faults)?.entries ?? []);
    write(part("clock"), clock(t, this.setting.duration_s));
    if (this.isOver) {
      part("slider").value = String(t);
      part("slider").setAttribute("aria-valuetext", clock(t, this.setting.duration_s));
    }
  }

  tiles(truth, track, fix) {
    const frames = this.store.at("frames", this.t);
    const totals = this.store.at("totals", this.t);
    const radius = track ? radius90(track.c) : null;
    const age = fix ? this.t - fix.s : null;
    const rows = [
      ["track-error", "Track error", metres(track?.e), `90 % within ${metres(radius)}`],
      ["fix-error", "Fix error", metres(fix?.e), `mean so far ${metres(totals?.mean)}`],
      ["height", "True height", metres(truth?.p[2]), track?.coasting ? "track is coasting" : `estimated ${metres(track?.p[2])}`],
      ["stations", "BSs in the fix", fix ? `${fix.bs.length}` : "–", fix ? fix.bs.join(", ") : ""],
      ["latency", "Latency", fix ? millis(fix.t - fix.s) : "–", "from sample to fix"],
      ["age", "Age of information", millis(age === null ? null : Math.max(age, 0)), "of the newest fix"],
      ["fixes", "Fixes", totals ? `${totals.fixes}` : "0", `${totals?.missed ?? 0} missed`],
      ["lost-frames", "Frames lost", `${frames?.dropped ?? 0}`, `of ${frames?.sent ?? 0}${why(frames)}`],
    ];
    const health = this.store.at("health", this.t);
    if (health) {
      rows.push(["processing", "Processing, 99 %", millis(health.processing), "sample to fix, less what is modelled"]);
      rows.push(["lag", "Pacing lag, 99 %", millis(health.lag), "of the world behind the clock"]);
    }
    this.nodes ??= new Map();
    if (this.nodes.size < rows.length) {
      for (const [id, name] of rows) {
        if (this.nodes.has(id)) continue;
        const box = document.createElement("div");
        const [term, description, value, more] = ["dt", "dd", "span", "small"].map((tag) => document.createElement(tag));
        term.textContent = name;
        description.append(value, more);
        description.id = id;
        box.append(term, description);
        part("tiles").append(box);
        this.nodes.set(id, { value, more });
      }
    }
    for (const [id, , value, more] of rows) {
      write(this.nodes.get(id).value, value);
      write(this.nodes.get(id).more, more);
    }
  }

  log(entries) {
    const name = entries.map(({ t_s: t, kind, target }) => `${t}${kind}${target}`).join() + this.isOver;
    if (name === this.logged) return this.ahead(entries);
    const isNews = this.logged !== undefined && !this.isOver && entries.length > 0;
    this.logged = name;
    if (isNews) write(part("news"), fault(entries.at(-1)));
    const lines = entries.toReversed().map((entry) => {
      const line = document.createElement("li");
      const words = `${clock(entry.t_s, this.setting.duration_s)}  ${fault(entry)}`;
      if (!this.isOver) line.textContent = words;
      else {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = words;
        button.addEventListener("click", () => this.seek(entry.t_s));
        line.append(button);
      }
      return line;
    });
    if (!lines.length) {
      const line = document.createElement("li");
      line.className = "nothing";
      line.textContent = "nothing so far";
      lines.push(line);
    }
    part("faults").replaceChildren(...lines);
    this.ahead(entries);
  }

  /** In a run that is over, all that failed is listed: what is yet to come at the time shown is set apart. */
  ahead(entries) {
    entries.toReversed().forEach(({ t_s: t }, n) => part("faults").children[n].classList.toggle("ahead", t > this.t));
  }
}

/** Causes of what was lost, most first. */
const why = (frames) => (frames?.dropped ? `: ${causes(frames.causes)}` : "");

const NO_TOKEN = "This page needs the whole address that the terminal printed, with the part behind #.";
const WRONG_TOKEN = "The token in the address is not that of this run. Take the address that the terminal printed.";

function problem(text) {
  part("problem").textContent = text;
  part("problem").hidden = false;
  document.querySelector("main").hidden = true;
  part("state").hidden = true;
}

async function start() {
  window.addEventListener("hashchange", () => location.reload());
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // what is behind # is the token
    part("links").focus();
  });
  const token = location.hash.slice(1);
  if (!token) return problem(NO_TOKEN);
  const line = new Line(token);
  try {
    const setting = await (await line.get("setting")).json();
    const heights = setting.city ? new Uint16Array(await (await line.get("city")).arrayBuffer()) : null;
    document.querySelector("main").hidden = false;
    const page = new Page(line, setting, heights);
    if (setting.mode === "recorded") page.recorded(await (await line.get("recording")).json());
    else page.live();
    return undefined;
  } catch (error) {
    return problem(error.status === 401 ? WRONG_TOKEN : `The run does not answer: ${error.message}`);
  }
}

start();

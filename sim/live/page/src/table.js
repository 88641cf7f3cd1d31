// The base stations and links in words, with what can be done to them.

import { ofLink } from "./look.js";
import { bps, bytes, losses, percent, rate } from "./words.js";

const RATES = [10e6, 1e6, 500e3, 200e3, 100e3, 50e3];
const CUT = "cut";
const OTHER = "other";
const NORMAL = "normal";
/** A choice is left as it was made for so long: until then the run may not have told of it. */
export const SETTLED_MS = 2000;
/** Before a link was looked at for the first time. */
const NOTHING = { load: 0, queue: 0, sent: 0, delivered: 0, dropped: 0 };

const make = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};

export class Table {
  /** `ask(command)` sends one command; null where a run takes none. `say(words)` tells of what was typed. */
  constructor(table, setting, ask, say) {
    this.rows = new Map();
    this.ask = ask;
    this.say = say;
    const heads = ["Link", "State", "Load", "Capacity", "Queue", "Sent", "Delivered", "Dropped"];
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
    if (ask) {
      head.append(make("th", { class: "act", scope: "col" }, "Base station"));
      head.append(make("th", { class: "act", scope: "col" }, "Throttle"));
    }
    const body = make("tbody");
    for (const link of setting.links) body.append(this.row(link));
    table.replaceChildren(make("thead", {}, head), body);
  }

  row(link) {
    const swatch = make("i", { class: "swatch" });
    const cells = Object.fromEntries(
      ["state", "load", "capacity", "queue", "sent", "delivered", "dropped"].map((name) => [
        name,
        make("td", { "data-name": name }),
      ]),
    );
    const fill = make("i");
    const meter = make("span", { class: "meter", "aria-hidden": "true" }, fill);
    const loadText = make("span");
    cells.load.append(meter, loadText);
    const row = make("tr", {}, make("th", { scope: "row" }, swatch, link.name), ...Object.values(cells));
    const parts = { row, cells, swatch, fill, meter, loadText, link };
    if (this.ask) {
      parts.button = make("button", { type: "button" }, "");
      parts.button.addEventListener("click", () =>
        this.ask({ do: parts.down ? "bs_up" : "bs_down", target: link.bs }));
      parts.choice = make("select", { "aria-label": `Capacity of link ${link.name}` });
      parts.choice.append(make("option", { value: NORMAL }, "as in the scenario"));
      for (const bps of RATES) parts.choice.append(make("option", { value: String(bps) }, rate(bps)));
      parts.choice.append(make("option", { value: CUT }, "cut"), make("option", { value: OTHER }, "other…"));
      parts.choice.addEventListener("change", () => this.throttle(parts));
      parts.words = make("input", {
        "aria-label": `Other capacity, with its unit, of ${link.name}; Enter sets it, Escape does not`,
        placeholder: "250 kbit/s",
        size: "11",
      });
      parts.own = make("option");
      parts.chosenAt = -Infinity;
      parts.words.hidden = true;
      parts.words.addEventListener("keydown", (event) => this.typed(parts, event));
      parts.words.addEventListener("blur", () => this.type(parts, false));
      row.append(make("td", { class: "act" }, ...(link.bs ? [parts.button] : [])));
      row.append(make("td", { class: "act" }, parts.choice, parts.words));
    }
    this.rows.set(link.name, parts);
    return row;
  }

  /** Show the field for any capacity in place of the choice, or hide it. */
  type(parts, on) {
    const { choice, words } = parts;
    [choice.hidden, words.hidden] = [on, !on];
    this.refuse(words, false);
    if (on) words.focus();
    else choice.value = parts.wanted ?? NORMAL;
  }

  /** Have the choice show what a link has; a capacity that it does not offer gets the one option of its own. */
  choose(parts, wanted, capacity) {
    const { choice, own } = parts;
    parts.wanted = wanted;
    if (![...choice.options].some((option) => option.value === wanted)) {
      own.value = wanted;
      own.textContent = rate(capacity);
      choice.prepend(own);
    }
    if (choice.value !== wanted) choice.value = wanted;
  }

  typed(parts, event) {
    if (event.key === "Enter") {
      const to = bps(parts.words.value);
      if (!to) return this.refuse(parts.words, true);
      if (parts.cut) this.ask({ do: "link_up", target: parts.link.name });
      this.ask({ do: "throttle", target: parts.link.name, to });
      parts.chosenAt = performance.now();
      this.choose(parts, String(to), to);
    } else if (event.key !== "Escape") return undefined;
    this.type(parts, false);
    return parts.choice.focus();
  }

  /** Say that what is in a field is no capacity, or take it back. */
  refuse(words, isWrong) {
    if (isWrong === words.hasAttribute("aria-invalid")) return undefined;
    if (isWrong) words.setAttribute("aria-invalid", "true");
    else words.removeAttribute("aria-invalid");
    return this.say(isWrong ? "Not a capacity: a number above 0 with its unit, such as 250 kbit/s." : "");
  }

  async throttle(parts) {
    const { choice, link, cut } = parts;
    parts.chosenAt = performance.now();
    if (choice.value === OTHER) this.type(parts, true);
    else if (choice.value === CUT) await this.ask({ do: "link_down", target: link.name });
    else {
      if (cut) await this.ask({ do: "link_up", target: link.name });
      await this.ask({ do: "throttle", target: link.name, to: choice.value === NORMAL ? null : Number(choice.value) });
    }
  }

  paint(colours) {
    [...this.rows.values()].forEach(({ swatch }, n) => {
      const { colour, dash } = ofLink(n, colours);
      swatch.style.borderTopColor = colour;
      swatch.style.borderTopStyle = dash.length === 0 ? "solid" : dash[0] < 4 ? "dotted" : "dashed";
    });
  }

  update(states) {
    for (const { name, value, down, lost } of states) {
      const parts = this.rows.get(name);
      const { cells } = parts;
      const cut = value ? !value.up : false;
      parts.down = down;
      parts.cut = cut;
      parts.row.classList.toggle("out", down || cut || lost);
      write(cells.state, lost ? "process lost" : down ? "BS down" : cut ? "link cut" : "up");
      if (parts.button) {
        write(parts.button, `${down ? "Bring" : "Take"} ${parts.link.bs} ${down ? "up" : "down"}`);
      }
      if (parts.choice && parts.words.hidden && performance.now() - parts.chosenAt > SETTLED_MS) {
        const isNormal = value === null || parts.link.capacities.includes(value.capacity);
        this.choose(parts, cut ? CUT : isNormal ? NORMAL : String(value.capacity), value?.capacity);
      }
      const shown = value ?? { ...NOTHING, capacity: parts.link.capacities[0] };
      parts.fill.style.width = `${(shown.load * 100).toFixed(1)}%`;
      parts.meter.classList.toggle("high", shown.load > 0.8);
      write(parts.loadText, percent(shown.load));
      write(cells.capacity, rate(shown.capacity));
      write(cells.queue, bytes(shown.queue));
      write(cells.sent, String(shown.sent));
      write(cells.delivered, String(shown.delivered));
      write(cells.dropped, losses(shown.dropped, shown.causes));
    }
  }

  /** No more commands are taken. */
  close() {
    for (const { button, choice, words } of this.rows.values()) {
      for (const control of [button, choice, words]) if (control) control.disabled = true;
    }
  }
}

const write = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

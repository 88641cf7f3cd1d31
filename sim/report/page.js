"use strict";
(() => {
  const controls = document.querySelector(".controls");
  if (!controls) return; // nothing was recorded
  const run = JSON.parse(document.getElementById("run").textContent);
  const SVG = document.querySelector("svg").namespaceURI;
  const slider = controls.querySelector("input");
  const button = controls.querySelector("button");
  const readout = controls.querySelector("output");
  const choice = controls.querySelector("select");
  const overview = document.querySelector(".overview");
  const REPLAY_MS = Math.min(run.duration_s * 1000, 20000);
  let chosen = choice ? choice.value : Object.keys(run.ues)[0];
  let timeS = 0;
  let playing = null;

  const add = (parent, name, attributes) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return parent.appendChild(node);
  };
  const plots = [...document.querySelectorAll(".plot.time")].map((plot) => ({
    plot,
    cursor: add(plot, "line", { class: "cursor", y1: "0", y2: "100%", x1: "0", x2: "0" }),
  }));
  const plans = [...document.querySelectorAll(".plan")].map((plan) => ({
    left: Number(plan.dataset.left),
    bottom: Number(plan.dataset.bottom),
    side: Number(plan.dataset.side),
    truth: add(plan, "circle", { class: "here-true", r: 8 }),
    track: add(plan, "circle", { class: "here-track", r: 5 }),
  }));

  const latest = (times, t) => {
    let low = 0;
    let high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= t) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  };
  const clock = (t) => {
    if (run.duration_s <= 120) return `${t.toFixed(1)} s`;
    const two = (value) => String(Math.floor(value)).padStart(2, "0");
    const hours = Math.floor(t / 3600);
    return `${run.duration_s >= 3600 ? `${hours}:` : ""}${two((t / 60) % 60)}:${two(t % 60)}`;
  };
  const place = (circle, plan, x, y) => {
    const known = x !== null && y !== null && x !== undefined;
    circle.toggleAttribute("hidden", !known);
    if (!known) return;
    circle.setAttribute("cx", `${(100 * (x / 100 - plan.left)) / plan.side}%`);
    circle.setAttribute("cy", `${100 - (100 * (y / 100 - plan.bottom)) / plan.side}%`);
  };
  const metres = (cm) => (cm === null || cm === undefined ? "–" : `${(cm / 100).toFixed(2)} m`);

  const show = (t) => {
    timeS = Math.min(Math.max(t, 0), run.duration_s);
    slider.value = String(timeS);
    for (const { cursor } of plots) {
      const at = `${(100 * timeS) / run.duration_s}%`;
      cursor.setAttribute("x1", at);
      cursor.setAttribute("x2", at);
    }
    const ue = run.ues[chosen];
    if (!ue || !ue.t.length) return;
    const i = latest(ue.t, timeS * 1000);
    for (const plan of plans) {
      place(plan.truth, plan, ue.truth[0][i], ue.truth[1][i]);
      place(plan.track, plan, ue.track[0][i], ue.track[1][i]);
    }
    const words =
      `${clock(timeS)} · height ${metres(ue.truth[2][i])} · error ${metres(ue.error[i])}` +
      ` (90 % within ${metres(ue.radius[i])}) · ${ue.stations[i] ?? 0} BSs`;
    readout.textContent = words;
    slider.setAttribute("aria-valuetext", words);
  };

  const choose = (ue) => {
    chosen = ue;
    for (const part of document.querySelectorAll("[data-part-of]")) part.hidden = part.dataset.partOf !== ue;
    if (overview) {
      overview.classList.toggle("choosing", Object.keys(run.ues).length > 1);
      for (const group of overview.querySelectorAll("g[data-ue]")) {
        group.classList.toggle("chosen", group.dataset.ue === ue);
      }
    }
    show(timeS);
  };

  const stop = () => {
    if (playing !== null) cancelAnimationFrame(playing);
    playing = null;
    button.textContent = "Play";
  };
  const play = () => {
    const from = timeS >= run.duration_s ? 0 : timeS;
    let began = null;
    const step = (now) => {
      began ??= now;
      const t = from + ((now - began) / REPLAY_MS) * run.duration_s;
      show(t);
      if (t >= run.duration_s) stop();
      else playing = requestAnimationFrame(step);
    };
    playing = requestAnimationFrame(step);
    button.textContent = "Pause";
  };

  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
  });
  button.addEventListener("click", () => (playing === null ? play() : stop()));
  if (choice) choice.addEventListener("change", () => choose(choice.value));
  for (const { plot } of plots) {
    const follow = (event) => {
      const edge = plot.getBoundingClientRect();
      show(((event.clientX - edge.left) / edge.width) * run.duration_s);
    };
    plot.addEventListener("pointerdown", (event) => {
      stop();
      follow(event);
    });
    plot.addEventListener("pointermove", (event) => {
      if (playing === null && (event.buttons || event.pointerType === "mouse")) follow(event);
    });
  }
  controls.hidden = false;
  choose(chosen);
})();

// The city from above, drawn without WebGL.

import { horizontal, IN_PLANE_90 } from "./covariance.js";
import { ofLoad } from "./look.js";

export class City2D {
  constructor(host, setting, heights, redraw) {
    this.host = host;
    this.setting = setting;
    this.redraw = redraw;
    this.heights = heights;
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-label", "Map of the city; arrow keys move it, plus and minus zoom");
    this.pen = this.canvas.getContext("2d");
    host.append(this.canvas);
    this.pointers = new Map();
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 500));
    }, { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    this.canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    this.reset();
  }

  reset() {
    const along = (axis) => this.setting.sites.map(({ p }) => p[axis]);
    const [xs, ys] = [along(0), along(1)];
    this.box = { x: [Math.min(...xs) - 25, Math.max(...xs) + 25], y: [Math.min(...ys) - 25, Math.max(...ys) + 25] };
    this.centre = [(this.box.x[0] + this.box.x[1]) / 2, (this.box.y[0] + this.box.y[1]) / 2];
    this.factor = 1;
  }

  zoom(by) {
    this.factor = Math.min(Math.max(this.factor * by, 0.4), 40);
    this.redraw();
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    this.pointers.set(event.pointerId, event);
    if (this.pointers.size === 2) {
      const [one, other] = [...this.pointers.values()];
      const still = one.pointerId === event.pointerId ? other : one;
      const apart = (point) => Math.hypot(point.clientX - still.clientX, point.clientY - still.clientY);
      this.zoom(apart(event) / Math.max(apart(before), 1));
      return;
    }
    this.centre[0] -= (event.clientX - before.clientX) / this.scale;
    this.centre[1] += (event.clientY - before.clientY) / this.scale;
    this.redraw();
  }

  key(event) {
    const step = 40 / this.scale;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    const zoom = { "+": 1.2, "=": 1.2, "-": 1 / 1.2 }[event.key];
    if (event.key === "Home") this.reset();
    else if (move) this.centre = this.centre.map((value, axis) => value + move[axis]);
    else if (zoom) this.zoom(zoom);
    else return;
    event.preventDefault();
    this.redraw();
  }

  paint(colours) {
    this.colours = colours;
    this.ground = this.heights ? shaded(this.setting.city, this.heights, colours) : null;
  }

  update(state) {
    this.state = state;
    const here = state.track ?? state.truth;
    if (this.following && here) this.centre = [here[0], here[1]];
  }

  follow(on) {
    this.following = on;
    if (on) this.factor = Math.max(this.factor, 4);
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || !height || !this.state) return;
    const dense = Math.min(window.devicePixelRatio, 2);
    const [wide, high] = [Math.round(width * dense), Math.round(height * dense)];
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      [this.canvas.width, this.canvas.height] = [wide, high];
    }
    const { pen, colours, state } = this;
    const { x, y } = this.box;
    this.scale = Math.min(width / (x[1] - x[0]), height / (y[1] - y[0])) * this.factor;
    const px = (value) => width / 2 + (value - this.centre[0]) * this.scale;
    const py = (value) => height / 2 - (value - this.centre[1]) * this.scale;
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.fillStyle = colours.soil;
    pen.fillRect(0, 0, width, height);
    if (this.ground) {
      const { nx, ny, x0, y0, step } = this.setting.city;
      const [left, top] = [px(x0 - step / 2), py(y0 + (ny - 0.5) * step)];
      pen.drawImage(this.ground, left, top, nx * step * this.scale, ny * step * this.scale);
    }
    const path = (points, colour, thick, dash = []) => {
      pen.beginPath();
      for (let i = 0; i < points.length; i += 3) pen.lineTo(px(points[i]), py(points[i + 1]));
      pen.strokeStyle = colour;
      pen.lineWidth = thick;
      pen.setLineDash(dash);
      pen.stroke();
      pen.setLineDash([]);
    };
    const dot = (place, colour, radius, hollow = false) => {
      if (!place) return;
      pen.beginPath();
      pen.arc(px(place[0]), py(place[1]), radius, 0, 2 * Math.PI);
      pen.fillStyle = pen.strokeStyle = colour;
      pen.lineWidth = 2;
      if (hollow) pen.stroke();
      else pen.fill();
    };
    const end = state.track ?? state.truth;
    for (const { at, load, out } of state.links) {
      if (!end) break;
      const { colour, width: thick } = ofLoad(load, colours);
      path([...at, ...end], out ? colours.text : colour, out ? 2 : thick, out ? [2, 5] : []);
    }
    pen.globalAlpha = 0.7;
    for (let i = 0; i < state.fixes.length; i += 3) dot([state.fixes[i], state.fixes[i + 1]], colours.fix, 2.2);
    pen.globalAlpha = 1;
    path(state.truthTrail, colours.truth, 1.5, [5, 4]);
    path(state.trackTrail, colours.track, 2.5);
    if (state.track && state.covariance) {
      const { major, minor, angle } = horizontal(state.covariance);
      const size = IN_PLANE_90 * this.scale;
      pen.beginPath();
      pen.ellipse(px(state.track[0]), py(state.track[1]), major * size, minor * size, -angle, 0, 2 * Math.PI);
      pen.globalAlpha = 0.28;
      pen.fillStyle = colours.track;
      pen.fill();
      pen.globalAlpha = 1;
    }
    for (let i = 0; i < state.others.length; i += 3) dot([state.others[i], state.others[i + 1]], colours.track, 3);
    dot(state.truth, colours.truth, 7, true);
    dot(state.track, colours.track, 4.5);
    pen.font = "600 12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (const { at, out, words } of state.links) {
      const [sx, sy] = [px(at[0]), py(at[1])];
      pen.beginPath();
      pen.moveTo(sx, sy - 8);
      pen.lineTo(sx + 7, sy + 5);
      pen.lineTo(sx - 7, sy + 5);
      pen.closePath();
      pen.fillStyle = out ? colours.quiet : colours.site;
      pen.fill();
      const isRight = sx > width - 80;
      pen.textAlign = isRight ? "right" : "left";
      pen.strokeStyle = colours.page;
      pen.lineWidth = 3;
      const tx = sx + (isRight ? -10 : 10);
      pen.strokeText(words, tx, sy);
      pen.fillStyle = out ? colours.text : colours.site;
      pen.fillText(words, tx, sy);
    }
  }

  remove() {
    this.host.replaceChildren();
  }
}

/** The height map as a picture: higher is stronger. */
function shaded({ nx, ny, scale }, heights, colours) {
  const parse = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const [soil, block] = [parse(colours.soil), parse(colours.block)];
  const picture = document.createElement("canvas");
  [picture.width, picture.height] = [nx, ny];
  const pen = picture.getContext("2d");
  const image = pen.createImageData(nx, ny);
  for (let j = 0; j < ny; j++) {
    for (let i = 0; i < nx; i++) {
      const height = heights[j * nx + i] * scale;
      const share = height < 1.5 ? 0 : Math.min(0.45 + height / 60, 1.1);
      const at = ((ny - 1 - j) * nx + i) * 4;
      for (let k = 0; k < 3; k++) image.data[at + k] = soil[k] + (block[k] - soil[k]) * share;
      image.data[at + 3] = 255;
    }
  }
  pen.putImageData(image, 0, 0);
  return picture;
}

// The city in space: buildings from the height map, sites, links, tracks and the ellipsoid of what is known.

import {
  AmbientLight,
  BufferAttribute,
  BufferGeometry,
  Color,
  ConeGeometry,
  CylinderGeometry,
  DirectionalLight,
  DoubleSide,
  Matrix4,
  Mesh,
  MeshBasicMaterial,
  MeshLambertMaterial,
  PerspectiveCamera,
  PlaneGeometry,
  Points,
  PointsMaterial,
  Scene,
  SphereGeometry,
  Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { Line2 } from "three/addons/lines/Line2.js";
import { LineGeometry } from "three/addons/lines/LineGeometry.js";
import { LineMaterial } from "three/addons/lines/LineMaterial.js";
import { eigen, IN_SPACE_90 } from "./covariance.js";
import { ofLoad } from "./look.js";

const BUILT_FROM_M = 1.5;
const MAST_M = 4;
/** Without a graphics card, drawing is dear: a coarser city, seldom drawn anew. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;
const SELDOM_MS = 250;
/** A UE is never drawn smaller than this share of its distance, so that it is seen from afar. */
const LEAST_OF_DISTANCE = 0.008;

/** A line that shines faintly through buildings. */
class Trail {
  constructor(scene, width, dashed = false) {
    const dashes = dashed ? { dashed: true, dashSize: 1.2, gapSize: 0.9 } : {};
    this.solid = new LineMaterial({ linewidth: width, ...dashes });
    this.faint = new LineMaterial({ linewidth: width, transparent: true, opacity: 0.3, depthTest: false, ...dashes });
    this.lines = [new Line2(new LineGeometry(), this.faint), new Line2(new LineGeometry(), this.solid)];
    this.dashed = dashed;
    for (const line of this.lines) {
      line.frustumCulled = false;
      line.visible = false;
      scene.add(line);
    }
  }

  set(points) {
    const visible = points.length >= 6;
    const geometry = visible ? new LineGeometry().setPositions(points) : null;
    this.lines[0].geometry.dispose();
    for (const line of this.lines) {
      line.visible = visible;
      if (visible) line.geometry = geometry;
    }
    if (visible && this.dashed) this.lines[0].computeLineDistances();
  }

  paint(colour, width) {
    for (const material of [this.solid, this.faint]) {
      material.color.set(colour);
      if (width) material.linewidth = width;
    }
  }
}

export class City3D {
  constructor(host, setting, heights, redraw) {
    this.host = host;
    this.setting = setting;
    this.isSlow = drawsInSoftware();
    this.renderer = new WebGLRenderer({ antialias: !this.isSlow, alpha: true });
    this.renderer.setPixelRatio(this.isSlow ? 1 : Math.min(window.devicePixelRatio, 2));
    this.canvas = this.renderer.domElement;
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-label", "City in three dimensions; arrow keys turn it, plus and minus zoom");
    host.append(this.canvas);
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(42, 1, 1, 3000);
    this.camera.up.set(0, 0, 1);
    this.controls = new OrbitControls(this.camera, this.canvas);
    this.controls.maxPolarAngle = Math.PI * 0.495;
    this.controls.minDistance = 15;
    this.controls.maxDistance = 1200;
    this.controls.addEventListener("change", redraw);
    this.controls.addEventListener("start", () => (this.isTurned = true));
    this.canvas.addEventListener("keydown", (event) => this.key(event));

    this.ambient = new AmbientLight(0xffffff, 1.5);
    this.sun = new DirectionalLight(0xffffff, 2.2);
    this.sun.position.set(-0.5, -0.8, 1.1);
    this.scene.add(this.ambient, this.sun);
    this.block = new MeshLambertMaterial({ flatShading: true, side: DoubleSide });
    this.soil = new MeshBasicMaterial();
    const ground = new Mesh(new PlaneGeometry(4000, 4000), this.soil);
    ground.position.z = -0.3;
    this.scene.add(ground);
    if (heights) this.scene.add(new Mesh(blocks(setting.city, heights, this.isSlow ? 2 : 1), this.block));

    this.truth = new Trail(this.scene, 2, true);
    this.track = new Trail(this.scene, 3);
    this.fixes = new Points(new BufferGeometry(), new PointsMaterial({ size: 5, sizeAttenuation: false }));
    this.fixes.frustumCulled = false;
    this.scene.add(this.fixes);
    this.others = new Points(new BufferGeometry(), new PointsMaterial({ size: 7, sizeAttenuation: false, depthTest: false }));
    this.others.frustumCulled = false;
    this.scene.add(this.others);
    this.here = new Mesh(new SphereGeometry(1.1, 20, 14), new MeshBasicMaterial());
    this.really = new Mesh(new SphereGeometry(0.9, 20, 14), new MeshBasicMaterial());
    this.claim = new Mesh(
      new SphereGeometry(1, 32, 20),
      new MeshBasicMaterial({ transparent: true, opacity: 0.28, depthWrite: false }),
    );
    this.claim.matrixAutoUpdate = false;
    this.scene.add(this.here, this.really, this.claim);
    this.plumb = new Trail(this.scene, 1.5);
    this.sites = new Map();
    for (const { bs, p } of setting.sites) this.addSite(bs, p);
    this.following = false;
    this.reset();
  }

  addSite(bs, [x, y, z]) {
    const material = new MeshLambertMaterial();
    const head = new Mesh(new ConeGeometry(3, 7, 4), material);
    head.rotation.x = Math.PI / 2;
    head.position.set(x, y, z + 3);
    const mast = new Mesh(new CylinderGeometry(0.35, 0.35, z), material);
    mast.rotation.x = Math.PI / 2;
    mast.position.set(x, y, z / 2);
    this.scene.add(head, mast);
    const label = document.createElement("span");
    label.className = "label";
    label.textContent = bs;
    this.host.append(label);
    const out = new Trail(this.scene, 2.5, true);
    this.sites.set(bs, { at: new Vector3(x, y, z), material, label, link: new Trail(this.scene, 2), out });
  }

  /** Look at everything from the south, from above. */
  reset() {
    this.isTurned = false;
    const sites = this.setting.sites.map(({ p }) => p);
    const middle = [0, 1].map((axis) => {
      const along = sites.map((p) => p[axis]);
      return (Math.min(...along) + Math.max(...along)) / 2;
    });
    const far = Math.max(...sites.map((p) => Math.hypot(p[0] - middle[0], p[1] - middle[1])), 60);
    const narrow = Math.max(1, 1.25 / (this.camera.aspect || 1));
    this.controls.target.set(middle[0], middle[1], 5);
    const [aside, back, up] = [0.25, 1.75, 1.35].map((share) => share * far * narrow * 1.12);
    this.camera.position.set(middle[0] + aside, middle[1] - back, up);
    this.controls.update();
  }

  key(event) {
    const turn = { ArrowLeft: [0.08, 0], ArrowRight: [-0.08, 0], ArrowUp: [0, -0.06], ArrowDown: [0, 0.06] }[event.key];
    const zoom = { "+": 0.88, "=": 0.88, "-": 1.14 }[event.key];
    if (event.key === "Home") this.reset();
    else if (turn || zoom) {
      const offset = this.camera.position.clone().sub(this.controls.target);
      if (zoom) offset.multiplyScalar(zoom);
      else {
        offset.applyAxisAngle(new Vector3(0, 0, 1), turn[0]);
        const tilted = offset.clone().applyAxisAngle(new Vector3(-offset.y, offset.x, 0).normalize(), turn[1]);
        if (tilted.z > 2) offset.copy(tilted);
      }
      this.camera.position.copy(this.controls.target).add(offset);
      this.controls.update();
      this.isTurned = true;
    } else return;
    event.preventDefault();
  }

  paint(colours) {
    this.colours = colours;
    this.block.color = new Color(colours.block);
    this.soil.color = new Color(colours.soil);
    this.truth.paint(colours.truth);
    this.track.paint(colours.track);
    this.fixes.material.color.set(colours.fix);
    this.here.material.color.set(colours.track);
    this.plumb.paint(colours.quiet);
    this.others.material.color.set(colours.track);
    this.claim.material.color.set(colours.track);
    this.really.material.color.set(colours.truth);
  }

  update(state) {
    this.truth.set(state.truthTrail);
    this.track.set(state.trackTrail);
    for (const [points, places] of [[this.fixes, state.fixes], [this.others, state.others]]) {
      points.geometry.dispose();
      points.geometry = new BufferGeometry();
      points.geometry.setAttribute("position", new BufferAttribute(new Float32Array(places), 3));
    }
    put(this.really, state.truth);
    put(this.here, state.track);
    const high = state.track ?? state.truth;
    this.plumb.set(high ? [...high, high[0], high[1], 0] : []);
    this.claim.visible = Boolean(state.track && state.covariance);
    if (this.claim.visible) {
      const { values, vectors } = eigen(state.covariance);
      const [a, b, c] = values.map((value) => IN_SPACE_90 * Math.sqrt(value) || 1e-3);
      const [r0, r1, r2] = vectors;
      const [x, y, z] = state.track;
      this.claim.matrix.copy(new Matrix4().set(
        r0[0] * a, r0[1] * b, r0[2] * c, x,
        r1[0] * a, r1[1] * b, r1[2] * c, y,
        r2[0] * a, r2[1] * b, r2[2] * c, z,
        0, 0, 0, 1,
      ));
    }
    for (const { bs, load, out, words } of state.links) {
      const site = this.sites.get(bs);
      const end = state.track ?? state.truth;
      const points = end ? [site.at.x, site.at.y, site.at.z + MAST_M, ...end] : [];
      site.link.set(out ? [] : points);
      site.out.set(out ? points : []);
      const { colour, width } = ofLoad(load, this.colours);
      site.link.paint(colour, width);
      site.out.paint(this.colours.text);
      site.material.color.set(out ? this.colours.quiet : this.colours.site);
      site.label.classList.toggle("out", out);
      site.label.textContent = words;
    }
    if (this.following && (state.track ?? state.truth)) {
      const to = new Vector3(...(state.track ?? state.truth));
      const moved = to.clone().sub(this.controls.target);
      this.controls.target.copy(to);
      this.camera.position.add(moved);
      this.controls.update();
    }
  }

  follow(on) {
    this.following = on;
    if (!on) return;
    // Near enough to see the ellipsoid.
    const offset = this.camera.position.clone().sub(this.controls.target);
    if (offset.length() > 90) offset.setLength(90);
    this.camera.position.copy(this.controls.target).add(offset);
  }

  /** Draw; returns whether it was put off. */
  draw() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || !height) return false;
    const now = performance.now();
    if (this.isSlow && now - (this.drawnAt ?? -Infinity) < SELDOM_MS) return true;
    this.drawnAt = now;
    if (width !== this.width || height !== this.height) {
      [this.width, this.height] = [width, height];
      this.renderer.setSize(width, height, false);
      this.camera.aspect = width / height;
      this.camera.updateProjectionMatrix();
      if (!this.isTurned && !this.following) this.reset();
    }
    for (const ball of [this.here, this.really]) {
      ball.scale.setScalar(Math.max(1, LEAST_OF_DISTANCE * ball.position.distanceTo(this.camera.position)));
    }
    this.renderer.render(this.scene, this.camera);
    const at = new Vector3();
    for (const { at: place, label } of this.sites.values()) {
      at.copy(place).setZ(place.z + 9).project(this.camera);
      const [x, y] = [((at.x + 1) / 2) * width, ((1 - at.y) / 2) * height];
      const seen = at.z < 1 && x > 0 && y > 0 && x < width - 20 && y < height;
      label.hidden = !seen;
      if (!seen) continue;
      const half = label.offsetWidth / 2 + 3; // to the edges
      const inside = Math.max(Math.min(x, width - half), half);
      label.style.transform = `translate(${inside.toFixed(1)}px, ${y.toFixed(1)}px) translate(-50%, -100%)`;
    }
    return false;
  }

  remove() {
    this.controls.dispose();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
    this.host.replaceChildren();
  }
}

function put(mesh, place) {
  mesh.visible = Boolean(place);
  if (place) mesh.position.set(...place);
}

function drawsInSoftware() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return false;
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return SOFTWARE.test(name);
}

/** Every n-th node of the height map in both directions. */
function coarser(city, heights, every) {
  const [nx, ny] = [Math.ceil(city.nx / every), Math.ceil(city.ny / every)];
  const fewer = new Uint16Array(nx * ny);
  for (let j = 0; j < ny; j++) {
    for (let i = 0; i < nx; i++) fewer[j * nx + i] = heights[j * every * city.nx + i * every];
  }
  return [{ ...city, nx, ny, step: city.step * every }, fewer];
}

/** Roofs and walls: the height map as triangles, the ground left out. */
function blocks(city, all, every) {
  const [{ nx, ny, x0, y0, step, scale }, heights] = every === 1 ? [city, all] : coarser(city, all, every);
  const corners = new Float32Array(nx * ny * 3);
  for (let j = 0, at = 0; j < ny; j++) {
    for (let i = 0; i < nx; i++, at += 3) {
      corners[at] = x0 + i * step;
      corners[at + 1] = y0 + j * step;
      corners[at + 2] = heights[j * nx + i] * scale;
    }
  }
  const index = [];
  const low = BUILT_FROM_M / scale;
  for (let j = 0; j + 1 < ny; j++) {
    for (let i = 0; i + 1 < nx; i++) {
      const [a, b, c, d] = [j * nx + i, j * nx + i + 1, (j + 1) * nx + i, (j + 1) * nx + i + 1];
      if (Math.max(heights[a], heights[b], heights[c], heights[d]) < low) continue;
      index.push(a, b, d, a, d, c);
    }
  }
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(corners, 3));
  geometry.setIndex(index);
  return geometry;
}

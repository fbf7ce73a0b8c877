// The page: sliders, motions, the camera around the head, a screenshot.
// For scripts there is window.zero1a: set(weights, view), frame(motion, number, view), picture(size).
"use strict";

const HOME = { yaw: 0, pitch: 0, distance: 1 };
const FADE = 0.35; // seconds to a pose that was asked for
const PHOTO = 1024; // pixels a side of a screenshot
const SMALLEST = 256; // pixels a side, of a picture that is drawn slowly

const byId = (id) => document.getElementById(id);
const softly = (share) => share * share * (3 - 2 * share);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// What Splats draws. Baked Gaussians are each in a frame of its own.
function gaussians({ colour, colourRest, ...arrays }) {
  const count = arrays.logits.length, more = colourRest ? colourRest.length / count : 0;
  const sh = new Float32Array((3 + more) * count);
  for (let n = 0; n < count; n++) {
    sh.set(colour.subarray(3 * n, 3 * n + 3), (3 + more) * n);
    if (more) sh.set(colourRest.subarray(more * n, more * (n + 1)), (3 + more) * n + 3);
  }
  if (arrays.face) return { ...arrays, sh };
  const face = Uint32Array.from({ length: count }, (_, n) => n), quats = new Float32Array(4 * count);
  for (let n = 0; n < count; n++) quats[4 * n] = 1;
  return { ...arrays, sh, face, quats, means: new Float32Array(3 * count) };
}

class Page {
  constructor(data) {
    this.data = data;
    const arrays = Object.fromEntries(Object.entries(data.arrays).map(([name, entry]) => [name, unpack(entry)]));
    this.rigged = data.kind === "rig";
    this.body = this.rigged ? new Rig(data, arrays) : new Baked(data, arrays);
    this.motions = data.motions.map((motion) => ({ ...motion, values: motion.frames && unpack(motion.frames) }));
    this.canvas = byId("head");
    this.splats = new Splats(this.canvas, gaussians(arrays), this.body.frames.length);
    this.side = this.canvas.width; // pixels, as wide as it is shown
    this.quick = 0; // pixels while it moves, where that is slow
    this.view = { ...HOME };
    this.weights = this.rigged ? {} : { from: 0, to: 0, share: 0 };
    this.background = data.background;
    this.visible = true;
    this.stale = true;
    this.drawn = []; // when the last frames were, milliseconds
    this.count = 0;
    this._controls();
    this._orbit();
    this._play();
    new ResizeObserver(() => this._fit()).observe(this.canvas);
    new IntersectionObserver(([entry]) => (this.visible = entry.isIntersecting)).observe(this.canvas);
    requestAnimationFrame((now) => this._tick(now));
  }

  // ---- what is shown

  // The head's parameters of weights by name; those that no slider has (root, translation) are at rest.
  _posed(weights) {
    const pose = restPose(this.data.expressions.length), of = (name) => weights[name] || 0;
    this.data.expressions.forEach((name, k) => (pose.expression[k] = of(name)));
    pose.neck = turned(of("headYaw"), of("headPitch"), of("headRoll"));
    pose.jaw = turned(0, of("jawPitch"), 0);
    pose.leftEye = pose.rightEye = turned(of("eyeYaw"), of("eyePitch"), 0);
    return pose;
  }

  // The head's parameters of a motion at a time in frames, between two of them where it is no whole number.
  _moved(motion, at) {
    const count = motion.count, shapes = this.data.expressions.length, width = shapes + 18;
    const first = Math.floor(at) % count, second = Math.min(first + 1, count - 1), share = at % 1;
    const value = (c) => motion.values[first * width + c] * (1 - share) + motion.values[second * width + c] * share;
    const pose = restPose(shapes), three = (k) => [0, 1, 2].map((axis) => value(shapes + 3 * k + axis));
    for (let k = 0; k < shapes; k++) pose.expression[k] = value(k);
    [...JOINTS, "translation"].forEach((name, k) => (pose[name] = three(k)));
    return pose;
  }

  _baked(motion, at) {
    const first = Math.floor(at) % motion.keys.length, second = (first + 1) % motion.keys.length, share = at % 1;
    return { from: motion.keys[first], to: motion.keys[second], share: softly(share) };
  }

  // World to camera for a view around the head: x right, y down, z forward.
  _camera({ yaw, pitch, distance }) {
    const [a, b] = [yaw, pitch].map((degrees) => (degrees * Math.PI) / 180), target = this.data.target;
    const out = [Math.sin(a) * Math.cos(b), Math.sin(b), Math.cos(a) * Math.cos(b)];
    const eye = out.map((value, axis) => target[axis] + distance * value);
    const right = [Math.cos(a), 0, -Math.sin(a)];
    const down = [Math.sin(a) * Math.sin(b), -Math.cos(b), Math.cos(a) * Math.sin(b)];
    const rows = [right, down, out.map((value) => -value)];
    const view = rows.map((row) => [...row, -row.reduce((sum, value, axis) => sum + value * eye[axis], 0)]);
    return { view, eye, fov: this.data.fov };
  }

  _draw() {
    const motion = this.motion, moving = motion && (this.playing || this.scrubbed);
    if (this.rigged) this.pose = moving ? this._moved(motion, this.time) : this._posed(this.weights);
    else this.pose = moving ? this._baked(motion, this.time) : this.weights;
    this.splats.draw(this.body.pose(this.pose), this._camera(this.view), this.background);
    this.stale = false;
  }

  _tick(now) {
    const seconds = Math.min((now - (this.before || now)) / 1000, 0.25);
    this.before = now;
    requestAnimationFrame((then) => this._tick(then));
    if (!this.visible) return;
    if (this.playing) {
      this.time = (this.time + seconds * this.motion.fps) % this.motion.count;
      byId("scrub").value = this.time;
      this.stale = true;
    }
    if (this.fade) this._fadeOn(seconds);
    if (!this.stale) return this._rest();
    this._side(this.quick || this.side);
    this._draw();
    if (this.playing && ++this.count % 4 === 0) this._show(); // sliders are slower to paint than the head
    this._rate(now);
  }

  _rate(now) {
    this.drawn.push(now);
    if (this.drawn.length < 6) return;
    this.rate = (1000 * (this.drawn.length - 1)) / (now - this.drawn[0]);
    byId("rate").textContent = ` \u00b7 ${this.rate.toFixed(0)} frames a second`;
    // A machine without a graphics card gets a smaller picture instead of a stuttering one.
    const slow = this.rate < 24 && this.canvas.width > SMALLEST;
    if (slow) this.quick = Math.max(SMALLEST, Math.round(this.canvas.width * 0.7));
    if (slow || this.drawn.length > 40) this.drawn = [now];
  }

  // Nothing moves: a picture that was drawn small comes once more at its full size.
  _rest() {
    this.drawn.length = 0;
    if (this.canvas.width < this.side) {
      this._side(this.side);
      this._draw();
    }
  }

  // Pixels a side; to write it clears the picture, even where it is the same.
  _side(pixels) {
    if (this.canvas.width !== pixels) this.canvas.width = this.canvas.height = pixels;
  }

  _fit() {
    this.side = Math.min(Math.round(this.canvas.clientWidth * Math.min(devicePixelRatio, 2)), 1024);
    this.quick = 0;
    this.stale = true;
  }

  // ---- sliders

  _controls() {
    const { data } = this;
    byId("presets").append(...data.presets.map((preset) => element("button", {
      textContent: preset.name, type: "button", onclick: () => this._fadeTo(preset),
    })));
    byId("panel").hidden = byId("both").parentElement.hidden = !this.rigged;
    byId("why").hidden = this.rigged;
    byId("reset").onclick = () => {
      Object.assign(this.view, HOME);
      this._fadeTo(data.presets[0]);
    };
    const digits = (value) => Math.round(255 * value).toString(16).padStart(2, "0");
    byId("background").value = "#" + this.background.map(digits).join("");
    byId("background").oninput = ({ target }) => {
      this.background = [1, 3, 5].map((i) => parseInt(target.value.slice(i, i + 2), 16) / 255);
      this.stale = true;
    };
    byId("photo").onclick = () => this._save();
    byId("mark").hidden = !data.label;
    this.sliders = {};
    if (!this.rigged) return;
    const left = new Set([...data.expressions, ...Object.keys(TURNS)]);
    GROUPS.forEach(([title, pattern], number) => {
      const names = [...left].filter((name) => pattern.test(name));
      names.forEach((name) => left.delete(name));
      if (!names.length) return;
      const rows = names.map((name) => this._slider(name));
      const open = number === 0 && innerWidth > 760;
      byId("panel").append(element("details", { open }, element("summary", { textContent: title }), ...rows));
    });
  }

  _slider(name) {
    const [min, max] = TURNS[name] || [0, 1];
    const number = element("output", { textContent: name in TURNS ? "0\u00b0" : "0.00" });
    const input = element("input", { type: "range", min, max, step: (max - min) / 100, value: 0, name });
    input.setAttribute("aria-label", name);
    input.oninput = () => this._slide(name, Number(input.value));
    this.sliders[name] = { input, number };
    return element("label", {}, element("span", { textContent: name }), input, number);
  }

  _slide(name, value) {
    this._hold();
    this.weights[name] = value;
    const other = partner(name);
    if (byId("both").checked && other in this.sliders) this.weights[other] = value;
    this._show();
    this.stale = true;
  }

  // Sliders where the head is: also while a motion plays.
  _show() {
    if (!this.rigged) return;
    for (const [name, { input, number }] of Object.entries(this.sliders)) {
      const value = this._value(name);
      if (Math.abs(value - (number.shown || 0)) < 0.004) continue;
      number.shown = value;
      input.value = value;
      number.textContent = name in TURNS ? `${value.toFixed(0)}\u00b0` : value.toFixed(2);
    }
  }

  _value(name) {
    if (!this.playing && !this.scrubbed) return this.weights[name] || 0;
    const k = this.data.expressions.indexOf(name), degrees = 180 / Math.PI;
    if (k >= 0) return this.pose.expression[k];
    const { neck, leftEye, jaw } = this.pose, head = { headYaw: neck[1], headPitch: neck[0], headRoll: neck[2] };
    return { ...head, eyeYaw: leftEye[1], eyePitch: leftEye[0], jawPitch: jaw[0] }[name] * degrees;
  }

  // Stops the motion where it is, so that sliders go on from there.
  _hold() {
    if ((this.playing || this.scrubbed) && this.rigged)
      for (const name of Object.keys(this.sliders)) this.weights[name] = this._value(name);
    else if (this.playing || this.scrubbed) this.weights = this.pose;
    this.playing = this.scrubbed = false;
    this.fade = null;
    byId("play").textContent = "Play";
  }

  _fadeTo(preset) {
    this._hold();
    if (!this.rigged) {
      const here = this.weights.share > 0.5 ? this.weights.to : this.weights.from;
      this.weights = { from: here, to: preset.key, share: 0 };
    }
    this.fade = { start: { ...this.weights }, end: preset.weights || {}, share: 0 };
  }

  _fadeOn(seconds) {
    const { fade } = this, share = (fade.share = Math.min(1, fade.share + seconds / FADE)), soft = softly(share);
    if (this.rigged)
      for (const name of new Set([...Object.keys(fade.start), ...Object.keys(fade.end)]))
        this.weights[name] = (fade.start[name] || 0) * (1 - soft) + (fade.end[name] || 0) * soft;
    else this.weights.share = soft;
    if (share === 1) this.fade = null;
    this._show();
    this.stale = true;
  }

  // ---- motions

  _play() {
    const list = byId("motion"), scrub = byId("scrub");
    list.append(...this.motions.map(({ name }, number) => element("option", { textContent: name, value: number })));
    const choose = () => {
      this.motion = this.motions[Number(list.value)];
      this.time = 0;
      Object.assign(scrub, { max: this.motion.count - 1, value: 0 });
    };
    const start = () => {
      this.fade = null;
      this.playing = true;
      byId("play").textContent = "Pause";
    };
    byId("player").hidden = !this.motions.length;
    if (!this.motions.length) return;
    choose();
    list.onchange = () => (choose(), start());
    byId("play").onclick = () => (this.playing ? this._hold() : start());
    scrub.oninput = () => {
      this._hold();
      this.time = Number(scrub.value);
      this.scrubbed = this.stale = true;
      this._draw();
      this._show();
    };
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) start();
  }

  // ---- the camera

  _orbit() {
    const canvas = this.canvas, touches = new Map();
    const spread = () => {
      const [a, b] = [...touches.values()];
      return Math.hypot(a.x - b.x, a.y - b.y);
    };
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      touches.set(event.pointerId, { x: event.clientX, y: event.clientY });
    };
    canvas.onpointerup = canvas.onpointercancel = (event) => touches.delete(event.pointerId);
    canvas.onpointermove = (event) => {
      const before = touches.get(event.pointerId), now = { x: event.clientX, y: event.clientY };
      if (!before) return;
      const wide = touches.size > 1 && spread();
      touches.set(event.pointerId, now);
      if (touches.size > 1) this._zoom(wide / spread());
      else this._turn((before.x - now.x) * 0.35, (now.y - before.y) * 0.35);
    };
    canvas.onwheel = (event) => {
      event.preventDefault();
      this._zoom(Math.exp(event.deltaY * 0.001));
    };
    canvas.ondblclick = () => (Object.assign(this.view, HOME), (this.stale = true));
    canvas.onkeydown = ({ key }) => {
      const step = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, 5], ArrowDown: [0, -5] }[key];
      if (step) this._turn(...step);
    };
  }

  _turn(yaw, pitch) {
    this.view.yaw = ((this.view.yaw + yaw + 540) % 360) - 180;
    this.view.pitch = clamp(this.view.pitch + pitch, -80, 80);
    this.stale = true;
  }

  _zoom(factor) {
    this.view.distance = clamp(this.view.distance * factor, 0.35, 3);
    this.stale = true;
  }

  // ---- pictures

  // The picture as a data URL, with the word in its corner where the avatar is labelled.
  _picture(pixels) {
    this._side(pixels);
    this._draw();
    this.stale = true; // at its own size
    const flat = element("canvas", { width: this.canvas.width, height: this.canvas.height });
    const context = flat.getContext("2d");
    context.drawImage(this.canvas, 0, 0);
    if (this.data.label) {
      const side = Math.max(12, flat.height / 16);
      Object.assign(context, { font: `${side}px sans-serif`, fillStyle: "#fff", strokeStyle: "#000" });
      Object.assign(context, { lineWidth: side / 5, lineJoin: "round" });
      context.strokeText("synthetic", side / 3, flat.height - side / 3);
      context.fillText("synthetic", side / 3, flat.height - side / 3);
    }
    return flat.toDataURL("image/png");
  }

  _save() {
    const file = told(this._picture(PHOTO).split(",")[1], this.data.chunks);
    const link = element("a", { href: URL.createObjectURL(file), download: "avatar.png" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

// A .png in base64 with text chunks that say where it comes from behind its signature and header.
function told(png, chunks) {
  const [file, said] = [png, chunks].map((text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));
  return new Blob([file.subarray(0, 33), said, file.subarray(33)], { type: "image/png" });
}

function start() {
  try {
    const page = new Page(JSON.parse(byId("data").textContent));
    const look = (view) => Object.assign(page.view, HOME, view);
    window.zero1a = {
      page,
      set(weights, view = {}) {
        page._hold();
        page.weights = { ...weights };
        look(view);
        page._draw();
        page._show();
      },
      frame(motion, number, view = {}) {
        page._hold();
        page.motion = page.motions[motion];
        Object.assign(page, { time: number, scrubbed: true });
        look(view);
        page._draw();
      },
      picture: (pixels = PHOTO) => page._picture(pixels),
    };
  } catch (error) {
    byId("trouble").hidden = false;
    byId("trouble").textContent = `The head cannot be shown: ${error.message}.`;
    throw error;
  }
}

start();

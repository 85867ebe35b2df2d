// What is looked at: the camera, the layouts and the way between them, frames and how many of them a second.

const STEP_MS = 900;
const SLOW = 26; // Milliseconds a frame from which a moving map is drawn coarser, and below which finer again.
const QUICK = 18;
const COARSEST = 0.35;
const STILL = 140; // Milliseconds after which a map that stands still is drawn sharp.
const TALLEST = 520; // Pixels of the longer side of a picture that is zoomed in upon.

class View {
  constructor(canvas, store, sheets, told) {
    Object.assign(this, { canvas, store, sheets, told });
    this.camera = { x: 0, y: 0, zoom: 1 };
    this.layout = "cloud";
    this.before = "cloud";
    this.way = 1;
    this.size = 1;
    this.selected = -1;
    this.look = { paper: [250, 248, 243], mark: [179, 52, 28] };
    this.moves = [];
    this.states = new Uint8Array(store.count);
    this.scene = new Scene(canvas, store, sheets, () => this.redraw());
    this.rates = [];
    this.sharp = 1;
    this.seen = 0;
    this.observer = new ResizeObserver(() => (this.fitted ? this.fit(false) : this.redraw()));
    this.observer.observe(canvas);
  }

  begin() {
    this.scene.upload("start", this.places());
    this.scene.upload("end", this.places());
    this.recolour();
    this.restate();
    this.fit(false);
    this.scene.begin();
  }

  places(layout = this.layout) {
    return this.store.layouts[layout].places;
  }

  recolour() {
    this.scene.upload("colour", this.store.colours);
    this.redraw();
  }

  restate() {
    this.states.set(this.store.shown);
    if (this.selected >= 0) this.states[this.selected] = 2;
    this.scene.upload("state", this.states);
    this.redraw();
  }

  /** The camera that shows a box, as large as it goes. */
  framing({ left, right, bottom, top }) {
    const [wide, high] = [this.canvas.clientWidth || 1, this.canvas.clientHeight || 1];
    const room = this.layout === "cloud" ? 1.06 : 1.02;
    const zoom = Math.min(wide / ((right - left + 1.2) * room), high / ((top - bottom + 1.6) * room));
    return { x: (left + right) / 2, y: (bottom + top) / 2, zoom: Math.min(zoom, TALLEST) };
  }

  fit(slowly = true) {
    this.goTo(this.framing(this.store.layouts[this.layout].bounds), slowly ? STEP_MS : 0);
    this.fitted = true;
  }

  /** Pixels of the longer side of a picture. In the cloud it grows slower than the map, so that overlaps come apart. */
  side(layout = this.layout, zoom = this.camera.zoom) {
    if (layout !== "cloud") return zoom * 0.86 * Math.min(this.size, 1);
    const whole = this.framing(this.store.layouts.cloud.bounds).zoom;
    return Math.min(Math.max(7, whole * 1.25) * this.size * (zoom / whole) ** 0.8, TALLEST);
  }

  layOut(layout) {
    if (layout === this.layout || !(layout in this.store.layouts)) return;
    this.before = this.layout;
    this.layout = layout;
    this.scene.upload("start", this.places(this.before));
    this.scene.upload("end", this.places());
    this.way = 0;
    this.moves = [{ kind: "way", since: performance.now(), lasts: reduced() ? 1 : STEP_MS }];
    this.fit(!reduced());
    this.told("layout");
  }

  goTo(camera, lasts = STEP_MS) {
    this.fitted = false;
    this.moves = this.moves.filter(({ kind }) => kind !== "camera");
    if (lasts && !reduced()) this.moves.push({ kind: "camera", since: performance.now(), lasts, from: { ...this.camera }, to: camera });
    else this.camera = { ...camera };
    this.redraw();
  }

  zoomBy(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const here = this.world(x, y);
    const zoom = Math.min(Math.max(this.camera.zoom * factor, 0.2 * this.framing(this.store.layouts[this.layout].bounds).zoom), TALLEST);
    const there = { x: here.x - (x - this.canvas.clientWidth / 2) / zoom, y: here.y + (y - this.canvas.clientHeight / 2) / zoom, zoom };
    this.goTo(there, 0);
  }

  panBy(x, y) {
    this.goTo({ ...this.camera, x: this.camera.x - x / this.camera.zoom, y: this.camera.y + y / this.camera.zoom }, 0);
  }

  world(x, y) {
    const { camera, canvas } = this;
    return { x: camera.x + (x - canvas.clientWidth / 2) / camera.zoom, y: camera.y - (y - canvas.clientHeight / 2) / camera.zoom };
  }

  screen(x, y) {
    const { camera, canvas } = this;
    return { x: (x - camera.x) * camera.zoom + canvas.clientWidth / 2, y: (camera.y - y) * camera.zoom + canvas.clientHeight / 2 };
  }

  /** The picture at a place of the screen, -1 if there is none. */
  at(x, y) {
    const { store } = this;
    const side = this.side();
    const places = this.places();
    let found = -1;
    for (let i = 0; i < store.count; i++) {
      if (!store.shown[i] || (found >= 0 && i !== this.selected)) continue;
      const longest = Math.max(store.shapes[2 * i], store.shapes[2 * i + 1]) || 1;
      const scale = side / longest / 2;
      const where = this.screen(places[2 * i], places[2 * i + 1]);
      const [wide, high] = [(store.shapes[2 * i] || 64) * scale, (store.shapes[2 * i + 1] || 64) * scale];
      if (Math.abs(x - where.x) <= Math.max(wide, 4) && Math.abs(y - where.y) <= Math.max(high, 4)) found = i;
    }
    return found;
  }

  select(i, seen = false) {
    this.selected = i;
    this.restate();
    if (i >= 0 && seen) {
      const { x, y } = this.screen(this.places()[2 * i], this.places()[2 * i + 1]);
      const margin = 60;
      if (x < margin || y < margin || x > this.canvas.clientWidth - margin || y > this.canvas.clientHeight - margin) {
        this.goTo({ ...this.camera, x: this.places()[2 * i], y: this.places()[2 * i + 1] }, 250);
      }
    }
    this.told("selected");
  }

  /** The nearest picture that is shown from the selected one, or from the middle, in a direction. */
  beside(dx, dy) {
    const places = this.places();
    const from = this.selected >= 0 ? { x: places[2 * this.selected], y: places[2 * this.selected + 1] } : this.camera;
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < this.store.count; i++) {
      if (i === this.selected || !this.store.shown[i]) continue;
      const [x, y] = [places[2 * i] - from.x, places[2 * i + 1] - from.y];
      const along = x * dx + y * dy;
      const aside = Math.abs(x * dy) + Math.abs(y * dx);
      const far = Math.hypot(along, 2 * aside);
      if ((this.selected < 0 || (along > 1e-6 && aside <= along)) && far < least) [best, least] = [i, far];
    }
    return best;
  }

  redraw() {
    this.asked ??= requestAnimationFrame((now) => this.frame(now));
  }

  frame(now) {
    this.asked = null;
    this.count(now);
    for (const move of this.moves) {
      const part = Math.min(Math.max((now - move.since) / move.lasts, 0), 1);
      const eased = part * part * (3 - 2 * part);
      if (move.kind === "way") this.way = eased;
      else {
        const zoom = move.from.zoom * (move.to.zoom / move.from.zoom) ** eased;
        this.camera = { x: move.from.x + (move.to.x - move.from.x) * eased, y: move.from.y + (move.to.y - move.from.y) * eased, zoom };
      }
      move.done = part >= 1;
    }
    this.moves = this.moves.filter(({ done }) => !done);
    this.tour?.(now);
    const side = this.side(this.before) * (1 - this.way) + this.side() * this.way;
    const paint = (sharp) => this.scene.draw(this.camera, this.way, side, this.look, this.places(), this.selected, sharp);
    paint(this.moves.length || this.rates.length ? this.sharp : 1);
    this.told("drawn");
    clearTimeout(this.settling);
    if (this.moves.length || this.tour) this.redraw();
    else this.settling = setTimeout(() => this.settle(side, paint), STILL);
  }

  settle(side, paint) {
    if (this.sharp < 1) paint(1);
    this.last = undefined;
    this.rates = [];
    if (side >= CLOSE) this.scene.want(this.inView(side));
  }

  /** The pictures that are on the screen, those in the middle first. */
  inView(side = this.side()) {
    const places = this.places();
    const [wide, high] = [this.canvas.clientWidth + side, this.canvas.clientHeight + side].map((edge) => edge / 2 / this.camera.zoom);
    const found = [];
    for (let i = 0; i < this.store.count; i++) {
      const [x, y] = [places[2 * i] - this.camera.x, places[2 * i + 1] - this.camera.y];
      if (Math.abs(x) < wide && Math.abs(y) < high && this.store.shown[i]) found.push([x * x + y * y, i]);
    }
    return found.sort((a, b) => a[0] - b[0]).map(([, i]) => i);
  }

  /** Count frames that follow each other without a pause: what a reader sees while the map moves. */
  count(now) {
    if (this.last !== undefined && now - this.last < 500 && now > this.last) this.rates.push(now - this.last);
    else this.rates = [];
    if (this.rates.length > 90) this.rates.shift();
    this.last = now;
    this.seen = this.rates.length ? this.seen + 1 : 0;
    if (this.seen < 6) return;
    // A slow machine draws fewer pixels while the map moves, rather than fewer frames.
    const lately = this.rates.slice(-5).reduce((sum, one) => sum + one, 0) / 5;
    if (lately > SLOW) this.sharp = Math.max(COARSEST, this.sharp * 0.8);
    else if (lately < QUICK) this.sharp = Math.min(1, this.sharp * 1.06);
    this.seen = 0;
  }

  get rate() {
    if (this.rates.length < 5) return null;
    return 1000 / (this.rates.reduce((sum, one) => sum + one, 0) / this.rates.length);
  }

  /** Fly over the map for a while, and tell how many frames a second were seen, by the counter that the page shows. */
  measure(milliseconds) {
    return new Promise((resolve) => {
      const whole = this.framing(this.store.layouts[this.layout].bounds);
      const frames = [];
      let since = null;
      let coarsest = 1;
      this.moves = [];
      this.tour = (now) => {
        since ??= now;
        frames.push(now);
        coarsest = Math.min(coarsest, this.sharp);
        const part = Math.min((now - since) / milliseconds, 1);
        const depth = (1 - Math.cos(part * 4 * Math.PI)) / 2; // In and out, twice.
        const reach = 0.3 * depth * (this.canvas.clientHeight / whole.zoom);
        this.camera = {
          x: whole.x + reach * Math.cos(part * 6), y: whole.y + reach * Math.sin(part * 6), zoom: whole.zoom * 12 ** depth,
        };
        if (part < 1) return;
        this.tour = null;
        const gaps = frames.slice(1).map((at, n) => at - frames[n]).sort((a, b) => a - b);
        resolve({
          layout: this.layout, pictures: this.store.count, frames: gaps.length,
          mean: (1000 * gaps.length) / (frames.at(-1) - frames[0]),
          slowest: 1000 / gaps.at(-1), slow5: 1000 / gaps[Math.floor(gaps.length * 0.95)], coarsest,
        });
      };
      this.redraw();
    });
  }
}

function reduced() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

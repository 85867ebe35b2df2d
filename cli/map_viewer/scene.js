// The pictures drawn by the graphics card: one call draws all that are in view, as rectangles that take their part of
// a sheet. Not as instances of one rectangle: who draws in software makes a drawing of its own of each instance.

const FAR = 12; // Pixels of the screen up to which pictures are drawn in the plainest way: tinted, without a frame.
const CLOSE = 44; // Pixels of the screen from which a picture is drawn from its large thumbnail.
const LAYERS = 4; // Of 256 large thumbnails each, which are kept on the graphics card.
const AT_ONCE = 16; // Large thumbnails taken up in one frame.

const VERTEX = `precision highp float;
layout(location = 1) in vec2 start;
layout(location = 2) in vec2 end;
layout(location = 3) in vec2 shape;
layout(location = 4) in vec4 colour;
layout(location = 5) in vec3 tone;
layout(location = 6) in float state;
layout(location = 7) in float slot;
uniform vec2 middle, viewport;
uniform float zoom, way, side, place, across, count, ready, tint;
uniform highp float sheet;
uniform highp vec3 paper;
#ifdef FAR
out vec2 at;
flat out float layer;
flat out vec4 mixed;
#else
out vec2 at;
flat out vec2 inner, extent, frame;
flat out vec3 origin, detail;
flat out vec4 ring, plain;
#endif
void main() {
  float number = float(gl_VertexID / 4);
  vec2 corner = vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1);
  float size = side * (state < 0.5 ? 0.4 : state > 1.5 ? max(1.0, 26.0 / side) : 1.0);
  vec2 drawn = max(vec2(1.0), shape / max(shape.x, shape.y) * size);
  float within = mod(number, across * across);
  vec3 spot = vec3(mod(within, across), floor(within / across), floor(number / (across * across)));
  if (spot.z >= ready) spot.z = -1.0;
#ifdef FAR
  float border = 0.0;
  at = (spot.xy + mix(vec2(0.5 / place), shape - 0.5 / place, corner)) * place / sheet;
  layer = max(spot.z, 0.0);
  mixed = state < 0.5 ? vec4(mix(tone, paper, 0.86), 1.0) : spot.z < 0.0 ? vec4(mix(tone, colour.rgb, tint * colour.a), 1.0)
    : vec4(colour.rgb, colour.a * tint);
#else
  float border = state > 1.5 ? 4.0 : colour.a > 0.5 && state > 0.5 ? clamp(size * 0.06, 1.0, 4.0) : 0.0;
  extent = drawn;
  frame = vec2(border);
  inner = shape;
  at = (corner - 0.5) * (extent + 2.0 * border) + 0.5 * extent;
  origin = spot;
  detail = slot < 0.0 ? vec3(0.0, 0.0, -1.0)
    : vec3(mod(slot, 16.0), mod(floor(slot / 16.0), 16.0), floor(slot / 256.0));
  ring = state > 1.5 ? vec4(0.0, 0.0, 0.0, 2.0) : vec4(colour.rgb, colour.a);
  plain = vec4(tone, state < 0.5 ? 0.86 : 0.0);
#endif
  vec2 screen = (mix(start, end, way) - middle) * zoom + (corner - 0.5) * (drawn + 2.0 * border) * vec2(1.0, -1.0);
  float depth = (state < 0.5 ? 0.8 : state > 1.5 ? -0.9 : 0.0) + number / count * 0.19;
  gl_Position = vec4(2.0 * screen / viewport, depth, 1.0);
}`;

const FRAGMENT = `precision mediump float;
precision highp int;
precision mediump sampler2DArray;
uniform highp float place, sheet, coarse, tint;
uniform highp vec3 paper;
uniform vec3 mark;
uniform sampler2DArray small, large;
out vec4 drawn;
in highp vec2 at;
#ifdef FAR
flat in highp float layer;
flat in vec4 mixed;
void main() {
  drawn = vec4(mix(textureLod(small, vec3(at, layer), coarse).rgb, mixed.rgb, mixed.a), 1.0);
}
#else
flat in highp vec2 inner, extent, frame;
flat in highp vec3 origin, detail;
flat in vec4 ring, plain;
void main() {
  highp vec2 part = at / extent;
  if (part.x < 0.0 || part.y < 0.0 || part.x > 1.0 || part.y > 1.0) {
    drawn = vec4(ring.a > 1.5 ? mark : ring.rgb, 1.0);
    return;
  }
  vec3 seen = plain.rgb;
  highp vec2 spot = part * inner;
  if (detail.z >= 0.0) {
    highp vec2 high = (detail.xy * 128.0 + clamp(spot * 128.0, vec2(0.5), max(vec2(0.5), inner * 128.0 - 0.5))) / 2048.0;
    seen = textureLod(large, vec3(high, detail.z), 0.0).rgb;
  } else if (origin.z >= 0.0) {
    highp vec2 low = (origin.xy * place + clamp(spot * place, vec2(0.5), max(vec2(0.5), inner * place - 0.5))) / sheet;
    seen = textureLod(small, vec3(low, origin.z), coarse).rgb;
  }
  if (ring.a > 0.5 && ring.a < 1.5) seen = mix(seen, ring.rgb, tint);
  drawn = vec4(mix(seen, paper, plain.a), 1.0);
}
#endif`;

class Scene {
  constructor(canvas, store, sheets, redraw) {
    Object.assign(this, { canvas, store, sheets, redraw });
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, powerPreference: "high-performance" });
    if (!gl) throw new Error("no WebGL 2");
    this.gl = gl;
    this.programs = ["", "#define FAR"].map((define) => {
      const program = this.compiled(define);
      const uniforms = new Proxy({}, { get: (known, name) => (known[name] ??= gl.getUniformLocation(program, name)) });
      return { program, uniforms };
    });
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LESS);
    this.ready = 0;
    this.buffers();
    this.textures();
    this.slots = new Float32Array(store.count).fill(-1);
    this.owners = new Int32Array(LAYERS * 256).fill(-1);
    this.used = new Float64Array(LAYERS * 256);
    this.queue = [];
    this.asked = new Set();
    this.scratch = Object.assign(document.createElement("canvas"), { width: 128, height: 128 });
    this.pen = this.scratch.getContext("2d", { willReadFrequently: true });
    this.upload("slot", this.slots);
  }

  compiled(define) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, `#version 300 es\n${define}\n${source}`);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    return program;
  }

  buffers() {
    const { gl, store } = this;
    this.arrays = {};
    const attribute = (name, location, size, type, normalised) => {
      const buffer = gl.createBuffer();
      this.arrays[name] = { buffer, size };
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, size, type, normalised, 0, 0);
    };
    attribute("start", 1, 2, gl.FLOAT, false);
    attribute("end", 2, 2, gl.FLOAT, false);
    attribute("shape", 3, 2, gl.FLOAT, false);
    attribute("colour", 4, 4, gl.UNSIGNED_BYTE, true);
    attribute("tone", 5, 3, gl.UNSIGNED_BYTE, true);
    attribute("state", 6, 1, gl.UNSIGNED_BYTE, false);
    attribute("slot", 7, 1, gl.FLOAT, false);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    this.corners = new Uint32Array(6 * store.count);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, this.corners.byteLength, gl.DYNAMIC_DRAW);
    // What cannot be read is drawn as a small square.
    this.upload("shape", Float32Array.from(store.shapes, (value) => (value || 64) / this.sheets.sizes.large.place));
    this.upload("tone", store.tones);
  }

  /** Give the graphics card values of all pictures: to each of their four corners. */
  upload(name, values) {
    const { gl } = this;
    const { buffer, size } = this.arrays[name];
    const all = new values.constructor(4 * values.length);
    for (let i = 0; i < this.store.count; i++) {
      for (let corner = 0; corner < 4; corner++) {
        for (let part = 0; part < size; part++) all[(4 * i + corner) * size + part] = values[i * size + part];
      }
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, all, gl.DYNAMIC_DRAW);
  }

  /** Say which pictures are drawn, and return their number: those that may be in view, where nothing is on its way. */
  choose(camera, places, margin, wide, high) {
    const { gl, corners } = this;
    const [reach, rise] = [(wide / 2 + margin) / camera.zoom, (high / 2 + margin) / camera.zoom];
    let at = 0;
    for (let i = 0; i < this.store.count; i++) {
      if (places && (Math.abs(places[2 * i] - camera.x) > reach || Math.abs(places[2 * i + 1] - camera.y) > rise)) continue;
      const first = 4 * i;
      corners[at++] = first;
      corners[at++] = first + 1;
      corners[at++] = first + 2;
      corners[at++] = first + 2;
      corners[at++] = first + 1;
      corners[at++] = first + 3;
    }
    gl.bufferSubData(gl.ELEMENT_ARRAY_BUFFER, 0, corners, 0, at);
    return at;
  }

  textures() {
    const { gl } = this;
    const { place, side, files } = this.sheets.sizes.small;
    const made = (unit, levels, edge, layers) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, gl.createTexture());
      gl.texStorage3D(gl.TEXTURE_2D_ARRAY, levels, gl.RGBA8, edge, edge, layers);
      gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
      gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    };
    made(0, Math.log2(place), side, files); // Down to two pixels a picture: smaller ones would mix with their neighbours.
    made(1, 1, 2048, LAYERS);
    for (const { program, uniforms } of this.programs) {
      gl.useProgram(program);
      gl.uniform1i(uniforms.small, 0);
      gl.uniform1i(uniforms.large, 1);
      gl.uniform1f(uniforms.place, place);
      gl.uniform1f(uniforms.sheet, side);
      gl.uniform1f(uniforms.across, side / place);
      gl.uniform1f(uniforms.count, this.store.count);
    }
  }

  /** Load the sheets of small thumbnails, one after the other; until then pictures are patches of their mean colour. */
  async begin() {
    const { gl } = this;
    for (let number = 0; number < this.sheets.sizes.small.files; number++) {
      const sheet = await this.sheets.load("small", number);
      gl.activeTexture(gl.TEXTURE0);
      gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, number, sheet.width, sheet.height, 1, gl.RGBA, gl.UNSIGNED_BYTE, sheet);
      this.ready = number + 1;
      this.redraw();
    }
    gl.activeTexture(gl.TEXTURE0);
    gl.generateMipmap(gl.TEXTURE_2D_ARRAY);
    gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_NEAREST);
    this.redraw();
  }

  resize(ratio) {
    const [wide, high] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const [w, h] = [Math.max(1, Math.round(wide * ratio)), Math.max(1, Math.round(high * ratio))];
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    this.gl.viewport(0, 0, w, h);
    return [wide, high];
  }

  /** `sharp`: which part of the screen's pixels is drawn, of 1, across and down. */
  draw(camera, way, side, look, places, selected, sharp = 1) {
    const { gl } = this;
    const ratio = (globalThis.devicePixelRatio || 1) * sharp;
    const [wide, high] = this.resize(ratio);
    gl.clearColor(...look.paper.map((part) => part / 255), 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const { place, files } = this.sheets.sizes.small;
    const finest = this.ready < files ? 0 : Math.max(0, Math.log2(place / (side * ratio)));
    const values = {
      zoom: camera.zoom, way, side, ready: this.ready, coarse: finest, tint: Math.min(Math.max((14 - side) / 14, 0), 0.6),
    };
    const using = ({ program, uniforms }) => {
      gl.useProgram(program);
      for (const [name, value] of Object.entries(values)) gl.uniform1f(uniforms[name], value);
      gl.uniform2f(uniforms.middle, camera.x, camera.y);
      gl.uniform2f(uniforms.viewport, wide, high);
      gl.uniform3f(uniforms.paper, ...look.paper.map((part) => part / 255));
      gl.uniform3f(uniforms.mark, ...look.mark.map((part) => part / 255));
    };
    const many = this.choose(camera, way === 1 ? places : null, Math.max(side, 26) + 8, wide, high);
    const [near, far] = this.programs;
    using(near);
    if (side > FAR) gl.drawElements(gl.TRIANGLES, many, gl.UNSIGNED_INT, 0);
    else {
      if (selected >= 0) gl.drawArrays(gl.TRIANGLE_STRIP, 4 * selected, 4);
      using(far);
      gl.drawElements(gl.TRIANGLES, many, gl.UNSIGNED_INT, 0);
    }
  }

  /** Let the pictures that are seen close by be drawn from their large thumbnails, those in the middle first. */
  want(pictures) {
    const now = performance.now();
    this.queue = [];
    for (const i of pictures.slice(0, this.owners.length)) {
      if (this.slots[i] >= 0) this.used[this.slots[i]] = now;
      else if (this.store.shapes[2 * i]) this.queue.push(i);
    }
    this.frame = now;
    const numbers = new Set(this.queue.map((i) => this.sheets.place(i).number));
    for (const number of [...numbers].slice(0, this.sheets.most)) {
      if (this.asked.has(number)) continue;
      this.asked.add(number);
      this.sheets.load("large", number).then((sheet) => {
        this.asked.delete(number);
        this.take(number, sheet);
      });
    }
  }

  take(number, sheet) {
    const mine = this.queue.filter((i) => this.sheets.place(i).number === number);
    const some = mine.slice(0, AT_ONCE);
    for (const i of some) this.put(i, sheet);
    this.queue = this.queue.filter((i) => !some.includes(i));
    if (some.length) {
      this.upload("slot", this.slots);
      this.redraw();
    }
    if (mine.length > AT_ONCE) requestAnimationFrame(() => this.take(number, sheet));
    else if (this.queue.length) this.want([...this.queue]);
  }

  put(i, sheet) {
    const { gl } = this;
    let slot = 0;
    for (let other = 1; other < this.used.length; other++) if (this.used[other] < this.used[slot]) slot = other;
    if (this.owners[slot] >= 0) this.slots[this.owners[slot]] = -1;
    Object.assign(this.owners, { [slot]: i });
    this.slots[i] = slot;
    this.used[slot] = performance.now();
    const { x, y, place } = this.sheets.place(i);
    this.pen.drawImage(sheet, x, y, place, place, 0, 0, 128, 128);
    gl.activeTexture(gl.TEXTURE1);
    gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, (slot % 16) * 128, (Math.floor(slot / 16) % 16) * 128,
      Math.floor(slot / 256), 128, 128, 1, gl.RGBA, gl.UNSIGNED_BYTE, this.scratch);
  }
}

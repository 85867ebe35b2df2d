// What the map holds: arrays from data.js, which pictures are meant, and what colour each has.

const PALETTE = ["#c8442b", "#1f7a8c", "#d9a021", "#5b8c3a", "#7d4e9e", "#d6718f", "#3d5a98", "#8a5a2b", "#3fa796",
  "#9c9c2e", "#b06a9a", "#5f6f7a"];
const OTHERS = "#9a9288";
const RAMP = ["#3b2a7a", "#2c5f9e", "#1f8f8a", "#5fb35a", "#d8c63a", "#f2a13a", "#d6472f"];
const FEW = 12;

function bytes(text, Type) {
  const raw = atob(text);
  const packed = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) packed[i] = raw.charCodeAt(i);
  return new Type(packed.buffer);
}

function plain(text) {
  return text.toLowerCase().normalize("NFD").replace(/\p{M}/gu, "");
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

class Store {
  constructor(data) {
    Object.assign(this, { data, count: data.count, columns: data.columns });
    this.shapes = bytes(data.shapes, Uint8Array);
    this.tones = bytes(data.tones, Uint8Array);
    this.years = bytes(data.time.years, Float32Array);
    this.cluster = bytes(data.cluster, Int16Array);
    this.fields = data.fields.map((field) => ({ ...field, codes: bytes(field.codes, Int32Array) }));
    const rows = Math.ceil(this.count / this.columns);
    const cells = Float32Array.from(bytes(data.grid, Uint16Array));
    this.layouts = {
      cloud: { places: bytes(data.cloud, Float32Array) },
      grid: { places: cells.map((value, i) => i % 2 ? rows - 1 - value : value) },
    };
    this.dated = this.years.some((year) => !Number.isNaN(year));
    if (this.dated) this.layouts.time = { places: bytes(data.time.places, Float32Array), ticks: data.time.ticks };
    for (const layout of Object.values(this.layouts)) layout.bounds = bounds(layout.places);
    this.shown = new Uint8Array(this.count).fill(1);
    this.colours = new Uint8Array(this.count * 4);
    this.filter = { words: "", from: -Infinity, to: Infinity, undated: true, picked: null };
    this.texts = null;
    this.colouring = null;
  }

  /** What pictures can be coloured by: the clusters, fields with few values, fields of numbers or times. */
  colourings() {
    const offered = this.data.clusters.length ? [{ id: "cluster", kind: "cluster" }] : [];
    for (const [number, field] of this.fields.entries()) {
      const many = field.values.length;
      const values = field.key === this.data.time.key ? this.years : this.numbers(field);
      if (values && many > FEW) offered.push({ id: `f${number}`, kind: "number", name: field.key, values });
      else if (many > 1 && many <= Math.max(FEW, this.count / 3)) offered.push({ id: `f${number}`, kind: "values", name: field.key, field });
    }
    return offered;
  }

  /** Return the numbers of a field, where it has hardly anything else. */
  numbers(field) {
    const read = field.values.map((text) => (/^\s*[+-]?(\d+\.?\d*|\.\d+)\s*$/.test(text) ? Number(text) : NaN));
    if (read.filter(Number.isNaN).length > read.length * 0.05) return null;
    return Float32Array.from(field.codes, (code) => (code < 0 ? NaN : read[code]));
  }

  /** Colour by one of `colourings`, or by nothing; return the legend. */
  colour(chosen) {
    this.colouring = chosen;
    this.filter.picked = null;
    this.colours.fill(0);
    this.classes = null;
    if (!chosen) return { kind: "none" };
    if (chosen.kind === "number") return this.ramp(chosen.values);
    const codes = chosen.kind === "cluster" ? this.cluster : chosen.field.codes;
    const names = chosen.kind === "cluster" ? this.data.clusters.map((_, n) => this.clusterName(n)) : chosen.field.values;
    const counts = new Uint32Array(names.length);
    let unknown = 0;
    for (const code of codes) code < 0 ? unknown++ : counts[code]++;
    const order = [...counts.keys()].sort((a, b) => counts[b] - counts[a] || a - b);
    const ranks = new Int32Array(names.length);
    order.forEach((code, rank) => { ranks[code] = Math.min(rank, PALETTE.length); });
    this.classes = Int16Array.from(codes, (code) => (code < 0 ? -1 : ranks[code]));
    this.paint((i) => {
      const rank = this.classes[i];
      return rank < 0 ? null : rgb(PALETTE[rank] ?? OTHERS);
    });
    const entries = order.slice(0, PALETTE.length).map((code, rank) =>
      ({ rank, name: names[code], colour: PALETTE[rank], many: counts[code] }));
    const others = order.slice(PALETTE.length).reduce((sum, code) => sum + counts[code], 0);
    if (others) entries.push({ rank: PALETTE.length, name: t("legend.others"), colour: OTHERS, many: others });
    if (unknown) {
      const name = t(chosen.kind === "cluster" ? "cluster.between" : "legend.unknown");
      entries.push({ rank: -1, name, colour: null, many: unknown });
    }
    return { kind: "values", entries };
  }

  ramp(values) {
    const known = values.filter((value) => !Number.isNaN(value)).sort();
    // Extremes that few have would leave no colours for the rest.
    const [low, high] = [known[Math.floor(known.length * 0.01)], known[Math.floor((known.length - 1) * 0.99)]];
    const stops = RAMP.map(rgb);
    this.paint((i) => {
      if (Number.isNaN(values[i])) return null;
      const at = Math.min(Math.max((values[i] - low) / (high - low || 1), 0), 1) * (stops.length - 1);
      const [a, b] = [stops[Math.floor(at)], stops[Math.ceil(at)]];
      return a.map((part, c) => part + (b[c] - part) * (at % 1));
    });
    return { kind: "number", low, high };
  }

  paint(colourOf) {
    for (let i = 0; i < this.count; i++) {
      const colour = colourOf(i);
      if (colour) this.colours.set([...colour, 255], 4 * i);
    }
  }

  clusterName(number) {
    const told = this.data.clusters[number].told;
    return told.length ? `${t("cluster", { n: number + 1 })}: ${told.join(", ")}` : t("cluster", { n: number + 1 });
  }

  /** Say anew which pictures are meant; return how many. */
  choose() {
    const { words, from, to, undated, picked } = this.filter;
    const wanted = plain(words).split(/\s+/).filter(Boolean);
    if (wanted.length && !this.texts) {
      const values = this.fields.map((field) => field.values.map(plain));
      this.texts = this.data.names.map((name, i) =>
        [plain(name), ...this.fields.map((field, n) => (field.codes[i] < 0 ? "" : values[n][field.codes[i]]))].join("\n"));
    }
    let many = 0;
    for (let i = 0; i < this.count; i++) {
      const year = this.years[i];
      const fits = (Number.isNaN(year) ? undated : year >= from && year < to) &&
        (picked === null || this.isPicked(i, picked)) && wanted.every((word) => this.texts[i].includes(word));
      this.shown[i] = fits ? 1 : 0;
      many += this.shown[i];
    }
    return many;
  }

  isPicked(i, picked) {
    return picked.kind === "cluster" ? this.cluster[i] === picked.value : this.classes[i] === picked.value;
  }

  address(kind, i) {
    const { begin, rest } = this.data[kind];
    return rest[i] === null ? "" : begin + rest[i];
  }

  title(i) {
    const page = this.data.numbers[i] ? `, ${t("page", { n: this.data.numbers[i] + 1 })}` : "";
    const field = this.fields.find(({ key }) => key.toLowerCase() === "title");
    const title = field && field.codes[i] >= 0 ? field.values[field.codes[i]] : this.data.names[i];
    return title + page;
  }

  metadata(i) {
    return this.fields.filter((field) => field.codes[i] >= 0).map((field) => [field.key, field.values[field.codes[i]]]);
  }

  /** The pictures nearest to one in a layout, the nearest first. */
  near(i, many, layout = "cloud") {
    const places = this.layouts[layout].places;
    const distance = (j) => (places[2 * j] - places[2 * i]) ** 2 + (places[2 * j + 1] - places[2 * i + 1]) ** 2;
    const best = [];
    for (let j = 0; j < this.count; j++) {
      if (j === i || !this.shown[j]) continue;
      const far = distance(j);
      if (best.length < many || far < best.at(-1).far) {
        best.push({ j, far });
        best.sort((a, b) => a.far - b.far);
        if (best.length > many) best.pop();
      }
    }
    return best.map(({ j }) => j);
  }
}

function bounds(places, chosen = null) {
  const box = { left: Infinity, bottom: Infinity, right: -Infinity, top: -Infinity };
  for (let i = 0; i < places.length; i += 2) {
    if (chosen && !chosen(i / 2)) continue;
    box.left = Math.min(box.left, places[i]);
    box.right = Math.max(box.right, places[i]);
    box.bottom = Math.min(box.bottom, places[i + 1]);
    box.top = Math.max(box.top, places[i + 1]);
  }
  return box;
}

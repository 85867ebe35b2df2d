// Sheets of thumbnails: scripts that carry a picture each, loaded when they are needed.

class Sheets {
  constructor(data, missing) {
    this.sizes = data.sheets;
    this.missing = missing;
    this.waiting = new Map();
    this.kept = new Map();
    this.most = 10;
    globalThis.calqueSheet = (name, number, address) => this.arrived(`${name}-${number}`, address);
  }

  /** Return the picture of a sheet, in time; that of a missing one never comes. */
  load(name, number) {
    const key = `${name}-${number}`;
    const known = this.kept.get(key) ?? this.waiting.get(key)?.promise;
    if (known) {
      if (this.kept.delete(key)) this.kept.set(key, known); // The last asked for is the last to go.
      return known;
    }
    const entry = {};
    entry.promise = new Promise((resolve) => { entry.resolve = resolve; });
    this.waiting.set(key, entry);
    const script = document.createElement("script");
    const file = `pictures/${name}-${String(number).padStart(3, "0")}.js`;
    script.src = file;
    script.addEventListener("load", () => script.remove());
    script.addEventListener("error", () => { script.remove(); this.missing(file); });
    document.head.append(script);
    return entry.promise;
  }

  arrived(key, address) {
    const picture = new Image();
    const { promise, resolve } = this.waiting.get(key) ?? {};
    picture.addEventListener("load", () => {
      this.waiting.delete(key);
      if (key.startsWith("large")) {
        this.kept.set(key, promise);
        while (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value);
      }
      resolve?.(picture);
    });
    picture.src = address;
  }

  /** Return a large thumbnail's sheet, and where on it it is. */
  place(i) {
    const { place, side } = this.sizes.large;
    const across = side / place;
    const number = Math.floor(i / across ** 2);
    const within = i % across ** 2;
    return { number, x: (within % across) * place, y: Math.floor(within / across) * place, place };
  }

  /** Return a canvas that shows a picture, once its sheet is there; `side`: of its longer side on the screen. */
  thumbnail(store, i, side) {
    const canvas = document.createElement("canvas");
    canvas.className = "thumb";
    const [wide, high] = [store.shapes[2 * i] || 96, store.shapes[2 * i + 1] || 96];
    const scale = side / Math.max(wide, high);
    Object.assign(canvas, { width: wide, height: high });
    Object.assign(canvas.style, { width: `${Math.max(1, wide * scale)}px`, height: `${Math.max(1, high * scale)}px` });
    const [r, g, b] = store.tones.subarray(3 * i, 3 * i + 3);
    canvas.style.background = `rgb(${r} ${g} ${b})`;
    const { number, x, y } = this.place(i);
    if (store.shapes[2 * i]) {
      this.load("large", number).then((sheet) => {
        canvas.getContext("2d").drawImage(sheet, x, y, wide, high, 0, 0, wide, high);
        canvas.dataset.drawn = "yes";
      });
    }
    return canvas;
  }
}

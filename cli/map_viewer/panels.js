// What stands around the map: legend, clusters, one picture, the list, the slider of time. All text stays text.

function made(tag, values = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...inside.filter((part) => part !== null));
  return element;
}

function find(selector) {
  return document.querySelector(selector);
}

class Panels {
  constructor(store, sheets, act) {
    Object.assign(this, { store, sheets, act });
    this.listed = 0;
  }

  button(i, side, title = "") {
    const picture = this.sheets.thumbnail(this.store, i, side);
    const name = this.store.title(i);
    return made("button", { type: "button", class: "thumbed", title: name, "aria-label": name, onclick: () => this.act.select(i) }, picture, title);
  }

  entry(name, many, colour, picked, act) {
    return made(
      "button", { type: "button", class: "entry", "aria-pressed": String(picked), onclick: act },
      colour ? Object.assign(made("span", { class: "dot" }), { style: `background:${colour}` }) : made("span", { class: "dot" }),
      made("span", { class: "name" }, name), made("span", { class: "many" }, many.toLocaleString(language)));
  }

  legend(told) {
    const box = find("#legend > div");
    box.replaceChildren();
    find("#legend").hidden = this.store.colouring?.kind === "cluster"; // The list of clusters says it all.
    if (told.kind === "none") box.append(made("p", {}, t("legend.nothing")));
    if (told.kind === "number") {
      const bar = made("div", { class: "ramp" });
      bar.style.background = `linear-gradient(to right, ${RAMP.join(", ")})`;
      const shown = (value) => (Math.abs(value) >= 300 && Math.abs(value) < 2100 ? String(Math.floor(value)) : value.toLocaleString(language));
      box.append(bar, made("p", { class: "ends" }, made("span", {}, shown(told.low)), made("span", {}, shown(told.high))));
    }
    const picked = this.store.filter.picked;
    for (const { rank, name, colour, many } of told.entries ?? []) {
      const on = picked?.kind === "class" && picked.value === rank;
      box.append(this.entry(name, many, colour, on, () => this.act.pick(on ? null : { kind: "class", value: rank })));
    }
  }

  clusters() {
    const list = find("#clusters > ul");
    list.replaceChildren();
    if (!this.store.data.clusters.length) list.append(made("li", {}, t("clusters.none")));
    const counts = new Map();
    for (const number of this.store.cluster) counts.set(number, (counts.get(number) ?? 0) + 1);
    const picked = this.store.filter.picked;
    for (const [number, { examples }] of this.store.data.clusters.entries()) {
      const on = picked?.kind === "cluster" && picked.value === number;
      const colour = this.store.colouring?.kind === "cluster" ? PALETTE[number] ?? OTHERS : null;
      const entry = this.entry(this.store.clusterName(number), counts.get(number) ?? 0, colour, on,
        () => this.act.pick(on ? null : { kind: "cluster", value: number }));
      list.append(made("li", { class: "cluster" }, entry, made("div", { class: "examples" }, ...examples.map((i) => this.button(i, 44)))));
    }
  }

  detail(i) {
    const panel = find(".detail");
    panel.hidden = i < 0;
    panel.replaceChildren();
    if (i < 0) return;
    const { store } = this;
    const step = (by, word) => made("button", { type: "button", onclick: () => this.act.step(by) }, t(word));
    panel.append(made("div", { class: "steps" }, step(-1, "previous"), step(1, "next"),
      made("button", { type: "button", "aria-label": t("close"), onclick: () => this.act.select(-1) }, "×")));
    panel.append(this.large(i), made("h2", {}, store.title(i)));
    if (!store.shapes[2 * i]) panel.append(made("p", { class: "trouble" }, t("unreadable")));
    const link = store.address("pages", i);
    if (link) panel.append(made("p", {}, made("a", { href: link, target: "_blank", rel: "noreferrer" }, t("open"))));
    const page = store.data.numbers[i] ? `${store.data.names[i]}, ${t("page", { n: store.data.numbers[i] + 1 })}` : store.data.names[i];
    const box = store.data.boxes?.[i];
    const facts = [[t("image"), page], ...(box?.some(Boolean) ? [[t("region"), box.join(", ")]] : []), ...store.metadata(i)];
    if (store.cluster[i] >= 0) facts.push([t("clusters"), store.clusterName(store.cluster[i])]);
    panel.append(made("dl", {}, ...facts.flatMap(([key, value]) => [made("dt", {}, key), made("dd", {}, value)])));
    panel.append(made("p", {}, t("near")), made("div", { class: "near" }, ...store.near(i, 8).map((j) => this.button(j, 68))));
    panel.scrollTop = 0;
  }

  /** The picture itself where a browser can show it, its thumbnail until then, and where not. */
  large(i) {
    const thumbnail = this.sheets.thumbnail(this.store, i, 300);
    thumbnail.classList.add("large");
    const address = this.store.address("pictures", i);
    if (!address || this.store.data.boxes?.[i].some(Boolean)) return thumbnail;
    const picture = new Image();
    picture.className = "large";
    picture.alt = this.store.title(i);
    picture.addEventListener("load", () => thumbnail.replaceWith(picture));
    picture.src = address;
    return thumbnail;
  }

  list(anew) {
    const list = find(".list ul");
    if (anew) {
      list.replaceChildren();
      this.listed = 0;
    }
    const some = [];
    for (; this.listed < this.store.count && some.length < 120; this.listed++) {
      const i = this.listed;
      if (!this.store.shown[i]) continue;
      const item = made("button", { type: "button", onclick: () => this.act.select(i) }, this.sheets.thumbnail(this.store, i, 116), this.store.title(i));
      some.push(made("li", {}, item));
    }
    list.append(...some);
    let rest = this.listed;
    while (rest < this.store.count && !this.store.shown[rest]) rest++;
    find(".more").hidden = rest >= this.store.count;
  }

  /** The slider of time, with how many pictures there are when. */
  time() {
    const { store } = this;
    find(".time").hidden = !store.dated;
    if (!store.dated) return;
    const known = store.years.filter((year) => !Number.isNaN(year));
    const [first, last] = [Math.floor(known.reduce((a, b) => Math.min(a, b))), Math.floor(known.reduce((a, b) => Math.max(a, b)))];
    const [from, to] = [find("#from"), find("#to")];
    for (const [input, value, word] of [[from, first, "from"], [to, last, "to"]]) {
      Object.assign(input, { min: first, max: last, step: 1, value });
      input.setAttribute("aria-label", t(word));
    }
    const changed = (moved) => {
      if (Number(from.value) > Number(to.value)) (moved === from ? to : from).value = moved.value;
      const [low, high] = [Number(from.value), Number(to.value)];
      find(".time output").value = low === high ? `${low}` : `${low} – ${high}`;
      Object.assign(store.filter, {
        from: low === first ? -Infinity : low, to: high === last ? Infinity : high + 1, undated: find("#undated").checked,
      });
      this.bars(first, last, low, high);
    };
    this.spans = () => changed(from);
    for (const input of [from, to]) input.oninput = () => { changed(input); this.act.filter(); };
    find("#undated").onchange = () => { changed(from); this.act.filter(); };
    changed(from);
  }

  bars(first, last, low, high) {
    const canvas = find("#years");
    const [wide, tall] = [canvas.clientWidth || 600, 34];
    Object.assign(canvas, { width: wide, height: tall });
    const pen = canvas.getContext("2d");
    const many = Math.min(last - first + 1, Math.max(10, Math.floor(wide / 5)));
    const counts = new Array(many).fill(0);
    const bar = (year) => Math.min(Math.floor(((year - first) / (last - first + 1)) * many), many - 1);
    for (const year of this.store.years) if (!Number.isNaN(year)) counts[bar(year)]++;
    const most = Math.max(...counts);
    const style = getComputedStyle(document.documentElement);
    for (const [n, count] of counts.entries()) {
      const year = first + (n / many) * (last - first + 1);
      const inside = year + (last - first + 1) / many > low && year < high + 1;
      pen.fillStyle = style.getPropertyValue(inside ? "--deep" : "--line");
      const height = count ? Math.max(2, (count / most) * (tall - 2)) : 0;
      pen.fillRect((n * wide) / many, tall - height, Math.max(1, wide / many - 1), height);
    }
  }
}

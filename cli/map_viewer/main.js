// The page: what is clicked, dragged, typed; and what follows from it.

globalThis.calqueData = (data) => {
  const store = new Store(data);
  const trouble = (text) => Object.assign(find(".trouble"), { hidden: false, textContent: text });
  const sheets = new Sheets(data, (file) => trouble(t("trouble.sheet", { file })));
  const canvas = find("#map");
  const labels = find(".labels");
  const colourings = store.colourings();
  let view = null;
  let tags = [];
  let told = 0;

  const act = {
    select(i) {
      view?.select(i, true);
      panels.detail(i);
      if (i < 0) return;
      find("#spoken").textContent = store.title(i);
      try { history.replaceState(null, "", `#${data.ids[i]}`); } catch { /* An address is no more than a help. */ }
    },
    step(by) {
      let i = view ? view.selected : 0;
      do i = (i + by + store.count) % store.count; while (!store.shown[i] && i !== view?.selected);
      act.select(i);
    },
    filter() {
      const shown = store.choose();
      const n = store.count;
      find(".count").textContent = shown === n ? `${t("count", { n })}, ${t("model", { model: data.model, projection: data.projection.toUpperCase() })}`
        : t("count.of", { shown, n });
      view?.restate();
      if (!find(".list").hidden) panels.list(true);
    },
    pick(picked) {
      store.filter.picked = picked;
      act.filter();
      panels.legend(legend);
      panels.clusters();
      if (picked && view) view.goTo(view.framing(bounds(view.places(), (i) => store.shown[i])));
    },
    colour(id) {
      legend = store.colour(colourings.find((one) => one.id === id) ?? null);
      view?.recolour();
      act.pick(null);
    },
    list(on) {
      find(".list").hidden = !on;
      find("#listed").setAttribute("aria-pressed", String(on));
      if (on) panels.list(true);
      else canvas.focus();
    },
  };
  const panels = new Panels(store, sheets, act);
  let legend = { kind: "none" };

  function dress() {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    document.documentElement.dataset.theme = kept("theme") ?? system;
    const style = getComputedStyle(document.documentElement);
    if (view) {
      view.look = { paper: rgb(style.getPropertyValue("--paper").trim()), mark: rgb(style.getPropertyValue("--rubric").trim()) };
      view.redraw();
    }
    panels.spans?.();
  }

  /** Say everything, in the language of the day. */
  function say() {
    speak();
    document.title = find("h1").textContent = data.title;
    canvas.setAttribute("aria-label", `${data.title}: ${t("count", { n: store.count })}`);
    Object.assign(find("#language"), { textContent: language === "en" ? "Français" : "English", lang: language === "en" ? "fr" : "en" });
    find(".layouts").replaceChildren(...Object.keys(store.layouts).map((name) =>
      made("button", { type: "button", "data-layout": name, "aria-pressed": String(name === (view?.layout ?? "cloud")), onclick: () => view?.layOut(name) }, t(`layout.${name}`))));
    const select = find("#colour");
    const chosen = store.colouring?.id ?? "";
    const named = (one) => (one.kind === "cluster" ? t("colour.cluster") : one.name);
    select.replaceChildren(made("option", { value: "" }, t("colour.none")), ...colourings.map((one) => made("option", { value: one.id }, named(one))));
    select.value = chosen;
    const picked = store.filter.picked;
    legend = store.colour(store.colouring);
    store.filter.picked = picked;
    panels.legend(legend);
    panels.clusters();
    panels.time();
    panels.detail(view?.selected ?? -1);
    const keys = { "← ↑ → ↓": "arrows", "Shift + ← ↑ → ↓": "pan", "+ −": "zoom", "0": "fit", "1 2 3": "layouts", Enter: "enter", "/": "search", L: "list", Esc: "escape" };
    find("#keys dl").replaceChildren(...Object.entries(keys).flatMap(([key, word]) =>
      [made("dt", {}, made("kbd", {}, key)), made("dd", {}, t(word === "fit" ? "fit" : `key.${word}`))]), made("dt", {}, "—"), made("dd", {}, t("key.mouse")));
    act.filter();
    tag();
  }

  /** Names of clusters, or of bars of time, which lie over the map. */
  function tag() {
    const ticks = store.layouts[view?.layout]?.ticks;
    const own = ticks ? ticks.map(([x, name]) => ({ x, y: -1, name: name || t("legend.unknown") }))
      : view?.layout === "cloud" ? data.clusters.map(({ examples }, n) => {
        const places = store.layouts.cloud.places;
        const middle = (axis) => examples.map((i) => places[2 * i + axis]).sort((a, b) => a - b)[Math.floor(examples.length / 2)];
        return examples.length ? { x: middle(0), y: middle(1), name: store.clusterName(n), over: true } : null;
      }).filter(Boolean) : [];
    tags = own.map((one) => ({ ...one, element: made("span", {}, one.name) }));
    labels.replaceChildren(...tags.map(({ element }) => element));
  }

  function drawn() {
    let free = -Infinity;
    const taken = [];
    for (const { x, y, element, over } of tags) {
      const where = view.screen(x, y);
      const wide = (element.w ??= element.offsetWidth || 60);
      let shows = where.x > -wide && where.x < canvas.clientWidth && where.y > 0 && where.y < canvas.clientHeight;
      if (over) {
        shows &&= !taken.some((one) => Math.abs(one.x - where.x) < (one.wide + wide) / 2 && Math.abs(one.y - where.y) < 22);
        if (shows) taken.push({ ...where, wide });
      } else {
        where.y = Math.min(where.y, canvas.clientHeight - 24);
        shows = where.x > free && where.x > -wide && where.x < canvas.clientWidth;
        if (shows) free = where.x + wide + 6;
      }
      element.style.visibility = shows && view.way === 1 ? "visible" : "hidden";
      if (shows) element.style.transform = `translate(${Math.round(where.x - (over ? wide / 2 : 0))}px, ${Math.round(where.y - (over ? 11 : 0))}px)`;
    }
    const now = performance.now();
    if (view.rate === null || now - told < 300) return; // Writing it costs time, too.
    told = now;
    find(".rate").value = t("rate", { n: Math.round(view.rate) });
  }

  function follow(kind) {
    if (kind === "drawn") drawn();
    if (kind === "layout") {
      for (const button of document.querySelectorAll("[data-layout]")) button.setAttribute("aria-pressed", String(button.dataset.layout === view.layout));
      tag();
    }
  }

  function handle() {
    find("#words").addEventListener("input", (event) => { store.filter.words = event.target.value; act.filter(); });
    find(".search").addEventListener("submit", (event) => event.preventDefault());
    find("#colour").addEventListener("change", (event) => act.colour(event.target.value));
    find("#size").addEventListener("input", (event) => { if (view) { view.size = 1.15 ** event.target.value; view.redraw(); } });
    find("#fit").addEventListener("click", () => view?.fit());
    find("#listed").addEventListener("click", () => act.list(find(".list").hidden));
    find("#help").addEventListener("click", () => find("#keys").showModal());
    find(".more button").addEventListener("click", () => panels.list(false));
    find("#language").addEventListener("click", () => { language = language === "en" ? "fr" : "en"; keep("language", language); say(); });
    find("#theme").addEventListener("click", () => { keep("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark"); dress(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
    if (view) steer(view, canvas, act);
    document.addEventListener("keydown", (event) => {
      if (event.target.matches("input, select, dialog *") || event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = {
        "/": () => find("#words").focus(), l: () => act.list(find(".list").hidden), "?": () => find("#keys").showModal(),
        Escape: () => act.select(-1), 0: () => view?.fit(), "+": () => view?.zoomBy(1.3), "=": () => view?.zoomBy(1.3), "-": () => view?.zoomBy(1 / 1.3),
        1: () => view?.layOut("cloud"), 2: () => view?.layOut("grid"), 3: () => view?.layOut("time"),
      };
      const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!action) return;
      event.preventDefault();
      action();
    });
  }

  try {
    view = new View(canvas, store, sheets, follow);
  } catch (error) {
    console.warn(String(error));
    view = null;
    trouble(t("trouble.webgl"));
  }
  canvas.addEventListener("webglcontextlost", () => { trouble(t("trouble.lost")); act.list(true); });
  const first = colourings.find((one) => one.name === data.colour_by && one.kind !== "cluster") ?? colourings.find((one) => one.kind === "cluster") ?? null;
  store.colour(first);
  say();
  dress();
  handle();
  if (view) view.begin();
  else act.list(true);
  const named = data.ids.indexOf(Number(location.hash.slice(1)));
  if (location.hash && named >= 0) act.select(named);
  globalThis.calqueMap = { store, view, sheets, act };
};

/** Let mouse, fingers and keys move the map. */
function steer(view, canvas, act) {
  const held = new Map();
  const tip = find(".tip");
  let moved = 0;
  const here = (event) => {
    const edge = canvas.getBoundingClientRect();
    return { x: event.clientX - edge.left, y: event.clientY - edge.top };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, here(event));
    moved = held.size > 1 ? Infinity : 0;
    canvas.classList.add("held");
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = here(event);
    const before = held.get(event.pointerId);
    if (!before) {
      const i = view.moves.length ? -1 : view.at(now.x, now.y);
      tip.hidden = i < 0;
      if (i >= 0) {
        tip.textContent = view.store.title(i);
        tip.style.transform = `translate(${Math.min(now.x + 14, canvas.clientWidth - 180)}px, ${Math.min(now.y + 16, canvas.clientHeight - 40)}px)`;
      }
      return;
    }
    tip.hidden = true;
    if (held.size === 1) {
      moved += Math.hypot(now.x - before.x, now.y - before.y);
      if (moved > 4) view.panBy(now.x - before.x, now.y - before.y);
    } else if (held.size === 2) {
      const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const [old, fresh] = [before, now].map((place) => Math.hypot(place.x - other.x, place.y - other.y));
      view.zoomBy(fresh / Math.max(old, 1), (now.x + other.x) / 2, (now.y + other.y) / 2);
      view.panBy((now.x - before.x) / 2, (now.y - before.y) / 2);
    }
    if (moved > 4 || held.size > 1) held.set(event.pointerId, now);
  });
  const leave = (event) => {
    const place = held.get(event.pointerId);
    held.delete(event.pointerId);
    if (!held.size) canvas.classList.remove("held");
    if (event.type === "pointerup" && place && moved <= 4) act.select(view.at(place.x, place.y));
  };
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, leave);
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("dblclick", (event) => view.zoomBy(2, here(event).x, here(event).y));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 24 : 1;
    view.zoomBy(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), here(event).x, here(event).y);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const way = ways[event.key];
    if (way) {
      event.preventDefault();
      if (event.shiftKey) view.panBy(-80 * way[0], 80 * way[1]);
      else {
        const next = view.beside(...way);
        if (next >= 0) act.select(next);
      }
    } else if (event.key === "Enter" && view.selected >= 0) {
      const link = view.store.address("pages", view.selected);
      if (link) open(link, "_blank", "noreferrer");
    }
  });
}

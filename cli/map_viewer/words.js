// The words of the page, in the reader's language. WORDS comes before this script: { en: {...}, fr: {...} }.

let language = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in WORDS) ?? "en";

function kept(name) {
  try { return localStorage.getItem(`calque.map.${name}`); } catch { return null; }
}

function keep(name, value) {
  try { localStorage.setItem(`calque.map.${name}`, value); } catch { /* Nothing is kept then. */ }
}

if (kept("language") in WORDS) language = kept("language");

/** Return a message; `{name}` in it is replaced by `values.name`, of "one || many" the form for `values.n` is taken. */
function t(word, values = {}) {
  const forms = (WORDS[language][word] ?? word).split(" || ");
  const many = typeof values.n === "number" && new Intl.PluralRules(language).select(values.n) !== "one";
  return ((many ? forms[1] : undefined) ?? forms[0]).replace(/\{(\w+)\}/g, (whole, name) =>
    typeof values[name] === "number" ? values[name].toLocaleString(language) : values[name] ?? whole);
}

function speak() {
  document.documentElement.lang = language;
  for (const part of document.querySelectorAll("[data-t]")) part.textContent = t(part.dataset.t);
  for (const part of document.querySelectorAll("[data-label]")) {
    part.setAttribute("aria-label", t(part.dataset.label));
    part.title = t(part.dataset.label);
  }
  for (const part of document.querySelectorAll("[data-hint]")) part.placeholder = t(part.dataset.hint);
}

/** The words of the page, in the reader's language. `words/en.json` and `words/fr.json` have the same keys. */

import { useEffect, useState } from "preact/hooks";
import en from "./words/en.json";
import fr from "./words/fr.json";

export type Word = keyof typeof en;
export type Language = "en" | "fr";

const CATALOGUES: Record<Language, Record<Word, string>> = { en, fr };
const CHANGED = "calque:language";
const KEPT = "calque.language";

let current: Language = isLanguage(localStorage.getItem(KEPT))
  ? (localStorage.getItem(KEPT) as Language)
  : (navigator.languages.map((tag) => tag.slice(0, 2)).find(isLanguage) ?? "en");
document.documentElement.lang = current;

function isLanguage(tag: string | null): tag is Language {
  return tag !== null && tag in CATALOGUES;
}

export function speak(chosen: Language): void {
  current = chosen;
  localStorage.setItem(KEPT, chosen);
  document.documentElement.lang = chosen;
  dispatchEvent(new Event(CHANGED));
}

export function language(): Language {
  return current;
}

/** Render again when the language changes. */
export function useLanguage(): Language {
  const [shown, setShown] = useState(current);
  useEffect(() => {
    const update = (): void => setShown(current);
    addEventListener(CHANGED, update);
    return () => removeEventListener(CHANGED, update);
  }, []);
  return shown;
}

/**
 * Return a message. `{name}` in it is replaced by `values.name`, numbers written as the language does; of
 * "one || many" the form that `values.n` asks for is taken.
 */
export function t(word: Word, values: Readonly<Record<string, string | number>> = {}): string {
  const forms = CATALOGUES[current][word].split(" || ");
  const plural = typeof values.n === "number" && new Intl.PluralRules(current).select(values.n) !== "one";
  const form = (plural ? forms[1] : undefined) ?? forms[0] ?? "";
  return form.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : (value ?? whole);
  });
}

export function number(value: number, options?: Intl.NumberFormatOptions): string {
  return new Intl.NumberFormat(current, options).format(value);
}

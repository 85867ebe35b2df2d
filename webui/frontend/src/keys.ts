/** Keyboard: each view says which keys it knows and what they do; the help dialog lists them. */

import { useEffect, useRef } from "preact/hooks";
import type { Word } from "./words";

export interface Key {
  /** As `KeyboardEvent.key`, in lower case; several may do the same. */
  keys: readonly string[];
  does: Word;
  act: () => void;
}

const known: Key[][] = [];

/** Let keys act while the component is there. Within fields and dialogs they are left to what is being typed. */
export function useKeys(keys: readonly Key[]): void {
  const latest = useRef<Key[]>([]);
  latest.current.splice(0, Infinity, ...keys);
  useEffect(() => {
    const list = latest.current;
    known.push(list);
    return () => void known.splice(known.indexOf(list), 1);
  }, []);
}

export function keysNow(): readonly Key[] {
  return known.flat();
}

/** Listen; called once. */
export function listen(): void {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.closest("input:not([type=radio], [type=checkbox], [type=range]), textarea, select, dialog[open]"))
      return;
    const onControl = target.closest("a, button, summary, label, input") !== null;
    if (onControl && (event.key === "Enter" || event.key === " ")) return;
    if (target.closest("input") && event.key.startsWith("Arrow")) return;
    const key = event.key.toLowerCase();
    const found = keysNow().findLast((candidate) => candidate.keys.includes(key));
    if (!found) return;
    event.preventDefault();
    found.act();
  });
}

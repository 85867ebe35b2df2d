/** How sure a find is, in plain words: what a number of expected false alarms means. */

import { number, t, type Word } from "./words";

export type Certainty = "certain" | "safe" | "likely" | "doubtful" | "weak";

const LIMITS: readonly (readonly [number, Certainty])[] = [
  [1e-9, "certain"],
  [1e-3, "safe"],
  [0.1, "likely"],
  [1, "doubtful"],
];

export function certainty(falseAlarms: number): Certainty {
  return LIMITS.find(([limit]) => falseAlarms <= limit)?.[1] ?? "weak";
}

/** "one in 3 million by chance": one search in so many gives such a find where there is nothing to be found. */
export function odds(falseAlarms: number): string {
  if (falseAlarms >= 0.95) return t("odds.often", { n: Math.max(1, Math.round(falseAlarms)) });
  if (falseAlarms < 1e-12) return t("odds.never");
  const compact = { notation: "compact", compactDisplay: "long", maximumSignificantDigits: 2 } as const;
  return t("odds.rare", { searches: number(1 / falseAlarms, compact) });
}

/** The certainties that a list can be held to, with the false alarms that each allows. */
export const HOLDS: readonly { limit: string; word: Word }[] = [
  { limit: "", word: "hold.all" },
  { limit: "0.1", word: "hold.likely" },
  { limit: "0.001", word: "hold.safe" },
  { limit: "1e-9", word: "hold.certain" },
];

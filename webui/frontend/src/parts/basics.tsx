/** Small things that several views show. */

import type { ComponentChildren } from "preact";
import type { Metadata, Refused } from "../api";
import { address } from "../addresses";
import { number, t, type Word } from "../words";

const STATUS: Readonly<Record<number, Word>> = {
  0: "problem.offline",
  401: "problem.token",
  403: "problem.forbidden",
  404: "problem.missing",
  409: "problem.busy",
  413: "problem.large",
  415: "problem.picture",
  429: "problem.often",
  503: "problem.load",
};

/** What went wrong, in the reader's language, and the server's own words below. */
export function Problem({ refused }: { refused: Refused }) {
  return (
    <div class="problem" role="alert">
      <p>{t(STATUS[refused.status] ?? "problem.other")}</p>
      {refused.message && <p lang="en">{refused.message}</p>}
    </div>
  );
}

export function Busy() {
  return (
    <p class="busy" role="status">
      {t("busy")}
    </p>
  );
}

interface PagerProps {
  offset: number;
  limit: number;
  total: number;
  /** The address of the list from an offset on. */
  at: (offset: number) => string;
}

/** Where one is in a long list, and links to its other pages. */
export function Pager({ offset, limit, total, at }: PagerProps) {
  if (total <= limit && offset === 0) return null;
  const last = Math.floor((total - 1) / limit) * limit;
  const step = (to: number, sign: string, label: Word) =>
    to >= 0 && to <= last && to !== offset ? (
      <a href={at(to)} aria-label={t(label)}>
        {sign}
      </a>
    ) : (
      <span aria-hidden="true">{sign}</span>
    );
  return (
    <nav class="pager" aria-label={t("pager")}>
      {step(0, "⇤", "pager.first")}
      {step(offset - limit, "←", "pager.previous")}
      <span>{t("pager.range", { from: offset + 1, to: Math.min(offset + limit, total), of: number(total) })}</span>
      {step(offset + limit, "→", "pager.next")}
      {step(last, "⇥", "pager.last")}
    </nav>
  );
}

/** A name, and the number of the page where a file has several. */
export function titled(shown: { title: string; page: number }): string {
  return shown.page > 0 ? `${shown.title}, ${t("page", { number: shown.page + 1 })}` : shown.title;
}

/** The end of a path, where the title is another. */
export function File({ of, path }: { of: string; path: string }) {
  return of === path ? null : <small> {path.slice(path.lastIndexOf("/") + 1)}</small>;
}

export function ImageLink({ index, id, children }: { index: string; id: number; children: ComponentChildren }) {
  return <a href={address(index, `image/${id}`)}>{children}</a>;
}

/** What is known of an image, without what its title and its name say already. */
export function known(shown: { title: string; metadata: Metadata }, path: string): [name: string, value: string][] {
  return Object.entries(shown.metadata).filter(([, value]) => value !== shown.title && !path.endsWith(value));
}

/** Key and value, line by line. */
export function Facts({ rows }: { rows: readonly (readonly [name: string, value: ComponentChildren])[] }) {
  if (!rows.length) return null;
  return (
    <dl>
      {rows.map(([name, value]) => (
        <>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </>
      ))}
    </dl>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  options: readonly (readonly [value: T, words: string])[];
  value: T;
  onChoose: (value: T) => void;
}

/** A list to choose from. */
export function Choice<T extends string>({ label, options, value, onChoose }: ChoiceProps<T>) {
  return (
    <label class="choice">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChoose(event.currentTarget.value as T)}>
        {options.map(([option, words]) => (
          <option value={option} selected={option === value}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A row of buttons of which one is pressed. */
export function Switch<T extends string>({ label, options, value, onChoose }: ChoiceProps<T>) {
  return (
    <div class="switch" role="group" aria-label={label}>
      {options.map(([option, words]) => (
        <button type="button" value={option} aria-pressed={option === value} onClick={() => onChoose(option)}>
          {words}
        </button>
      ))}
    </div>
  );
}

/** Files that hold what is shown, in forms that other programs read. */
export function Exports({ forms, at }: { forms: readonly string[]; at: (form: string) => string }) {
  return (
    <details class="menu">
      <summary>{t("export")}</summary>
      <ul>
        {forms.map((form) => (
          <li>
            <a href={at(form)} download="">
              {t(`export.${form}` as Word)}
            </a>
          </li>
        ))}
      </ul>
    </details>
  );
}

/** Every state of the page has an address; this is where addresses are made, read and followed. */

import { useEffect, useState } from "preact/hooks";
import type { Box, Point } from "./api";

/** Parts of the path, and parameters. */
export interface Place {
  path: string[];
  params: URLSearchParams;
}

type Values = Record<string, string | number | null | undefined>;

function read(): Place {
  const path = location.pathname.split("/").filter(Boolean).map(decodeURIComponent);
  return { path, params: new URLSearchParams(location.search) };
}

/** Return the address of something of an index, such as `/i/scans/image/12?region=…`. */
export function address(index: string, path = "", params: URLSearchParams | Values = {}): string {
  const query = params instanceof URLSearchParams ? params : changed(new URLSearchParams(), params);
  const base = `/i/${encodeURIComponent(index)}${path && `/${path}`}`;
  return query.size ? `${base}?${readable(query)}` : base;
}

/** Commas and slashes need no escape in a query, and addresses are there to be read. */
function readable(query: URLSearchParams): string {
  return query.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
}

/** Return a copy of `params` in which `values` are set; empty ones are taken out. */
export function changed(params: URLSearchParams, values: Values): URLSearchParams {
  const copy = new URLSearchParams(params);
  for (const [key, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === "") copy.delete(key);
    else copy.set(key, String(value));
  }
  return copy;
}

/** Return those of `params` that have one of `names`. */
export function only(params: URLSearchParams, names: readonly string[]): URLSearchParams {
  return new URLSearchParams([...params].filter(([name]) => names.includes(name)));
}

/** The parameters that say what is searched for: the same in the page's addresses and in the server's. */
export const QUESTION = [
  "image",
  "upload",
  "region",
  "polygon",
  "where",
  "max_false_alarms",
  "relations",
  "furniture",
] as const;

/** The parameters that say what something is to be like. */
export const LIKENESS = [
  ...(["image", "upload", "region", "polygon", "model", "text", "language", "colour"] as const),
  ...(["right", "wrong", "among", "where"] as const),
] as const;

const CHANGED = "calque:place";

/** Go to an address of the page; with `replace`, the state that is left cannot be gone back to. */
export function go(to: string, replace = false): void {
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  dispatchEvent(new Event(CHANGED));
}

/** Change parameters of the present address. */
export function adjust(values: Values, replace = true): void {
  const query = changed(new URLSearchParams(location.search), values);
  go(location.pathname + (query.size ? `?${readable(query)}` : ""), replace);
}

export function usePlace(): Place {
  const [place, setPlace] = useState(read);
  useEffect(() => {
    const update = (): void => setPlace(read());
    addEventListener("popstate", update);
    addEventListener(CHANGED, update);
    return () => {
      removeEventListener("popstate", update);
      removeEventListener(CHANGED, update);
    };
  }, []);
  return place;
}

/** Follow links of the page without loading it anew; called once. */
export function followLinks(): void {
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
    if (link.origin !== location.origin || /^\/(api|iiif|maps|static)\b/.test(link.pathname)) return;
    event.preventDefault();
    go(link.pathname + link.search);
    scrollTo(0, 0);
  });
}

/** A part of a picture: a box, or an outline. */
export type Shape = { box: Box } | { polygon: Point[] };

/** Read the part that an address names. */
export function shapeOf(params: URLSearchParams): Shape | null {
  const box = numbers(params.get("region"));
  if (box.length === 4) return { box: box as Box };
  const flat = numbers(params.get("polygon"));
  if (flat.length < 6 || flat.length % 2) return null;
  return { polygon: flat.flatMap((x, i) => (i % 2 ? [] : [[x, flat[i + 1]] as Point])) };
}

/** The parameters that name a part of a picture. */
export function shapeParams(shape: Shape | null): { region: string | null; polygon: string | null } {
  return {
    region: shape && "box" in shape ? tidy(shape.box).join(",") : null,
    polygon: shape && "polygon" in shape ? tidy(shape.polygon.flat()).join(",") : null,
  };
}

function tidy(values: readonly number[]): number[] {
  return values.map((value) => Math.round(value * 10) / 10);
}

function numbers(text: string | null): number[] {
  const values = text ? text.split(",").map(Number) : [];
  return values.every(Number.isFinite) ? values : [];
}

/** What the server answers (docs/web.md), and how it is asked. */

export type Box = [x: number, y: number, width: number, height: number];
export type Point = [x: number, y: number];
export type Relation = "same" | "mirrored" | "inverted" | "mirrored+inverted";
export type Kind = "illustration" | "ornament" | "initial" | "text" | "other" | "thing";
export type Verdict = "same" | "different" | "unsure";
export type Metadata = Readonly<Record<string, string>>;

export const RELATIONS: readonly Relation[] = ["same", "mirrored", "inverted", "mirrored+inverted"];
export const VERDICTS: readonly Verdict[] = ["same", "different", "unsure"];

export interface Service {
  calque: string;
  read_only: boolean;
  authenticated: boolean;
  user: string | null;
  folders: string[];
  addresses: boolean;
  limits: { upload_bytes: number; upload_pixels: number; export_pictures: number };
}

export interface IndexInfo {
  name: string;
  images: number;
  features: number;
  fields: string[];
  ready: boolean;
  calibrated: boolean;
  judgements: number;
  extractor: string;
  work_size: number;
  /** Whose vectors tell what is alike; none: nothing is known of likeness. */
  models: string[];
  /** Those of them that may be asked in words. */
  readers: string[];
  /** Address of its map, which is a page of its own. */
  map: string | null;
}

/** What every picture that can be shown has. */
export interface Shown {
  title: string;
  page: number;
  width: number;
  height: number;
  iiif: string;
}

export interface ImageInfo extends Shown {
  id: number;
  name: string;
  features: number;
  metadata: Metadata;
  thumbnail: string;
}

export interface Zone {
  kind: Kind;
  box: Box;
  polygon: Point[] | null;
  label: string;
  score: number | null;
  origin: string;
}

/** Something that a detector, or a person, has seen on an image. */
export interface Thing {
  label: string;
  box: Box;
  polygon: Point[] | null;
  score: number;
  origin: string;
}

export interface ImageDetail extends ImageInfo {
  regions: Zone[];
  things: Thing[];
  previous: number | null;
  next: number | null;
}

export interface Images {
  total: number;
  offset: number;
  limit: number;
  images: ImageInfo[];
}

export interface Facet {
  of: "metadata" | "things";
  field: string;
  distinct: number;
  images: number;
  values: { value: string; images: number; where: string }[];
}

export interface Upload {
  id: string;
  name: string;
  width: number;
  height: number;
  iiif: string;
  thumbnail: string;
}

export interface Question {
  image: number | null;
  upload: string | null;
  name: string;
  title: string;
  page: number;
  width: number;
  height: number;
  iiif: string;
  region: Box | null;
  polygon: Point[] | null;
  where: string;
  max_false_alarms: number;
  relations: Relation[];
}

/** How a picture lies on another. */
export interface Placed {
  region: Box;
  relation: Relation;
  rotation: number;
  scale: number;
  false_alarms: number;
  judgement: Verdict | null;
}

export interface Hit extends Shown, Placed {
  rank: number;
  id: number;
  image: string;
  metadata: Metadata;
  score: number;
  inliers: number;
  polygon: Point[];
  comparison: string;
  kind: Kind | null;
}

export interface Answer {
  query: Question;
  seconds: number;
  total: number;
  offset: number;
  limit: number;
  hits: Hit[];
}

export interface Side extends Shown {
  image: number | null;
  upload: string | null;
  name: string;
  region: Box | null;
  metadata: Metadata;
}

/** A picture that a reader has called right or wrong; `example` names it in addresses. */
export interface Example {
  example: string;
  id: number;
  title: string;
  crop: string;
}

export interface Alike extends Shown {
  id: number;
  name: string;
  metadata: Metadata;
  rank: number;
  region: Box | null;
  kind: Kind | "";
  likeness: number;
  crop: string;
  example: string;
}

export interface Likeness {
  model: string;
  models: string[];
  asked: Side | null;
  text: string;
  right: Example[];
  wrong: Example[];
  seconds: number;
  alike: Alike[];
}

export type Pictures = Record<"a" | "b" | "overlay" | "difference" | "proof", string>;

export interface Registered {
  a: Side;
  b: Side;
  found: true;
  relation: Relation;
  rotation: number;
  scale: number;
  inliers: number;
  false_alarms: number;
  polygon: Point[];
  frame: { region: Box; width: number; height: number };
  pictures: Pictures;
  verdict: string;
  judgement: Verdict | null;
  points: { a: Point[]; b: Point[] };
}

export type Comparison = Registered | { a: Side; b: Side; found: false };

export interface BlockVerdict {
  verdict: "same" | "copy" | "unsure";
  agreement: number | null;
  deformation: number | null;
  coverage: [a: number, b: number];
  lost_on_a: { kind: string; region: Box }[];
  lost_on_b: { kind: string; region: Box }[];
  printed_first: "a" | "b" | null;
}

export interface Judgement {
  id: number;
  image_a: number | null;
  name_a: string;
  region_a: Box | null;
  image_b: number | null;
  name_b: string;
  region_b: Box | null;
  verdict: Verdict;
}

export interface Member extends Shown, Placed {
  id: number;
  image: string;
  metadata: Metadata;
  thumbnail: string;
  reference: boolean;
  registered: string;
}

export interface GroupSummary {
  group: number;
  size: number;
  members: Member[];
}

export interface Groups {
  asked: number;
  images: number;
  total: number;
  offset: number;
  limit: number;
  groups: GroupSummary[];
}

export interface Group {
  group: number;
  members: Member[];
}

export interface Job {
  id: string;
  kind: "add" | "groups";
  index: string;
  source: string | null;
  state: "waiting" | "running" | "done" | "failed" | "cancelled";
  done: number;
  total: number | null;
  added: number;
  failures: { name: string; reason: string }[];
  failed: number;
  message: string;
  created: string;
}

/** What went wrong: the status, and the server's own words (in English) where it said any. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

async function ask(address: string, options: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refused(0, "");
  }
  if (!response.ok) {
    const problem: unknown = await response.json().catch(() => null);
    const detail = typeof problem === "object" && problem && "detail" in problem ? problem.detail : "";
    throw new Refused(response.status, typeof detail === "string" ? detail : "");
  }
  return response;
}

/** GET an address and return its JSON. */
export async function get<T>(address: string, signal?: AbortSignal): Promise<T> {
  return (await (await ask(address, signal ? { signal } : {})).json()) as T;
}

async function send(method: string, address: string, body?: object): Promise<Response> {
  const json = { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return ask(address, { method, ...(body && json) });
}

export async function logIn(token: string): Promise<void> {
  await send("POST", "/api/login", { token });
}

export async function upload(file: Blob, name: string): Promise<Upload> {
  const form = new FormData();
  form.append("file", file, name);
  return (await (await ask("/api/uploads", { method: "POST", body: form })).json()) as Upload;
}

/** One of the two pictures that are judged: an image, or a part of it. */
export interface Judged {
  image: number;
  region: Box | null;
}

export async function judge(index: string, a: Judged, b: Judged, verdict: Verdict): Promise<Judgement> {
  const pair = { image_a: a.image, region_a: a.region, image_b: b.image, region_b: b.region };
  const response = await send("POST", api(index, "judgements"), { ...pair, verdict, note: "", author: "" });
  return (await response.json()) as Judgement;
}

export async function startJob(job: { kind: "add" | "groups"; index: string; source?: string }): Promise<Job> {
  return (await (await send("POST", "/api/jobs", job)).json()) as Job;
}

export async function cancelJob(id: string): Promise<void> {
  await send("DELETE", `/api/jobs/${encodeURIComponent(id)}`);
}

/** The address of something of an index, such as `api("scans", "images/12", params)`. */
export function api(index: string, path = "", params?: URLSearchParams): string {
  const base = `/api/indexes/${encodeURIComponent(index)}${path && `/${path}`}`;
  return params?.size ? `${base}?${params}` : base;
}

/** The address of a part of a picture, at most `side` pixels wide and high. */
export function crop(iiif: string, box: Box | null, side: number): string {
  const region = box ? box.map(Math.round).join(",") : "full";
  return `${iiif}/${region}/!${side},${side}/0/default.jpg`;
}

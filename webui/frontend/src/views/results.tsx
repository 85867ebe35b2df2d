/** What was found: a grid of places, each lit on its page, with how sure and how printed. */

import { useEffect, useRef, useState } from "preact/hooks";
import { api, crop, judge, RELATIONS, type Answer, type Box, type Hit, type Question, type Verdict } from "../api";
import { address, adjust, changed, only, QUESTION, shapeParams } from "../addresses";
import { HOLDS } from "../chance";
import { useKeys } from "../keys";
import { useAnswer, useSending } from "../loading";
import { Busy, Choice, Exports, Facts, File, ImageLink, known, Problem, titled } from "../parts/basics";
import { Badges, LitCrop, Sure, VerdictButtons, verdictKeys } from "../parts/finds";
import { number, t } from "../words";
import { boundsOf } from "../viewer/shapes";

const MOST = 500;
const FIRST = 60;
const FORMS = ["csv", "jsonl", "iiif", "coco", "pictures"];

export function Results({
  index,
  fields,
  params,
  writable,
}: {
  index: string;
  fields: readonly string[];
  params: URLSearchParams;
  writable: boolean;
}) {
  const asked = only(params, QUESTION);
  const limit = Number(params.get("limit")) || FIRST;
  const answer = useAnswer<Answer>(api(index, "search", changed(asked, { limit })));
  const [judged, setJudged] = useState<ReadonlyMap<number, Verdict>>(new Map());
  const condition = useRef<HTMLInputElement>(null);
  const grid = useRef<HTMLUListElement>(null);
  useEffect(() => setJudged(new Map()), [asked.toString()]);

  const sending = useSending();

  const { data } = answer;
  const hits = data ? sorted(data.hits, params.get("sort") ?? "") : [];
  const decide = (hit: Hit, verdict: Verdict): void => {
    if (data?.query.image == null) return;
    const pair = [
      { image: data.query.image, region: regionOf(data.query) },
      { image: hit.id, region: hit.region },
    ] as const;
    sending.send(judge(index, ...pair, verdict), () => setJudged((known) => new Map(known).set(hit.rank, verdict)));
  };
  const cards = (): HTMLElement[] => [...(grid.current?.querySelectorAll<HTMLElement>(":scope > li") ?? [])];
  const current = (): number => cards().findIndex((card) => card.contains(document.activeElement));
  const focus = (step: number): void => cards()[Math.max(current() + step, 0)]?.querySelector("a")?.focus();
  const decideCurrent = (verdict: Verdict): void => {
    const hit = hits[current()];
    if (hit && writable) decide(hit, verdict);
  };
  useKeys([
    { keys: ["n", "arrowright"], does: "keys.hit.next", act: () => focus(1) },
    { keys: ["p", "arrowleft"], does: "keys.hit.previous", act: () => focus(-1) },
    ...verdictKeys(decideCurrent),
  ]);

  const relations = params.get("relations") ?? "";
  const held = params.get("max_false_alarms") ?? "";
  const exported = (form: string): string => api(index, "search/export", changed(asked, { form }));
  return (
    <main>
      {answer.refused && <Problem refused={answer.refused} />}
      <header class="asked">
        {data && <Asked index={index} question={data.query} />}
        <div>
          <h1 aria-live="polite">{data ? t("results.count", { n: data.total }) : t("results.searching")}</h1>
          {data && (
            <p class="note">
              {t("results.seconds", { seconds: number(data.seconds, { maximumSignificantDigits: 2 }) })}
            </p>
          )}
        </div>
      </header>
      <div class="bar">
        <Choice
          label={t("results.relation")}
          value={relations}
          options={[["", t("relation.all")], ...RELATIONS.map((one) => [one, t(`relation.${one}`)] as const)]}
          onChoose={(value) => adjust({ relations: value })}
        />
        <Choice
          label={t("results.hold")}
          value={held}
          options={HOLDS.map(({ limit: most, word }) => [most, t(word)])}
          onChoose={(value) => adjust({ max_false_alarms: value })}
        />
        <Choice
          label={t("sort")}
          value={params.get("sort") ?? ""}
          options={[
            ["", t("sort.sure")],
            ["name", t("sort.name")],
            ["relation", t("sort.relation")],
            ...fields.map((field) => [`:${field}`, field] as const),
          ]}
          onChoose={(value) => adjust({ sort: value })}
        />
        <form
          class="choice"
          onSubmit={(event) => {
            event.preventDefault();
            adjust({ where: condition.current?.value.trim() });
          }}
        >
          <label class="choice">
            <span>{t("results.only")}</span>
            <input
              ref={condition}
              defaultValue={params.get("where") ?? ""}
              placeholder="date < 1600"
              key={params.get("where")}
            />
          </label>
        </form>
        <Exports forms={FORMS} at={exported} />
      </div>
      {sending.refused && <Problem refused={sending.refused} />}
      {!data && !answer.refused && <Busy />}
      {data && !data.total && <p class="nothing">{t("results.nothing")}</p>}
      <ul class="grid finds" ref={grid} aria-busy={answer.busy}>
        {hits.map((hit) => (
          <li key={`${hit.rank}`}>
            <a href={comparisonOf(index, hit, params)} class="picture">
              <LitCrop
                shown={hit}
                region={hit.region}
                polygon={hit.polygon}
                alt={t("results.compare", { name: titled(hit) })}
              />
            </a>
            <h2 class="name">
              <ImageLink index={index} id={hit.id}>
                {titled(hit)}
              </ImageLink>
              <File of={hit.title} path={hit.image} />
            </h2>
            {isQuery(hit, data?.query) ? (
              <p class="badges">
                <span class="badge self">{t("results.self")}</span>
              </p>
            ) : (
              <>
                <Badges relation={hit.relation} rotation={hit.rotation} kind={hit.kind} />
                <Sure falseAlarms={hit.false_alarms} />
              </>
            )}
            <Facts rows={known(hit, hit.image).slice(0, 3)} />
            {writable && data?.query.image != null && !isQuery(hit, data.query) && (
              <VerdictButtons
                value={judged.get(hit.rank) ?? hit.judgement}
                onJudge={(verdict) => decide(hit, verdict)}
              />
            )}
          </li>
        ))}
      </ul>
      {data && data.total > data.hits.length && limit < MOST && (
        <p class="more">
          <button type="button" onClick={() => adjust({ limit: MOST })}>
            {t("results.more", { n: Math.min(data.total, MOST) - data.hits.length })}
          </button>
        </p>
      )}
    </main>
  );
}

/** What is asked for: the part that was marked, and a way back to it. */
function Asked({ index, question }: { index: string; question: Question }) {
  const region = regionOf(question);
  const part = shapeParams(
    question.polygon ? { polygon: question.polygon } : question.region && { box: question.region },
  );
  const back =
    question.image === null
      ? address(index, "query", { upload: question.upload, ...part })
      : address(index, `image/${question.image}`, part);
  return (
    <>
      <a href={back}>
        <img src={crop(question.iiif, region, 320)} alt={t("results.asked")} />
      </a>
      <div>
        <p class="kicker">{t(region ? "results.part" : "results.whole")}</p>
        <p class="name big">
          <a href={back}>
            {titled(question)}
          </a>
        </p>
      </div>
    </>
  );
}

function regionOf({ region, polygon }: Question): Box | null {
  return region ?? (polygon && boundsOf(polygon));
}

/** Whether a hit is the very place that was asked for. */
function isQuery(hit: Hit, question: Question | undefined): boolean {
  if (!question || hit.id !== question.image || hit.relation !== "same") return false;
  const [x, y, width, height] = hit.region;
  const [ax, ay, across, down] = regionOf(question) ?? [0, 0, question.width, question.height];
  const near = 0.1 * Math.max(across, down);
  return Math.abs(x + width / 2 - ax - across / 2) < near && Math.abs(y + height / 2 - ay - down / 2) < near;
}

export function comparisonParams(hit: Hit): URLSearchParams {
  return new URL(hit.comparison, location.origin).searchParams;
}

/** The page that compares a hit with what was asked for; it keeps `params`: the search, and how pictures are shown. */
export function comparisonOf(index: string, hit: Hit, params: URLSearchParams): string {
  const kept = only(params, [...QUESTION, "view", "inliers"]);
  return address(index, "compare", changed(kept, Object.fromEntries(comparisonParams(hit))));
}

function sorted(hits: readonly Hit[], key: string): readonly Hit[] {
  if (key === "") return hits;
  const value = (hit: Hit): string => {
    if (key === "name") return hit.title;
    if (key === "relation") return String(RELATIONS.indexOf(hit.relation));
    return hit.metadata[key.slice(1)] ?? "\uffff";
  };
  const order = new Intl.Collator(undefined, { numeric: true });
  return [...hits].sort((a, b) => order.compare(value(a), value(b)) || a.rank - b.rank);
}

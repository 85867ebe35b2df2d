/** What is alike, by a picture or by words; what readers call right and wrong refines it. Not what is the same. */

import { useRef } from "preact/hooks";
import { api, crop, type Alike, type Example, type IndexInfo, type Likeness, type Side } from "../api";
import { address, adjust, changed, go, LIKENESS, only, shapeParams } from "../addresses";
import { useKeys } from "../keys";
import { useAnswer } from "../loading";
import { Busy, Choice, Exports, Facts, File, ImageLink, known, Problem, titled } from "../parts/basics";
import { language, number, t } from "../words";

const MOST = 500;
const FIRST = 60;
const FORMS = ["csv", "jsonl"];
const SIDE = 320;

/** Whether a picture is what is wanted. */
type Called = "right" | "wrong";

export function Similar({ index, params }: { index: IndexInfo; params: URLSearchParams }) {
  const asked = only(params, LIKENESS);
  const limit = Number(params.get("limit")) || FIRST;
  const isAsked = ["image", "upload", "text", "colour", "right"].some((name) => params.has(name));
  const answer = useAnswer<Likeness>(isAsked ? api(index.name, "similar", changed(asked, { limit })) : null);
  const words = useRef<HTMLInputElement>(null);
  const condition = useRef<HTMLInputElement>(null);
  const grid = useRef<HTMLUListElement>(null);
  const { data } = answer;

  const called = (example: string): Called | null =>
    params.getAll("right").includes(example) ? "right" : params.getAll("wrong").includes(example) ? "wrong" : null;
  const call = (example: string, side: Called): void => {
    const next = new URLSearchParams(params);
    for (const name of ["right", "wrong"]) {
      next.delete(name);
      for (const one of params.getAll(name)) if (one !== example) next.append(name, one);
    }
    if (called(example) !== side) next.append(side, example);
    go(address(index.name, "similar", next));
  };
  const cards = (): HTMLElement[] => [...(grid.current?.querySelectorAll<HTMLElement>(":scope > li") ?? [])];
  const current = (): number => cards().findIndex((card) => card.contains(document.activeElement));
  const focus = (step: number): void => cards()[Math.max(current() + step, 0)]?.querySelector("a")?.focus();
  const callCurrent = (side: Called): void => {
    const one = data?.alike[current()];
    if (one) call(one.example, side);
  };
  useKeys([
    { keys: ["/"], does: "keys.words", act: () => words.current?.focus() },
    { keys: ["n", "arrowright"], does: "keys.hit.next", act: () => focus(1) },
    { keys: ["p", "arrowleft"], does: "keys.hit.previous", act: () => focus(-1) },
    { keys: ["y"], does: "keys.right", act: () => callCurrent("right") },
    { keys: ["x"], does: "keys.wrong", act: () => callCurrent("wrong") },
  ]);

  return (
    <main>
      <header class="asked">
        {data?.asked && <Asked index={index.name} side={data.asked} />}
        <div>
          <h1 aria-live="polite">{t(data ? "similar.title" : isAsked ? "results.searching" : "similar.ask")}</h1>
          <p class="note">{t("similar.what")}</p>
        </div>
      </header>
      <div class="bar">
        {index.readers.length > 0 && (
        <form
          class="choice"
          role="search"
          onSubmit={(event) => {
            event.preventDefault();
            const text = words.current?.value.trim();
            adjust({ text, language: text ? language() : null }, false);
          }}
        >
          <label class="choice">
            <span>{t("similar.words")}</span>
            <input
              type="search"
              ref={words}
              defaultValue={params.get("text") ?? ""}
              key={params.get("text")}
              placeholder={t("similar.example")}
            />
          </label>
        </form>
        )}
        {index.models.length > 1 && (
          <Choice
            label={t("similar.model")}
            value={params.get("model") ?? data?.model ?? index.models[0] ?? ""}
            options={index.models.map((name) => [name, name] as const)}
            onChoose={(value) => adjust({ model: value })}
          />
        )}
        <Choice
          label={t("similar.among")}
          value={params.get("among") ?? "all"}
          options={(["all", "images", "regions"] as const).map((one) => [one, t(`similar.among.${one}`)] as const)}
          onChoose={(value) => adjust({ among: value === "all" ? null : value })}
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
        {isAsked && (
          <Exports forms={FORMS} at={(form) => api(index.name, "similar/export", changed(asked, { form, limit }))} />
        )}
      </div>
      {data && data.right.length + data.wrong.length > 0 && (
        <div class="examples">
          <Examples side="right" of={data.right} onDrop={call} />
          <Examples side="wrong" of={data.wrong} onDrop={call} />
        </div>
      )}
      {answer.refused && <Problem refused={answer.refused} />}
      {isAsked && !data && !answer.refused && <Busy />}
      {data && !data.alike.length && <p class="nothing">{t("similar.nothing")}</p>}
      <ul class="grid finds" ref={grid} aria-busy={answer.busy && isAsked}>
        {data?.alike.map((one) => (
          <li key={one.example}>
            <Card index={index.name} one={one} />
            <div class="decide" role="group" aria-label={t("similar.call")}>
              {(["right", "wrong"] as const).map((side) => (
                <button
                  type="button"
                  value={side === "right" ? "same" : "different"}
                  aria-pressed={called(one.example) === side}
                  onClick={() => call(one.example, side)}
                >
                  <Thumb down={side === "wrong"} />
                  {t(`similar.${side}`)}
                </button>
              ))}
            </div>
          </li>
        ))}
      </ul>
      {data && data.alike.length === limit && limit < MOST && (
        <p class="more">
          <button type="button" onClick={() => adjust({ limit: MOST })}>
            {t("similar.more")}
          </button>
        </p>
      )}
    </main>
  );
}

function Thumb({ down }: { down: boolean }) {
  const hand = "M1 7h3v7H1zM5 7l3-6c1.2 0 2 .9 2 2v3h4c.8 0 1.3.7 1.1 1.5l-1.3 5.4c-.2.7-.7 1.1-1.4 1.1H5z";
  return (
    <svg class="thumb" viewBox="0 0 16 16" aria-hidden="true">
      <path d={hand} {...(down ? { transform: "rotate(180 8 8)" } : {})} />
    </svg>
  );
}

function Card({ index, one }: { index: string; one: Alike }) {
  const at = address(index, `image/${one.id}`, shapeParams(one.region && { box: one.region }));
  return (
    <>
      <a href={at} class="picture">
        <img class="alike" src={one.crop} alt={t("similar.open", { name: titled(one) })} loading="lazy" />
      </a>
      <h2 class="name">
        <ImageLink index={index} id={one.id}>
          {titled(one)}
        </ImageLink>
        <File of={one.title} path={one.name} />
      </h2>
      <p class="badges">
        <span class="badge">{t("similar.likeness", { likeness: number(one.likeness, { maximumFractionDigits: 2 }) })}</span>
        {one.kind && <span class="badge kind">{t(`kind.${one.kind}`)}</span>}
      </p>
      <Facts rows={known(one, one.name).slice(0, 3)} />
    </>
  );
}

/** What it is to be like, and a way back to it. */
function Asked({ index, side }: { index: string; side: Side }) {
  const part = shapeParams(side.region && { box: side.region });
  const back =
    side.image === null
      ? address(index, "query", { upload: side.upload, ...part })
      : address(index, `image/${side.image}`, part);
  return (
    <>
      <a href={back}>
        <img src={crop(side.iiif, side.region, SIDE)} alt={t("similar.asked")} />
      </a>
      <div>
        <p class="kicker">{t("similar.asked")}</p>
        <p class="name big">
          <a href={back}>{titled(side)}</a>
        </p>
      </div>
    </>
  );
}

interface ExamplesProps {
  side: Called;
  of: readonly Example[];
  onDrop: (example: string, side: Called) => void;
}

function Examples({ side, of, onDrop }: ExamplesProps) {
  if (!of.length) return null;
  return (
    <section aria-label={t(`similar.${side}`)}>
      <h2>{t(`similar.${side}`)}</h2>
      <ul>
        {of.map(({ example, title, crop: picture }) => (
          <li key={example}>
            <button type="button" onClick={() => onDrop(example, side)} aria-label={t("similar.drop", { name: title })}>
              <img src={picture} alt="" />
              <span aria-hidden="true">×</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** An index as a grid of thumbnails, chosen by metadata and words, page by page. */

import { useRef } from "preact/hooks";
import { api, type Facet, type Images, type IndexInfo } from "../api";
import { address, adjust, changed, go } from "../addresses";
import { useKeys } from "../keys";
import { useAnswer } from "../loading";
import { Busy, Choice, File, Pager, Problem, titled } from "../parts/basics";
import { number, t } from "../words";

const LIMIT = 60;
const SHOWN_FIELDS = 6;

export function Browse({ index, params }: { index: IndexInfo; params: URLSearchParams }) {
  const text = params.get("text") ?? "";
  const chosen = params.getAll("where");
  const sort = params.get("sort") ?? "";
  const offset = Number(params.get("offset")) || 0;
  const where = chosen.map((condition) => `(${condition})`).join(" and ");
  const asked = changed(new URLSearchParams(), { where, text });
  const images = useAnswer<Images>(
    api(index.name, "images", changed(asked, { sort, offset: offset || null, limit: LIMIT })),
  );
  const facets = useAnswer<{ fields: Facet[] }>(api(index.name, "facets", changed(asked, { limit: 12 })));
  const field = useRef<HTMLInputElement>(null);
  const total = images.data?.total ?? 0;
  const at = (to: number): string => address(index.name, "", changed(params, { offset: to || null }));
  useKeys([
    { keys: ["/"], does: "keys.words", act: () => field.current?.focus() },
    { keys: ["n"], does: "keys.forward", act: () => offset + LIMIT < total && go(at(offset + LIMIT)) },
    { keys: ["p"], does: "keys.back", act: () => offset > 0 && go(at(Math.max(offset - LIMIT, 0))) },
  ]);

  const toggle = (condition: string): void => {
    const kept = chosen.filter((other) => other !== condition);
    const next = changed(params, { where: null, offset: null });
    for (const one of kept.length < chosen.length ? kept : [...chosen, condition]) next.append("where", one);
    go(address(index.name, "", next));
  };
  const sorts = ["", "name", "-name", "-features", "-width", ...index.fields];

  return (
    <main class="browse">
      <aside aria-label={t("browse.choose")}>
        <form
          role="search"
          onSubmit={(event) => {
            event.preventDefault();
            adjust({ text: field.current?.value.trim(), offset: null }, false);
          }}
        >
          <label>
            <span>{t("browse.words")}</span>
            <input type="search" ref={field} defaultValue={text} key={text} placeholder={t("browse.example")} />
          </label>
        </form>
        {chosen.length > 0 && (
          <ul class="chips" aria-label={t("browse.chosen")}>
            {chosen.map((condition) => (
              <li>
                <button type="button" onClick={() => toggle(condition)} aria-label={t("browse.without", { condition })}>
                  {condition} <span aria-hidden="true">×</span>
                </button>
              </li>
            ))}
          </ul>
        )}
        {ordered(facets.data?.fields ?? []).map((facet, i) => (
          <details class="facet" open={i < SHOWN_FIELDS && !scattered(facet)} key={`${facet.of} ${facet.field}`}>
            <summary>
              {facet.of === "things" ? t("browse.things") : facet.field} <span>{number(facet.distinct)}</span>
            </summary>
            <ul>
              {facet.values.map(({ value, images: count, where: condition }) => (
                <li>
                  <button type="button" aria-pressed={chosen.includes(condition)} onClick={() => toggle(condition)}>
                    {value || t("browse.empty")}
                  </button>
                  <span>{number(count)}</span>
                </li>
              ))}
            </ul>
            {facet.distinct > facet.values.length && (
              <p class="note">{t("browse.more", { n: facet.distinct - facet.values.length })}</p>
            )}
          </details>
        ))}
      </aside>
      <section>
        <header class="bar">
          <h1>{index.name}</h1>
          <p role="status">{images.data && t("browse.count", { n: total })}</p>
          <Choice
            label={t("sort")}
            value={sort}
            options={sorts.map((key) => [key, sortName(key)])}
            onChoose={(key) => adjust({ sort: key, offset: null }, false)}
          />
          <Pager offset={offset} limit={LIMIT} total={total} at={at} />
        </header>
        {images.refused && <Problem refused={images.refused} />}
        {!images.data && !images.refused && <Busy />}
        {images.data && !total && <p class="nothing">{t("browse.nothing")}</p>}
        <ul class="grid" aria-busy={images.busy}>
          {images.data?.images.map((image) => (
            <li key={image.id}>
              <a href={address(index.name, `image/${image.id}`)}>
                <img src={image.thumbnail} alt="" loading="lazy" width={image.width} height={image.height} />
                <span class="name">
                  {titled(image)}
                  <File of={image.title} path={image.name} />
                </span>
              </a>
            </li>
          ))}
        </ul>
        <Pager offset={offset} limit={LIMIT} total={total} at={at} />
      </section>
    </main>
  );
}

/** Whether nearly every image has a value of its own: nothing to choose by. */
function scattered(facet: Facet): boolean {
  return facet.distinct > 0.5 * facet.images && facet.distinct > facet.values.length;
}

function ordered(facets: readonly Facet[]): readonly Facet[] {
  return [...facets].sort((a, b) => Number(scattered(a)) - Number(scattered(b)));
}

function sortName(key: string): string {
  if (key === "") return t("sort.added");
  if (key === "name") return t("sort.name");
  if (key === "-name") return t("sort.name.down");
  if (key === "-features") return t("sort.features");
  if (key === "-width") return t("sort.width");
  return key;
}

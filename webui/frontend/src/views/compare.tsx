/** Query and find in one frame, and the reader's verdict. */

import { useEffect, useState } from "preact/hooks";
import {
  api,
  judge,
  type Answer,
  type BlockVerdict,
  type Box,
  type Comparison,
  type Point,
  type Registered,
  type Side,
  type Verdict,
} from "../api";
import { address, adjust, changed, go, only, QUESTION } from "../addresses";
import { useKeys } from "../keys";
import { useAnswer, useSending } from "../loading";
import { Busy, Facts, ImageLink, known, Problem, Switch, titled } from "../parts/basics";
import { Badges, Sure, VerdictButtons, verdictKeys } from "../parts/finds";
import { number, t } from "../words";
import { boxBetween } from "../viewer/shapes";
import { Stage, WAYS, type Marks, type Way } from "../viewer/stage";
import { comparisonOf, comparisonParams } from "./results";

/** The parameters that name the two pictures: all that the server wants to know. */
const PAIR = ["image", "upload", "region", "polygon", "with", "place"];

export function Compare({ index, params, writable }: { index: string; params: URLSearchParams; writable: boolean }) {
  const asked = only(params, PAIR);
  const comparison = useAnswer<Comparison>(api(index, "comparison", asked));
  const question = only(params, QUESTION);
  const answer = useAnswer<Answer>(api(index, "search", changed(question, { limit: 500 })));
  const hits = answer.data?.hits ?? [];
  const pairs = hits.map((hit) => only(comparisonParams(hit), PAIR).toString());
  const here = pairs.indexOf(asked.toString());
  const open = (step: number): void => {
    const hit = hits[here + step];
    if (here >= 0 && hit) go(comparisonOf(index, hit, params));
  };
  useKeys([
    { keys: ["n"], does: "keys.hit.next", act: () => open(1) },
    { keys: ["p"], does: "keys.hit.previous", act: () => open(-1) },
    { keys: ["l"], does: "keys.list", act: () => go(address(index, "search", question)) },
  ]);
  return (
    <main class="compare">
      <nav class="step" aria-label={t("compare.step")}>
        <a href={address(index, "search", question)}>{t("compare.list")}</a>
        {here >= 0 && (
          <>
            <button type="button" onClick={() => open(-1)} disabled={here === 0}>
              {t("compare.previous")}
            </button>
            <span>{t("pager.place", { place: here + 1, of: hits.length })}</span>
            <button type="button" onClick={() => open(1)} disabled={here === hits.length - 1}>
              {t("compare.next")}
            </button>
          </>
        )}
      </nav>
      {comparison.refused && <Problem refused={comparison.refused} />}
      {!comparison.data && !comparison.refused && <Busy />}
      {comparison.data?.found === false && <p class="nothing">{t("compare.nothing")}</p>}
      {comparison.data?.found && (
        <Bench index={index} found={comparison.data} params={params} writable={writable} key={asked.toString()} />
      )}
    </main>
  );
}

interface BenchProps {
  index: string;
  found: Registered;
  params: URLSearchParams;
  writable: boolean;
}

function Bench({ index, found, params, writable }: BenchProps) {
  const [judged, setJudged] = useState<Verdict | null>(found.judgement);
  useEffect(() => setJudged(found.judgement), [found]);
  const [breaks, setBreaks] = useState<Marks["breaks"]>([]);
  const sending = useSending();
  const way = WAYS.find((one) => one === params.get("view")) ?? "side";
  const inliers = params.get("inliers") === "1";
  const show = (chosen: Way): void => adjust({ view: chosen });
  const { a, b } = found;
  const judgeable = writable && a.image !== null && b.image !== null;
  const decide = (verdict: Verdict): void => {
    if (!judgeable || a.image === null || b.image === null) return;
    const pair = [
      { image: a.image, region: a.region },
      { image: b.image, region: b.region },
    ] as const;
    sending.send(judge(index, ...pair, verdict), () => setJudged(verdict));
  };
  useKeys([
    ...WAYS.map((one, i) => ({ keys: [String(i + 1)], does: `way.${one}` as const, act: () => show(one) })),
    { keys: ["i"], does: "keys.inliers", act: () => adjust({ inliers: inliers ? null : 1 }) },
    ...(judgeable ? verdictKeys(decide) : []),
  ]);
  return (
    <>
      <section class="bench" aria-label={t("compare.title")}>
        <div class="tools">
          <Switch
            label={t("compare.way")}
            options={WAYS.map((one) => [one, t(`way.${one}`)])}
            value={way}
            onChoose={show}
          />
          <label>
            <input
              type="checkbox"
              checked={inliers}
              onChange={(event) => adjust({ inliers: event.currentTarget.checked ? 1 : null })}
            />{" "}
            {t("compare.inliers", { n: found.inliers })}
          </label>
        </div>
        <Stage
          pictures={found.pictures}
          names={[titled(a), titled(b)]}
          way={way}
          marks={{
            points: inliers ? found.points.a.map((point) => inFrame(found, point)) : [],
            breaks: breaks.map(({ on, box }) => ({ on, box: boxInFrame(found, box) })),
          }}
        />
        <p class="hint">{t(`way.${way}.hint`)}</p>
      </section>
      <aside>
        <h1>{t("compare.title")}</h1>
        <Sides index={index} side={a} letter="A" />
        <Sides index={index} side={b} letter="B" />
        <Badges relation={found.relation} rotation={found.rotation} />
        <Sure falseAlarms={found.false_alarms} />
        <Facts
          rows={[
            [t("compare.scale"), t("compare.times", { times: number(found.scale, { maximumFractionDigits: 2 }) })],
            [t("compare.agreeing"), number(found.inliers)],
          ]}
        />
        {judgeable && (
          <section>
            <h2>{t("verdict.ask")}</h2>
            <VerdictButtons value={judged} onJudge={decide} />
            {sending.refused && <Problem refused={sending.refused} />}
            <p class="note" role="status">
              {judged && t("verdict.kept")}
            </p>
          </section>
        )}
        <Block address={found.verdict} onBreaks={setBreaks} />
      </aside>
    </>
  );
}

function Sides({ index, side, letter }: { index: string; side: Side; letter: string }) {
  const title = titled(side);
  return (
    <section class="side">
      <h2 class="name">
        <span class="rank">{letter}</span>{" "}
        {side.image === null ? title : <ImageLink index={index} id={side.image} children={title} />}
      </h2>
      <Facts rows={known(side, side.name)} />
    </section>
  );
}

/** From pixels of the query to those of the frame. */
function inFrame({ frame }: Registered, [x, y]: Point): Point {
  const [left, top, width, height] = frame.region;
  return [((x - left) * frame.width) / width, ((y - top) * frame.height) / height];
}

function boxInFrame(found: Registered, [x, y, width, height]: Box): Box {
  return boxBetween(inFrame(found, [x, y]), inFrame(found, [x + width, y + height]));
}

/** One block, or a copy of it: asked for by a button, for it takes seconds. */
function Block({ address: where, onBreaks }: { address: string; onBreaks: (breaks: Marks["breaks"]) => void }) {
  const [wanted, setWanted] = useState(false);
  const verdict = useAnswer<BlockVerdict>(wanted ? where : null);
  const lost: Marks["breaks"] = [
    ...(verdict.data?.lost_on_a ?? []).map(({ region }) => ({ on: "a" as const, box: region })),
    ...(verdict.data?.lost_on_b ?? []).map(({ region }) => ({ on: "b" as const, box: region })),
  ];
  const percent = (value: number | null): string =>
    value === null ? "–" : number(value, { style: "percent", maximumSignificantDigits: 2 });
  return (
    <section>
      <h2>{t("block.title")}</h2>
      {!wanted && (
        <button type="button" onClick={() => setWanted(true)}>
          {t("block.ask")}
        </button>
      )}
      {wanted && !verdict.data && !verdict.refused && <Busy />}
      {verdict.refused && <Problem refused={verdict.refused} />}
      {verdict.data && (
        <div role="status">
          <p class={`verdict ${verdict.data.verdict}`}>{t(`block.${verdict.data.verdict}`)}</p>
          <p class="note">{t(`block.${verdict.data.verdict}.means`)}</p>
          <Facts
            rows={[
              [
                t("block.agreement"),
                verdict.data.agreement === null ? "–" : number(verdict.data.agreement, { maximumFractionDigits: 2 }),
              ],
              [t("block.deformation"), percent(verdict.data.deformation)],
              [t("block.coverage"), `A ${percent(verdict.data.coverage[0])}, B ${percent(verdict.data.coverage[1])}`],
              [t("block.lost.b"), number(verdict.data.lost_on_b.length)],
              [t("block.lost.a"), number(verdict.data.lost_on_a.length)],
            ]}
          />
          {lost.length > 0 && (
            <label>
              <input type="checkbox" onChange={(event) => onBreaks(event.currentTarget.checked ? lost : [])} />{" "}
              {t("block.show")}
            </label>
          )}
          {verdict.data.printed_first && <p>{t(`block.first.${verdict.data.printed_first}`)}</p>}
        </div>
      )}
    </section>
  );
}

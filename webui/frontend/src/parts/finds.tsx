/** What is said of a find: how sure, how it is printed, what a reader thinks of it; and the place itself, lit. */

import { crop, VERDICTS, type Box, type Kind, type Point, type Relation, type Verdict } from "../api";
import { certainty, odds } from "../chance";
import type { Key } from "../keys";
import { number, t } from "../words";

export function Badges({ relation, rotation, kind }: { relation: Relation; rotation: number; kind?: Kind | null }) {
  const turn = Math.round(Math.abs(rotation));
  return (
    <p class="badges">
      <span class={relation === "same" ? "badge" : "badge odd"}>{t(`relation.${relation}`)}</span>
      {turn > 0 && (
        <span class={turn >= 45 ? "badge odd" : "badge"}>
          {t(rotation > 0 ? "turned.clockwise" : "turned.anticlockwise", { degrees: number(turn) })}
        </span>
      )}
      {kind && <span class="badge kind">{t(`kind.${kind}`)}</span>}
    </p>
  );
}

export function Sure({ falseAlarms }: { falseAlarms: number }) {
  const level = certainty(falseAlarms);
  return (
    <p class={`sure ${level}`}>
      <b>{t(`certainty.${level}`)}</b> <span>{odds(falseAlarms)}</span>
    </p>
  );
}

/** The keys that judge: `s`, `d` and `u`. */
export function verdictKeys(onJudge: (verdict: Verdict) => void): Key[] {
  return [
    { keys: ["s"], does: "keys.same", act: () => onJudge("same") },
    { keys: ["d"], does: "keys.different", act: () => onJudge("different") },
    { keys: ["u"], does: "keys.unsure", act: () => onJudge("unsure") },
  ];
}

interface VerdictProps {
  value: Verdict | null;
  onJudge: (verdict: Verdict) => void;
}

export function VerdictButtons({ value, onJudge }: VerdictProps) {
  return (
    <div class="decide" role="group" aria-label={t("verdict.ask")}>
      {VERDICTS.map((verdict) => (
        <button type="button" value={verdict} aria-pressed={value === verdict} onClick={() => onJudge(verdict)}>
          {t(`verdict.${verdict}`)}
        </button>
      ))}
    </div>
  );
}

interface LitProps {
  shown: { iiif: string; width: number; height: number };
  region: Box;
  polygon: readonly Point[];
  alt: string;
}

const MARGIN = 0.22;
const SIDE = 480;

/** A picture cropped around a place on it, the place lit. */
export function LitCrop({ shown, region, polygon, alt }: LitProps) {
  const view = around(region, shown);
  const corners = polygon.map((point) => point.join(",")).join(" ");
  const [x, y, width, height] = view;
  return (
    <span class="lit">
      <img
        src={crop(shown.iiif, view, SIDE)}
        alt={alt}
        loading="lazy"
        width={Math.round(width)}
        height={Math.round(height)}
      />
      <svg viewBox={`${x} ${y} ${width} ${height}`} aria-hidden="true">
        <path
          class="dim"
          fill-rule="evenodd"
          d={`M${x} ${y}h${width}v${height}h${-width}z M${polygon.map((point) => point.join(" ")).join(" L")}z`}
        />
        <polygon points={corners} />
      </svg>
    </span>
  );
}

/** A region with a margin, in whole pixels of the picture. */
function around([x, y, width, height]: Box, picture: { width: number; height: number }): Box {
  const margin = MARGIN * Math.max(width, height);
  const left = Math.floor(Math.max(x - margin, 0));
  const top = Math.floor(Math.max(y - margin, 0));
  const right = Math.ceil(Math.min(x + width + margin, picture.width));
  const bottom = Math.ceil(Math.min(y + height + margin, picture.height));
  return [left, top, Math.max(right - left, 1), Math.max(bottom - top, 1)];
}

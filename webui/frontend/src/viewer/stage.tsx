/** Two pictures that were registered in one frame: beside each other, one through the other, in turn. */

import OpenSeadragon from "openseadragon";
import { useEffect, useState } from "preact/hooks";
import type { Box, Point } from "../api";
import { t } from "../words";
import { cornersOf } from "./shapes";
import { hear, onScreen, useView, Viewer, ZoomButtons } from "./viewer";

export const WAYS = ["side", "swipe", "fade", "overlay", "blink", "difference", "proof"] as const;
export type Way = (typeof WAYS)[number];

type Open = OpenSeadragon.Viewer | null;

/** What is drawn upon the pictures, in pixels of them. */
export interface Marks {
  /** Details found on both. */
  points: readonly Point[];
  /** Lines that are broken on the one or on the other. */
  breaks: readonly { on: "a" | "b"; box: Box }[];
}

interface Props {
  pictures: Readonly<Record<"a" | "b" | "overlay" | "difference" | "proof", string>>;
  names: readonly [a: string, b: string];
  way: Way;
  marks: Marks;
}

const BLINK = 650;
const NONE: Marks = { points: [], breaks: [] };

export function Stage({ pictures, names, way, marks }: Props) {
  if (way === "side") return <SideBySide pictures={pictures} names={names} marks={marks} />;
  if (way === "swipe" || way === "fade" || way === "blink") {
    return <Through pictures={pictures} names={names} way={way} marks={marks} />;
  }
  return <Single address={pictures[way]} label={t(`way.${way}`)} marks={way === "proof" ? NONE : marks} />;
}

function Single({ address, label, marks }: { address: string; label: string; marks: Marks }) {
  const [viewer, setViewer] = useState<Open>(null);
  return (
    <div class="stage">
      <Viewer sources={[address]} label={label} onOpen={setViewer}>
        <Drawn viewer={viewer} marks={marks} />
        <ZoomButtons viewer={viewer} />
      </Viewer>
    </div>
  );
}

/** Two viewers of which each follows the other. */
function SideBySide({ pictures, names, marks }: Omit<Props, "way">) {
  const [viewers, setViewers] = useState<readonly [Open, Open]>([null, null]);
  useEffect(() => {
    const [left, right] = viewers;
    return left && right ? together(left, right) : undefined;
  }, [viewers]);
  return (
    <div class="stage pair">
      <figure>
        <Viewer sources={[pictures.a]} label={names[0]} onOpen={(viewer) => setViewers(([, other]) => [viewer, other])}>
          <Drawn viewer={viewers[0]} marks={marks} />
          <ZoomButtons viewer={viewers[0]} />
        </Viewer>
        <figcaption class="name">{names[0]}</figcaption>
      </figure>
      <figure>
        <Viewer sources={[pictures.b]} label={names[1]} onOpen={(viewer) => setViewers(([other]) => [other, viewer])}>
          <Drawn viewer={viewers[1]} marks={marks} />
        </Viewer>
        <figcaption class="name">{names[1]}</figcaption>
      </figure>
    </div>
  );
}

function together(left: OpenSeadragon.Viewer, right: OpenSeadragon.Viewer): () => void {
  let following = false;
  const follow = (leader: OpenSeadragon.Viewer, follower: OpenSeadragon.Viewer) => (): void => {
    if (following) return;
    following = true;
    follower.viewport.zoomTo(leader.viewport.getZoom(true), undefined, true);
    follower.viewport.panTo(leader.viewport.getCenter(true), true);
    following = false;
  };
  const ends = [
    hear(left, "update-viewport", follow(left, right)),
    hear(right, "update-viewport", follow(right, left)),
  ];
  return () => ends.forEach((end) => end());
}

/** The second picture upon the first: up to a line, half through, or in turn with it. */
function Through({ pictures, names, way, marks }: Omit<Props, "way"> & { way: "swipe" | "fade" | "blink" }) {
  const [viewer, setViewer] = useState<Open>(null);
  const [share, setShare] = useState(0.5);
  const [upper, setUpper] = useState(true);
  const [running, setRunning] = useState(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  useView(viewer);

  useEffect(() => {
    if (way !== "blink" || !running) return undefined;
    const timer = setInterval(() => setUpper((shown) => !shown), BLINK);
    return () => clearInterval(timer);
  }, [way, running]);

  const top = viewer?.world.getItemAt(1);
  useEffect(() => {
    if (!top) return;
    top.setOpacity(way === "fade" ? share : way === "blink" && !upper ? 0 : 1);
  }, [top, way, share, upper]);
  // The line stays where it is on the screen while the picture moves beneath it.
  const size = top?.getContentSize();
  const width = viewer?.element.clientWidth ?? 0;
  const line =
    top && way === "swipe" ? top.viewerElementToImageCoordinates(new OpenSeadragon.Point(share * width, 0)).x : null;
  useEffect(() => {
    if (!top || !size) return;
    const left = line === null ? 0 : Math.min(Math.max(line, 0), size.x);
    top.setClip(line === null ? null : new OpenSeadragon.Rect(left, 0, size.x - left, size.y));
  }, [top, line]);

  return (
    <div class="stage">
      <Viewer sources={[pictures.a, pictures.b]} label={names.join(", ")} onOpen={setViewer}>
        <Drawn viewer={viewer} marks={marks} />
        {way === "swipe" && <Divider share={share} onMove={setShare} />}
        <ZoomButtons viewer={viewer} />
      </Viewer>
      <div class="between">
        <span class="name" data-shown={way === "blink" && !upper}>
          {names[0]}
        </span>
        {way === "blink" ? (
          <span class="turns">
            <button type="button" onClick={() => setRunning(!running)}>
              {t(running ? "blink.stop" : "blink.go")}
            </button>
            <button type="button" onClick={() => setUpper(!upper)} disabled={running}>
              {t("blink.step")}
            </button>
          </span>
        ) : (
          <input
            type="range"
            min={0}
            max={1}
            step={0.01}
            value={share}
            aria-label={t(`way.${way}`)}
            onInput={(event) => setShare(event.currentTarget.valueAsNumber)}
          />
        )}
        <span class="name" data-shown={way === "blink" && upper}>
          {names[1]}
        </span>
      </div>
    </div>
  );
}

/** The line between the two pictures; dragged with a pointer, or moved by the slider below. */
function Divider({ share, onMove }: { share: number; onMove: (share: number) => void }) {
  const drag = (event: PointerEvent): void => {
    const line = event.currentTarget as HTMLElement;
    const frame = line.parentElement?.getBoundingClientRect();
    if (!frame || !line.hasPointerCapture(event.pointerId)) return;
    onMove(Math.min(Math.max((event.clientX - frame.left) / frame.width, 0), 1));
  };
  return (
    <div
      class="divider"
      aria-hidden="true"
      style={{ left: `${100 * share}%` }}
      onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      onPointerMove={drag}
    />
  );
}

function Drawn({ viewer, marks }: { viewer: Open; marks: Marks }) {
  useView(viewer);
  if (!viewer?.world.getItemCount()) return null;
  return (
    <svg class="drawing">
      {marks.breaks.map(({ on, box }) => (
        <polygon
          class={`break ${on}`}
          points={cornersOf(box)
            .map((corner) => onScreen(viewer, corner))
            .join(" ")}
        />
      ))}
      {marks.points.map((point) => {
        const [x, y] = onScreen(viewer, point);
        return <circle class="inlier" cx={x} cy={y} r={4} />;
      })}
    </svg>
  );
}

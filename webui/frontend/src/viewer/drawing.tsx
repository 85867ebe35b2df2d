/**
 * Draw a box or an outline on a picture, change it, and choose regions that are already known: with a mouse, a finger
 * or the keyboard. Lines are SVG over OpenSeadragon, whose own events are listened to, so that the wheel and two
 * fingers go on zooming. (Annotorious does this too, but compiles its shaders with `eval`, which the content security
 * policy forbids, and draws with a pointer only.)
 */

import OpenSeadragon from "openseadragon";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Point, Zone } from "../api";
import type { Shape } from "../addresses";
import { t } from "../words";
import { boundsOf, boxBetween, cornersOf, moved, outlineOf, reshaped, stretched, within } from "./shapes";
import { hear, onImage, onScreen, useView } from "./viewer";

export type Tool = "move" | "box" | "polygon";

interface Props {
  viewer: OpenSeadragon.Viewer | null;
  size: readonly [width: number, height: number];
  tool: Tool;
  shape: Shape | null;
  regions: readonly Zone[];
  /** The one of `regions` that is pointed at elsewhere on the page. */
  lit: Zone | null;
  onShape: (shape: Shape | null) => void;
  onRegion: (region: Zone) => void;
  /** The shape is complete, and is to be looked for. */
  onFind: () => void;
}

type Gesture = { does: "draw"; from: Point } | { does: "move"; last: Point } | { does: "reshape"; corner: number };

/** Reach of a corner, in pixels of the screen. */
const REACH = { mouse: 12, touch: 26 };
const SMALLEST = 6;
const STEP = 10;

export function outlineOfZone(zone: Zone): Point[] {
  return zone.polygon ?? cornersOf(zone.box);
}

export function Drawing(props: Props) {
  const { viewer, shape, regions, size } = props;
  const scale = useView(viewer);
  const [draft, setDraft] = useState<Point[]>([]);
  const [pointer, setPointer] = useState<Point | null>(null);
  const latest = useRef({ ...props, scale, draft });
  latest.current = { ...props, scale, draft };

  useEffect(() => setDraft([]), [props.tool, viewer]);
  useEffect(() => (viewer ? listen(viewer, latest, setDraft, setPointer) : undefined), [viewer]);
  useEffect(() => {
    const escape = (event: KeyboardEvent): void => {
      const points = latest.current.draft;
      if (!points.length) return;
      if (event.key === "Escape") setDraft([]);
      else if (event.key === "Enter" && points.length > 2) {
        latest.current.onShape({ polygon: points });
        setDraft([]);
      } else return;
      event.preventDefault();
    };
    addEventListener("keydown", escape, true);
    return () => removeEventListener("keydown", escape, true);
  }, []);

  if (!viewer?.world.getItemCount()) return null;
  const path = (points: readonly Point[]): string => points.map((point) => onScreen(viewer, point).join(",")).join(" ");
  const hovered = pointer && props.tool === "move" ? smallestAt(regions, pointer) : null;
  const outline = shape && outlineOf(shape);
  return (
    <svg class="drawing">
      {regions.map((zone) => (
        <polygon
          class={`region ${zone.kind}`}
          data-lit={zone === hovered || zone === props.lit}
          points={path(outlineOfZone(zone))}
        />
      ))}
      {outline && (
        <g
          class="shape"
          tabindex={0}
          role="group"
          aria-label={t("drawing.shape")}
          onKeyDown={(event) => steer(event, shape, latest.current, size)}
        >
          <polygon class="under" points={path(outline)} />
          <polygon points={path(outline)} />
          {outline.map((corner) => {
            const [x, y] = onScreen(viewer, corner);
            return <rect class="corner" x={x - 5} y={y - 5} width={10} height={10} />;
          })}
        </g>
      )}
      {draft.length > 0 && (
        <g class="draft">
          <polyline points={path(pointer ? [...draft, pointer] : draft)} />
          {draft.map((point) => {
            const [x, y] = onScreen(viewer, point);
            return <circle cx={x} cy={y} r={5} />;
          })}
        </g>
      )}
    </svg>
  );
}

type Latest = { current: Props & { scale: number; draft: Point[] } };

function smallestAt(regions: readonly Zone[], point: Point): Zone | null {
  const area = (zone: Zone): number => zone.box[2] * zone.box[3];
  const under = regions.filter((zone) => within(point, outlineOfZone(zone)));
  return under.sort((a, b) => area(a) - area(b))[0] ?? null;
}

/** Follow the pointer until told to stop. */
function listen(
  viewer: OpenSeadragon.Viewer,
  latest: Latest,
  setDraft: (points: Point[]) => void,
  setPointer: (point: Point | null) => void,
): () => void {
  let gesture: Gesture | null = null;
  let before: Shape | null = null;
  const { element } = viewer; // The viewer forgets it when it is destroyed.

  const nearest = (points: readonly Point[], position: OpenSeadragon.Point, reach: number): number =>
    points.findIndex((point) => {
      const [x, y] = onScreen(viewer, point);
      return Math.hypot(x - position.x, y - position.y) <= reach;
    });

  const press = (event: OpenSeadragon.CanvasPressEvent): void => {
    gesture = null;
    const original = event.originalEvent;
    if (original instanceof PointerEvent && !original.isPrimary) return;
    const { shape, tool } = latest.current;
    const reach = event.pointerType === "touch" ? REACH.touch : REACH.mouse;
    const at = onImage(viewer, event.position);
    const corner = shape ? nearest(outlineOf(shape), event.position, reach) : -1;
    before = shape;
    if (corner >= 0) gesture = { does: "reshape", corner };
    else if (tool === "box" && shape && within(at, outlineOf(shape))) gesture = { does: "move", last: at };
    else if (tool === "box") gesture = { does: "draw", from: at };
  };

  const drag = (event: OpenSeadragon.CanvasDragEvent): void => {
    if (!gesture) return;
    event.preventDefaultAction = true;
    const { size, onShape } = latest.current;
    const at = onImage(viewer, event.position);
    if (gesture.does === "draw") onShape({ box: boxBetween(gesture.from, at) });
    else if (gesture.does === "reshape" && before) onShape(reshaped(before, gesture.corner, at));
    else if (gesture.does === "move" && before) {
      const [x, y] = gesture.last;
      onShape(moved(before, at[0] - x, at[1] - y, size));
    }
  };

  const release = (event: Omit<OpenSeadragon.CanvasDragEvent, "delta">): void => {
    if (!gesture) return;
    event.preventDefaultAction = true;
    const { shape, scale, onShape } = latest.current;
    const tiny = shape && "box" in shape && Math.min(shape.box[2], shape.box[3]) * scale < SMALLEST;
    if (tiny) onShape(before);
    gesture = null;
  };

  const click = (event: OpenSeadragon.CanvasClickEvent): void => {
    if (!event.quick) return;
    const { tool, regions, draft, onRegion, onShape } = latest.current;
    const at = onImage(viewer, event.position);
    if (tool !== "polygon") {
      const zone = smallestAt(regions, at);
      if (zone) onRegion(zone);
    } else if (draft.length > 2 && nearest(draft.slice(0, 1), event.position, REACH.touch) === 0) {
      onShape({ polygon: draft });
      setDraft([]);
    } else setDraft([...draft, at]);
  };

  const doubleClick = (event: OpenSeadragon.CanvasDoubleClickEvent): void => {
    const { tool, draft, shape, onShape, onFind } = latest.current;
    if (tool === "polygon" && draft.length > 3) {
      // The second click of the two has put its own corner there.
      onShape({ polygon: draft.slice(0, -1) });
      setDraft([]);
    } else if (tool !== "polygon" && shape && within(onImage(viewer, event.position), outlineOf(shape))) onFind();
  };

  const hover = (event: PointerEvent): void => {
    const edge = element.getBoundingClientRect();
    const position = new OpenSeadragon.Point(event.clientX - edge.left, event.clientY - edge.top);
    setPointer(viewer.world.getItemCount() ? onImage(viewer, position) : null);
  };
  const leave = (): void => setPointer(null);

  const control = new AbortController();
  const { signal } = control;
  element.addEventListener("pointermove", hover, { signal });
  element.addEventListener("pointerleave", leave, { signal });
  const ends = [
    hear(viewer, "canvas-press", press),
    hear(viewer, "canvas-drag", drag),
    hear(viewer, "canvas-drag-end", release),
    hear(viewer, "canvas-click", click),
    hear(viewer, "canvas-double-click", doubleClick),
    () => control.abort(),
  ];
  return () => ends.forEach((end) => end());
}

/** Arrow keys move the shape, with Shift they change its size; Enter looks for it, Delete takes it away. */
function steer(event: KeyboardEvent, shape: Shape, latest: Latest["current"], size: Props["size"]): void {
  const arrows: Record<string, Point> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const arrow = arrows[event.key];
  const step = STEP / latest.scale;
  if (arrow && event.shiftKey) {
    latest.onShape({ box: stretched(boundsOf(outlineOf(shape)), arrow[0] * step, arrow[1] * step, size) });
  } else if (arrow) latest.onShape(moved(shape, arrow[0] * step, arrow[1] * step, size));
  else if (event.key === "Enter") latest.onFind();
  else if (event.key === "Delete" || event.key === "Backspace") latest.onShape(null);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

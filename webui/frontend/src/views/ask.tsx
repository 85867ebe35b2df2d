/** A picture in deep zoom on which something is marked and looked for: a page of an index, or an upload. */

import type OpenSeadragon from "openseadragon";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { crop, type Box, type Zone } from "../api";
import { address, adjust, go, shapeOf, shapeParams, type Shape } from "../addresses";
import { useKeys } from "../keys";
import { Switch } from "../parts/basics";
import { t } from "../words";
import { Drawing, type Tool } from "../viewer/drawing";
import { boundsOf, outlineOf, sameness } from "../viewer/shapes";
import { showPart, Viewer, ZoomButtons } from "../viewer/viewer";

const MOST_REGIONS = 40;
/** What an address may hold. */
const MOST_CORNERS = 200;

interface Props {
  index: string;
  /** Whether the index knows what is alike. */
  likens: boolean;
  picture: { iiif: string; width: number; height: number; title: string };
  /** What names the picture in a question: `{ image: 12 }` or `{ upload: "k3" }`. */
  named: { image: number } | { upload: string };
  params: URLSearchParams;
  regions: readonly Zone[];
  children: ComponentChildren;
}

export function Ask({ index, likens, picture, named, params, regions: all, children }: Props) {
  const regions = useMemo(() => distinct(all), [all]);
  const [viewer, setViewer] = useState<OpenSeadragon.Viewer | null>(null);
  const [tool, setTool] = useState<Tool>(matchMedia("(pointer: coarse)").matches ? "move" : "box");
  const [shape, setShape] = useState<Shape | null>(() => shapeOf(params));
  const [lit, setLit] = useState<Zone | null>(null);
  const pictures = regions.filter(({ kind }) => kind !== "text").slice(0, MOST_REGIONS);
  const canvas = useRef<HTMLElement>(null);
  const size = [picture.width, picture.height] as const;

  // The address follows what is drawn, not pixel by pixel.
  useEffect(() => {
    const timer = setTimeout(() => adjust({ ...shapeParams(shape) }), 250);
    return () => clearTimeout(timer);
  }, [shape]);

  const find = (asked: Shape | null = shape): void => {
    const part = shapeParams(asked);
    adjust(part);
    go(address(index, "search", { ...named, ...part, where: params.get("where") }));
    scrollTo(0, 0);
  };
  const findAlike = (): void => {
    const part = shapeParams(shape);
    adjust(part);
    go(address(index, "similar", { ...named, ...part, where: params.get("where") }));
    scrollTo(0, 0);
  };
  const placeBox = (): void => {
    setTool("box");
    if (!viewer) return;
    if (!shape) {
      const image = viewer.world.getItemAt(0);
      const view = image.viewportToImageRectangle(viewer.viewport.getBounds(true));
      setShape({ box: centred([view.x, view.y, view.width, view.height], size) });
    }
    // Once it is drawn, the arrow keys are for it.
    setTimeout(() => canvas.current?.querySelector<SVGElement>(".shape")?.focus());
  };
  const tools: readonly (readonly [Tool, string])[] = [
    ["box", t("tool.box")],
    ["polygon", t("tool.polygon")],
    ["move", t("tool.move")],
  ];
  useKeys([
    { keys: ["b"], does: "keys.box", act: placeBox },
    { keys: ["o"], does: "keys.polygon", act: () => setTool("polygon") },
    { keys: ["m"], does: "keys.move", act: () => setTool("move") },
    { keys: ["enter"], does: "keys.find", act: find },
    { keys: ["escape"], does: "keys.clear", act: () => setShape(null) },
  ]);

  return (
    <main class="ask">
      <section ref={canvas} data-tool={tool} aria-label={picture.title}>
        <div class="tools">
          <Switch label={t("tool")} options={tools} value={tool} onChoose={setTool} />
          <p class="hint">{t(`tool.${tool}.hint`)}</p>
          <ZoomButtons viewer={viewer} />
        </div>
        <Viewer
          sources={[`${picture.iiif}/info.json`]}
          label={picture.title}
          navigator
          onOpen={(opened) => {
            setViewer(opened);
            const marked = shapeOf(params);
            if (marked) showPart(opened, boundsOf(outlineOf(marked)));
          }}
        >
          <Drawing
            viewer={viewer}
            size={size}
            tool={tool}
            shape={shape}
            regions={regions}
            lit={lit}
            onShape={setShape}
            onRegion={(zone) => setShape(shapeOfZone(zone))}
            onFind={find}
          />
        </Viewer>
      </section>
      <aside>
        <section class="question">
          <button type="button" class="main" onClick={() => find()}>
            {t(shape ? "ask.part" : "ask.whole")}
          </button>
          {likens && (
            <button type="button" onClick={findAlike}>
              {t("ask.similar")}
            </button>
          )}
          {shape && (
            <>
              <BoxFields box={boundsOf(outlineOf(shape))} size={size} onChange={(box) => setShape({ box })} />
              <button type="button" onClick={() => setShape(null)}>
                {t("ask.clear")}
              </button>
            </>
          )}
        </section>
        {children}
        {pictures.length > 0 && (
          <section>
            <h2>{t("ask.regions")}</h2>
            <ul class="regions">
              {pictures.map((zone) => (
                <li>
                  <button
                    type="button"
                    class={zone.kind}
                    title={zone.label}
                    aria-label={t("ask.region", { kind: called(zone) })}
                    onPointerEnter={() => setLit(zone)}
                    onPointerLeave={() => setLit(null)}
                    onFocus={() => setLit(zone)}
                    onBlur={() => setLit(null)}
                    onClick={() => find(shapeOfZone(zone))}
                  >
                    <img src={crop(picture.iiif, zone.box, 160)} alt="" loading="lazy" />
                    {called(zone)}
                  </button>
                </li>
              ))}
            </ul>
          </section>
        )}
      </aside>
    </main>
  );
}

/** Regions that several sources have found alike are shown once. */
function distinct(zones: readonly Zone[]): Zone[] {
  const kept: Zone[] = [];
  for (const zone of zones) {
    if (!kept.some((other) => called(other) === called(zone) && sameness(other.box, zone.box) > 0.7)) kept.push(zone);
  }
  return kept;
}

/** Things are called what they are, regions after their kind. */
function called(zone: Zone): string {
  return zone.kind === "thing" ? zone.label : t(`kind.${zone.kind}`);
}

function shapeOfZone(zone: Zone): Shape {
  return zone.polygon && zone.polygon.length <= MOST_CORNERS ? { polygon: zone.polygon } : { box: zone.box };
}

/** A box of a third of what is seen, in its middle. */
function centred(view: Box, [width, height]: readonly [number, number]): Box {
  const left = Math.max(view[0], 0);
  const top = Math.max(view[1], 0);
  const wide = Math.min(view[0] + view[2], width) - left;
  const high = Math.min(view[1] + view[3], height) - top;
  return [left + wide / 3, top + high / 3, wide / 3, high / 3];
}

interface BoxFieldsProps {
  box: Box;
  size: readonly [width: number, height: number];
  onChange: (box: Box) => void;
}

/** The box in figures, to be read and to be typed. */
function BoxFields({ box, size, onChange }: BoxFieldsProps) {
  const names = ["box.x", "box.y", "box.width", "box.height"] as const;
  return (
    <fieldset class="box">
      <legend>{t("box")}</legend>
      {names.map((name, i) => (
        <label>
          <span>{t(name)}</span>
          <input
            type="number"
            min={i < 2 ? 0 : 1}
            max={size[i % 2]}
            value={Math.round(box[i] ?? 0)}
            onChange={(event) => {
              const typed = event.currentTarget.valueAsNumber;
              if (Number.isFinite(typed)) onChange(box.map((edge, j) => (i === j ? typed : edge)) as Box);
            }}
          />
        </label>
      ))}
    </fieldset>
  );
}

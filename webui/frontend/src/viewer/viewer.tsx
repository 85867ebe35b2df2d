/** Deep zoom: OpenSeadragon as a component, and lines drawn upon it. */

import OpenSeadragon from "openseadragon";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import type { Point } from "../api";
import { t } from "../words";

// OpenSeadragon adds a rule for touch screens as an inline style, which the content security policy forbids, unless it
// finds its own mark. The rule itself stands in style/viewer.css.
const mark = document.createElementNS(null, "style");
mark.setAttribute("data-openseadragon-mobile-css", "");
document.head.append(mark);

interface Props {
  /** Address of an `info.json`, or of a single picture. */
  sources: readonly string[];
  label: string;
  /** Called when the pictures are open, with their viewer; a new one each time that `sources` change. */
  onOpen?: (viewer: OpenSeadragon.Viewer) => void;
  navigator?: boolean;
  children?: ComponentChildren;
}

function tileSource(address: string): OpenSeadragon.TileSource {
  const source = address.endsWith("/info.json") ? address : { type: "image", url: address, buildPyramid: false };
  return source as unknown as OpenSeadragon.TileSource; // Declared narrower than what is taken.
}

/** A viewer of pictures that lie upon each other, the last on top; `children` are laid over them. */
export function Viewer({ sources, label, onOpen, navigator = false, children }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const [failed, setFailed] = useState(false);
  const open = useRef(onOpen);
  open.current = onOpen;
  const key = sources.join(" ");
  useEffect(() => {
    if (!place.current) return undefined;
    setFailed(false);
    const viewer = OpenSeadragon({
      element: place.current,
      tileSources: sources.map(tileSource),
      collectionMode: false,
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: navigator,
      navigatorAutoFade: false,
      navigatorPosition: "BOTTOM_RIGHT",
      navigatorSizeRatio: 0.14,
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.35,
      visibilityRatio: 0.4,
      minZoomImageRatio: 0.7,
      maxZoomPixelRatio: 6,
      imageSmoothingEnabled: true,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: false },
    });
    viewer.canvas.setAttribute("role", "application");
    viewer.canvas.setAttribute("aria-label", label);
    // Letters are for the view's own shortcuts; arrows, + and − are OpenSeadragon's.
    viewer.addHandler("canvas-key", (event) => {
      event.preventDefaultAction = /^[a-z]$/i.test(event.originalEvent.key);
    });
    viewer.addHandler("open", () => open.current?.(viewer));
    viewer.addHandler("open-failed", () => setFailed(true));
    return () => viewer.destroy();
  }, [key]);
  return (
    <div class="viewer">
      <div class="deep" ref={place} />
      {failed ? <p class="missing">{t("viewer.failed")}</p> : children}
    </div>
  );
}

type Events = OpenSeadragon.ViewerEventMap;

/** Let `handler` hear of an event of a viewer; what is returned puts an end to that. */
export function hear<Name extends keyof Events>(
  viewer: OpenSeadragon.Viewer,
  name: Name,
  handler: (event: Events[Name]) => void,
): () => void {
  viewer.addHandler(name, handler);
  return () => void viewer.removeHandler(name, handler);
}

/** Render again whenever the view moves; returns how many pixels of the screen a pixel of the picture has. */
export function useView(viewer: OpenSeadragon.Viewer | null): number {
  const [, setFrame] = useState(0);
  useEffect(() => {
    if (!viewer) return undefined;
    const update = (): void => setFrame((frame) => frame + 1);
    const ends = [hear(viewer, "update-viewport", update), hear(viewer, "resize", update)];
    return () => ends.forEach((end) => end());
  }, [viewer]);
  const image = viewer?.world.getItemAt(0);
  return viewer && image ? image.viewportToImageZoom(viewer.viewport.getZoom(true)) : 1;
}

/** From a pixel of the picture to one of the viewer. */
export function onScreen(viewer: OpenSeadragon.Viewer, [x, y]: Point): Point {
  const image = viewer.world.getItemAt(0);
  // A pixel's centre has whole numbers; OpenSeadragon counts from its corner.
  const place = image.imageToViewerElementCoordinates(new OpenSeadragon.Point(x + 0.5, y + 0.5));
  return [place.x, place.y];
}

/** From a pixel of the viewer to one of the picture, held within it. */
export function onImage(viewer: OpenSeadragon.Viewer, position: OpenSeadragon.Point): Point {
  const image = viewer.world.getItemAt(0);
  const { x, y } = image.viewerElementToImageCoordinates(position);
  const size = image.getContentSize();
  return [Math.min(Math.max(x - 0.5, 0), size.x - 1), Math.min(Math.max(y - 0.5, 0), size.y - 1)];
}

/** Zoom so that a part of the picture fills the view, with a margin. */
export function showPart(
  viewer: OpenSeadragon.Viewer,
  [x, y, width, height]: readonly [number, number, number, number],
): void {
  const margin = 0.35 * Math.max(width, height);
  const image = viewer.world.getItemAt(0);
  const part = image.imageToViewportRectangle(x - margin, y - margin, width + 2 * margin, height + 2 * margin);
  viewer.viewport.fitBounds(part, true);
}

/** Buttons that zoom. */
export function ZoomButtons({ viewer }: { viewer: OpenSeadragon.Viewer | null }) {
  const zoom = (factor: number): void => {
    viewer?.viewport.zoomBy(factor);
    viewer?.viewport.applyConstraints();
  };
  return (
    <div class="zoom" role="group" aria-label={t("viewer.zoom")}>
      <button type="button" onClick={() => zoom(1.5)} aria-label={t("viewer.in")}>
        +
      </button>
      <button type="button" onClick={() => zoom(1 / 1.5)} aria-label={t("viewer.out")}>
        −
      </button>
      <button type="button" onClick={() => viewer?.viewport.goHome()} aria-label={t("viewer.home")}>
        ⤢
      </button>
    </div>
  );
}

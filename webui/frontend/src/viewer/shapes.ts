/** Boxes and outlines as geometry; nothing here draws. */

import type { Box, Point } from "../api";
import type { Shape } from "../addresses";

export function cornersOf([x, y, width, height]: Box): Point[] {
  return [
    [x, y],
    [x + width, y],
    [x + width, y + height],
    [x, y + height],
  ];
}

export function outlineOf(shape: Shape): Point[] {
  return "box" in shape ? cornersOf(shape.box) : shape.polygon;
}

export function boundsOf(points: readonly Point[]): Box {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return [left, top, Math.max(...xs) - left, Math.max(...ys) - top];
}

export function boxBetween([ax, ay]: Point, [bx, by]: Point): Box {
  return [Math.min(ax, bx), Math.min(ay, by), Math.abs(ax - bx), Math.abs(ay - by)];
}

/** Whether a point lies within an outline: an odd number of its edges lie to the right of it. */
export function within([x, y]: Point, outline: readonly Point[]): boolean {
  let inside = false;
  outline.forEach(([ax, ay], i) => {
    const [bx, by] = outline[(i + 1) % outline.length] ?? [ax, ay];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  });
  return inside;
}

/** Move a shape, held within a picture of `size`. */
export function moved(shape: Shape, dx: number, dy: number, size: readonly [number, number]): Shape {
  const [x, y, width, height] = boundsOf(outlineOf(shape));
  const right = Math.min(Math.max(dx, -x), size[0] - x - width);
  const down = Math.min(Math.max(dy, -y), size[1] - y - height);
  if ("box" in shape) return { box: [x + right, y + down, width, height] };
  return { polygon: shape.polygon.map(([px, py]) => [px + right, py + down]) };
}

/** Return `shape` with its corner number `corner` at `to`. */
export function reshaped(shape: Shape, corner: number, to: Point): Shape {
  if ("polygon" in shape) return { polygon: shape.polygon.map((point, i) => (i === corner ? to : point)) };
  const opposite = cornersOf(shape.box)[(corner + 2) % 4] ?? to;
  const box = boxBetween(opposite, to);
  return { box: [box[0], box[1], Math.max(box[2], 1), Math.max(box[3], 1)] };
}

/** Return a box made larger or smaller at its right and lower edges, held within a picture of `size`. */
export function stretched(box: Box, dx: number, dy: number, size: readonly [number, number]): Box {
  const [x, y, width, height] = box;
  return [x, y, Math.min(Math.max(width + dx, 8), size[0] - x), Math.min(Math.max(height + dy, 8), size[1] - y)];
}

/** How far two boxes are the same place: intersection over union, 0 to 1. */
export function sameness([ax, ay, aw, ah]: Box, [bx, by, bw, bh]: Box): number {
  const wide = Math.max(0, Math.min(ax + aw, bx + bw) - Math.max(ax, bx));
  const high = Math.max(0, Math.min(ay + ah, by + bh) - Math.max(ay, by));
  return (wide * high) / (aw * ah + bw * bh - wide * high);
}

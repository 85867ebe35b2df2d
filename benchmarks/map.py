"""A map of many images: how long it takes to build, how large it is, and how smoothly it moves in a real browser.

``python -m benchmarks.map /tmp/map --images 20000``. The images are details of the pages, plates and photographs of the
sets, cut out anywhere, toned, turned over and scaled, each another; dates and places among their metadata are made up.
What is kept in the folder is not made again. Frames are counted by the page's own counter, while it flies over the map.
"""

from __future__ import annotations

import csv
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.datasets import data_folder
from benchmarks.runner import arguments, machine, report, table
from index.embedding import embed
from index.encoding import EncodedImage
from index.store import Index
from index.workers import default_workers, mapped
from matcher.images import read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from index.annotations import Zone
    from index.settings import Settings

__all__ = ["main"]

_PLACES = ("Paris", "Lyon", "Venezia", "Nürnberg", "London", "Genève", "Antwerpen")
_TOUR_MS = 8000


class _Blank:
    """An encoder without features: a map needs none."""

    def __init__(self, settings: Settings) -> None:
        self._bits = settings.geometry_bits

    def encode(self, path: Path, page: int, zones: Sequence[Zone] = ()) -> EncodedImage:
        """Return an image of which only the size is known."""
        high, wide = cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_8).shape
        none = np.empty(0, np.uint64)
        return EncodedImage(
            none.astype(np.uint16), none, none.astype(np.dtype(f"u{self._bits // 8}")), width=8 * wide, height=8 * high
        )


def _cutting(folder: Path) -> Callable[[tuple[int, Path, int]], int]:
    """Return the function that cuts details out of a source; runs in a worker process."""

    def cut(task: tuple[int, Path, int]) -> int:
        number, source, many = task
        random = np.random.default_rng(number)
        pixels = read_image(source, gray=False, long_side=1600).pixels
        high, wide = pixels.shape[:2]
        for copy in range(many):
            share = random.uniform(0.12, 0.7, 2)
            h, w = max(48, round(high * share[0])), max(48, round(wide * share[1]))
            top, left = random.integers(0, max(1, high - h)), random.integers(0, max(1, wide - w))
            part = pixels[top : top + h, left : left + w]
            part = part[:, ::-1] if random.random() < 0.2 else part
            tone = 255 * (part / 255.0) ** random.uniform(0.6, 1.6) * random.uniform(0.75, 1.0, 3)
            factor = random.uniform(400, 1100) / max(part.shape[:2])
            scaled = cv2.resize(tone.clip(0, 255).astype(np.uint8), None, fx=factor, fy=factor)
            path = folder / f"{number:05d}-{copy:03d}.jpg"
            cv2.imwrite(str(path), cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
        return many

    return cut


def _make_images(folder: Path, images: int) -> None:
    data = data_folder()
    sources = sorted(
        path
        for name in ("various", "pages", "magazine", "alice")
        for path in (data / name).rglob("*")
        if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    random = np.random.default_rng(0)
    random.shuffle(sources)
    sources = sources[: max(1, -(-images // 10))]
    made = folder / "images.partial"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    shares = [len(part) for part in np.array_split(np.arange(images), len(sources))]
    tasks = [(number, source, many) for number, (source, many) in enumerate(zip(sources, shares, strict=True)) if many]
    rows = []
    with closing(mapped(_cutting, (made,), tasks, default_workers())) as done:
        for (number, source, many), outcome in done:
            if outcome != many:
                raise SystemExit(f"{source}: {outcome}")
            kind = source.relative_to(data).parts[0]
            century = random.choice([1500, 1600, 1800, 1850, 1900])
            for copy in range(many):
                year = f"{century + int(random.integers(0, 60))}" if random.random() < 0.95 else "s. d."
                name = f"{number:05d}-{copy:03d}.jpg"
                rows.append((name, f"Detail of {source.stem}", kind, year, random.choice(_PLACES)))
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "title", "set", "date", "place"])
        writer.writerows(rows)
    made.rename(folder / "images")


def _make_index(folder: Path, model: str) -> Path:
    path = folder / "details.calque"
    if not path.exists():
        with Index.create(path, {"layout": ""}) as index:
            report = index.add([folder / "images"], encoder_factory=_Blank)
            if report.failed:
                raise SystemExit(report.failed[0])
            with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
                known = {row.pop("image"): row for row in csv.DictReader(file)}
            index.set_metadata({record.id: known[Path(record.path).name] for record in index.images()})
    with Index.open(path) as index:
        done = embed(index, model)
        print(f"{done.vectors} vectors made, {done.known} there", file=sys.stderr)
    return path


def _build(path: Path, target: Path, words: Sequence[str]) -> dict[str, Any]:
    """Run ``calque map`` as a process of its own, and say what it took."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-c", "from cli.main import main; main()", "map", str(path), "-o", str(target), *words]
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "largest_process_mb": after.ru_maxrss / 1024,
        "folder_mb": sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) / 1e6,
    }


def _look(target: Path, pictures: Path | None) -> list[dict[str, Any]]:
    """Open a map from the disk in Chromium, which draws in software, and fly over each of its layouts."""
    from playwright.sync_api import sync_playwright

    rows = []
    flags = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        named = os.environ.get("CALQUE_CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=named, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        start = time.perf_counter()
        page.goto((target / "index.html").resolve().as_uri())
        page.wait_for_function("calqueMap.view.scene.ready === calqueMap.sheets.sizes.small.files", timeout=120_000)
        opened = time.perf_counter() - start
        card = page.evaluate(
            "(({ gl }) => gl.getParameter(gl.getExtension('WEBGL_debug_renderer_info').UNMASKED_RENDERER_WEBGL))"
            "(calqueMap.view.scene)"
        )
        for layout in page.evaluate("Object.keys(calqueMap.store.layouts)"):
            page.evaluate(f"calqueMap.view.layOut({layout!r})")
            page.wait_for_timeout(2000)
            if pictures is not None:
                page.screenshot(path=pictures / f"map-{layout}.png")
            measured = page.evaluate(f"calqueMap.view.measure({_TOUR_MS})")
            rows.append({**measured, "opened_s": opened, "renderer": card})
        browser.close()
    return rows


def main() -> None:
    """Build, measure, print."""
    parser = arguments(__doc__.splitlines()[0], dataset=False)
    parser.add_argument("folder", type=Path, help="where images, index and map are kept")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--model", default="palette", help="whose vectors are used (default: palette)")
    parser.add_argument("--projection", choices=("umap", "pca"), default="umap")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="keep pictures of the page there")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "images").exists():
        _make_images(options.folder, options.images)
    path = _make_index(options.folder, options.model)
    target = options.folder / f"map-{options.projection}"
    built = _build(path, target, ["--model", options.model, "--projection", options.projection, "--quiet"])
    rows = _look(target, options.pictures)
    about = machine()
    print(about)
    print(table([{"images": options.images, **built}]))
    print(table(rows))
    report({"machine": about, "images": options.images, "built": built, "seen": rows}, options.json)


if __name__ == "__main__":
    main()

"""``python -m benchmarks.web``: what the page's users wait for, each figure beside its target.

An index of real pages among made-up ones (`benchmarks.scale_filling`) is served by ``calque serve`` in a process of its
own and asked over the wire, as browsers do: a box on a real page, then the pictures of the first finds as the page
shows them, six at a time; and in a browser, from a click to the pictures on the screen. No box is asked for twice, so
that nothing is answered from memory, and no picture has been made before.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import httpx2
import numpy as np

from benchmarks.datasets import load
from benchmarks.runner import arguments, machine, report, spread, table
from benchmarks.scale_filling import fill, pool_of
from index.store import Index
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.datasets import Dataset

__all__ = ["main"]

_MADE_UP = "made-up"
_FEATURES = 2000
"""Of a made-up page: about as many as a real one has when its layout is known."""

_POOL_IMAGES = 60
_SHOWN = 6
"""Pictures that a browser asks for at once, of one server."""

_MARGIN, _SIDE = 0.22, 480
"""How the page shows a find: `LitCrop` in webui/frontend/src/parts/finds.tsx."""

_PAGE = (12_000, 9_000)
_WARMING = 3
"""Boxes that are not counted."""

_USERS = 20
_USERS_SECONDS = 40.0
_THINKING = (2.0, 8.0)
"""Seconds between an answer and the next question of one user, from and to."""

_CLICKED = """() => new Promise((done) => {
  const start = performance.now();
  document.querySelector(".question button.main").click();
  const look = () => {
    const shown = [...document.querySelectorAll(".finds img")].slice(0, 6);
    if (location.pathname.endsWith("/search") && shown.length && shown.every((image) => image.complete)) {
      done(performance.now() - start);
    } else {
      requestAnimationFrame(look);
    }
  };
  look();
})"""
"""Clicks on *Find* and tells the milliseconds until the first six finds are shown."""


def make_index(dataset: Dataset, folder: Path, count: int) -> Path:
    """Return an index of the pages of a set, one page of 12,000 × 9,000 pixels, and made-up ones, `count` in all."""
    path = folder / f"web-{count}" / "pages.calque"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    first = cv2.imread(str(dataset.path(dataset.images[0])))
    cv2.imwrite(str(folder / "large.jpg"), cv2.resize(first, _PAGE, interpolation=cv2.INTER_CUBIC))
    with tempfile.TemporaryDirectory(dir=folder) as half:
        made = Path(half) / path.name
        with Index.create(made) as index:
            index.add([dataset.path(image) for image in dataset.images])
            index.add([folder / "large.jpg"], workers=0)
            whole = load(dataset.name, "all")
            related = {q.place.image for q in whole.queries} | {p.image for q in whole.queries for p in q.positives}
            free = [whole.path(image) for image in whole.images if image not in related]
            pool = pool_of(index, free[:: max(1, len(free) // _POOL_IMAGES)])
            fill(index, count - index.n_images, pool, features=_FEATURES)
        path.parent.mkdir(exist_ok=True)
        made.rename(path)
    return path


@contextmanager
def serving(path: Path, cache: Path) -> Iterator[tuple[str, int]]:
    """Serve an index as long as the block lasts; yield the address and the number of the process."""
    command = [sys.executable, "-c", "from cli.main import main; main()", "serve", str(path), "--port", "0"]
    environment = {**os.environ, "CALQUE_CACHE": str(cache)}
    process = subprocess.Popen(
        [*command, "--rate", "0", "--no-open"], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        if "http://" not in said:
            raise CalqueError(f"calque serve does not start: {said}{process.stderr.read()}")
        yield said.split()[-1].rstrip("/"), process.pid
    finally:
        process.terminate()
        process.wait()


class User:
    """Somebody with a browser, who draws boxes."""

    def __init__(self, client: httpx2.AsyncClient, boxes: Sequence[tuple[int, list[float]]], seed: int) -> None:
        self._client = client
        self._boxes = boxes
        self._random = np.random.default_rng(seed)

    async def draws_a_box(self) -> dict[str, float]:
        """Ask for a box that nobody has drawn before; return the seconds until the answer, and until its pictures."""
        image, box = self._boxes[self._random.integers(len(self._boxes))]
        drawn = np.array(box) + self._random.uniform(-8, 8, 4)
        region = ",".join(f"{edge:.3f}" for edge in drawn.clip(1))
        start = time.perf_counter()
        answer = await self._got("/api/indexes/pages/search", {"image": image, "region": region})
        answered = time.perf_counter() - start
        hits = [hit for hit in answer.json()["hits"] if _MADE_UP not in hit["image"]][:_SHOWN]  # those have no picture
        await asyncio.gather(*(self._got(_shown(hit)) for hit in hits))
        return {"answer": answered, "pictures": time.perf_counter() - start}

    async def browses(self) -> None:
        """Look at a list of images, and at one of them."""
        offset = int(self._random.integers(0, 250))
        listed = await self._got("/api/indexes/pages/images", {"offset": offset, "limit": 12})
        image = listed.json()["images"][0]
        await self._got(image["thumbnail"])
        await self._got(f"/api/indexes/pages/images/{image['id']}")

    async def _got(self, address: str, parameters: dict[str, Any] | None = None) -> httpx2.Response:
        answer = await self._client.get(address, params=parameters)
        answer.raise_for_status()
        return answer


def _shown(hit: dict[str, Any]) -> str:
    """Return the address of the picture that the page shows of a find."""
    x, y, width, height = hit["region"]
    margin = _MARGIN * max(width, height)
    left, top = math.floor(max(x - margin, 0)), math.floor(max(y - margin, 0))
    right, bottom = math.ceil(min(x + width + margin, hit["width"])), math.ceil(min(y + height + margin, hit["height"]))
    return f"{hit['iiif']}/{left},{top},{max(right - left, 1)},{max(bottom - top, 1)}/!{_SIDE},{_SIDE}/0/default.jpg"


async def one_user(users: Sequence[User], rounds: int) -> dict[str, list[float]]:
    """Draw boxes one after the other; return the seconds until the answer, and until the first pictures."""
    found: dict[str, list[float]] = {"answer": [], "pictures": []}
    for _ in range(_WARMING + rounds):
        for name, seconds in (await users[0].draws_a_box()).items():
            found[name].append(seconds)
    return {name: times[_WARMING:] for name, times in found.items()}


async def many_users(users: Sequence[User], seconds: float, thinking: tuple[float, float]) -> list[float]:
    """Let all users draw boxes for a while, each thinking in between; return the seconds until the first pictures."""
    found: list[float] = []
    random = np.random.default_rng(1)
    end = time.monotonic() + seconds

    async def works(user: User) -> None:
        await asyncio.sleep(random.uniform(0, max(thinking[1], 0.1)))
        while time.monotonic() < end:
            found.append((await user.draws_a_box())["pictures"])
            await asyncio.sleep(random.uniform(*thinking))

    await asyncio.gather(*map(works, users))
    return found


async def at_once(users: Sequence[User], times: int) -> list[float]:
    """Let all users draw a box in the same moment, some times; return the seconds until the first pictures."""
    return [
        drawn["pictures"]
        for _ in range(times)
        for drawn in await asyncio.gather(*(user.draws_a_box() for user in users))
    ]


def in_browser(address: str, boxes: Sequence[tuple[int, list[float]]], rounds: int) -> list[float]:
    """Return the seconds from a click on *Find* to the pictures of the first finds in Chromium, if there is one."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        return []
    random = np.random.default_rng(7)
    found = []
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("CALQUE_CHROMIUM") or shutil.which("chromium")
            )
        except Error:
            return []
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        for number in range(_WARMING + rounds):
            image, box = boxes[number % len(boxes)]
            region = ",".join(f"{edge:.1f}" for edge in (np.array(box) + random.uniform(-8, 8, 4)).clip(1))
            page.goto(f"{address}/i/pages/image/{image}?region={region}", wait_until="networkidle")
            found.append(page.evaluate(_CLICKED) / 1000)
        browser.close()
    return found[_WARMING:]


async def large_page(client: httpx2.AsyncClient) -> dict[str, float]:
    """Open the large page as a deep zoom does; return the seconds until each level of sharpness, from the beginning."""
    listed = await client.get("/api/indexes/pages/images", params={"text": "large.jpg"})
    address = listed.json()["images"][0]["iiif"]
    times = {}
    begun = time.perf_counter()
    information = (await client.get(f"{address}/info.json")).json()
    width, height = information["width"], information["height"]
    for name, factor, many in (
        ("seen whole, coarse", 32, 1),
        ("fills the screen", 8, 9),
        ("four sharpest tiles", 1, 4),
    ):
        side = 512 * factor
        places = [(left, top) for top in range(0, height, side) for left in range(0, width, side)][:many]
        tiles = []
        for left, top in places:
            box = (left, top, min(side, width - left), min(side, height - top))
            size = f"{-(-box[2] // factor)},{-(-box[3] // factor)}"
            tiles.append(f"{address}/{','.join(map(str, box))}/{size}/0/default.jpg")
        for answer in await asyncio.gather(*map(client.get, tiles)):
            answer.raise_for_status()
        times[name] = time.perf_counter() - begun
    return times


async def memory(users: Sequence[User], pid: int, requests: int) -> list[dict[str, float]]:
    """Ask so many requests, by eight users at a time; return the memory of the server every tenth of them."""
    seen = []
    done = 0
    while done < requests:
        seen.append({"requests": done, **_memory(pid)})
        target = done + requests // 10
        while done < target:
            await asyncio.gather(*(user.browses() for user in users[:8] for _ in range(2)))
            answers = await asyncio.gather(*(user.draws_a_box() for user in users[:2]))
            done += 8 * 2 * 3 + len(answers) * (1 + _SHOWN)
    seen.append({"requests": done, **_memory(pid)})
    return seen


def _memory(pid: int) -> dict[str, float]:
    """Return the megabytes of a process that are its own, not those of mapped files, and of its children together."""

    def own(process: int) -> float:
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("RssAnon")) / 1024

    return {"server MB": own(pid), "decoders MB": sum(map(own, _children(pid)))}


def _processor_seconds(pid: int) -> float:
    """Return the processor time that a process and its children have taken."""

    def taken(process: int) -> int:
        told = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return int(told[11]) + int(told[12])

    return sum(map(taken, [pid, *_children(pid)])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> set[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return {int(child) for thread in threads for child in (thread / "children").read_text().split()}


def _row(what: str, seconds: Sequence[float], most: float | None = None, at: str = "median") -> dict[str, Any]:
    """Return a row of milliseconds, beside the most that `at` may be."""
    told = spread([1000 * value for value in seconds])
    aim, met = ("", "") if most is None else (f"{at} ≤ {most:g}", "yes" if told[at] <= most else "NO")
    return {"": what, "median": told["median"], "p95": told["p95"], "n": told["n"], "aim": aim, "met": met}


async def measured(
    address: str, pid: int, boxes: Sequence[tuple[int, list[float]]], rounds: int, requests: int
) -> tuple[list[dict[str, Any]], list[dict[str, float]], float]:
    """Measure a running server: rows of milliseconds, its memory, the processor seconds that a box takes it."""
    limits = httpx2.Limits(max_connections=_SHOWN)
    clients = [httpx2.AsyncClient(base_url=address, timeout=120, limits=limits) for _ in range(_USERS)]
    users = [User(client, boxes, seed) for seed, client in enumerate(clients)]
    while not (await clients[0].get("/api/indexes/pages")).json()["ready"]:
        await asyncio.sleep(0.2)
    opened = await large_page(clients[0])
    before = _processor_seconds(pid)
    one = await one_user(users, rounds)
    taken = (_processor_seconds(pid) - before) / (_WARMING + rounds)
    clicked = await asyncio.to_thread(in_browser, address, boxes, rounds // 2)
    thinking = f"{_USERS} users, thinking {_THINKING[0]:g} to {_THINKING[1]:g} s: box → pictures"
    rows = [
        _row("box drawn → answer", one["answer"]),
        _row("box drawn → first six pictures", one["pictures"], 300),
        *([_row("the same in Chromium, click → pictures shown", clicked, 300)] if clicked else []),
        _row(thinking, await many_users(users, _USERS_SECONDS, _THINKING), 1500, "p95"),
        _row(f"{_USERS} boxes drawn in one moment", await at_once(users, 3)),
        *(_row(f"page of 12,000 × 9,000: {name}", [seconds]) for name, seconds in opened.items()),
    ]
    seen = await memory(users, pid, requests)
    for client in clients:
        await client.aclose()
    return rows, seen, taken


def main(words: Sequence[str] | None = None) -> int:
    """Run the benchmark on the command-line arguments `words`, return the exit status."""
    parser = arguments("Measure what users of the page wait for.", dataset=False)
    parser.add_argument(
        "--images", type=int, default=10_000, metavar="N", help="pages, most of them made up (default: 10,000)"
    )
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="boxes that one user draws (default: 40)")
    parser.add_argument("--requests", type=int, default=10_000, metavar="N", help="while memory is watched")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the index is kept, or is already")
    options = parser.parse_args(words)
    try:
        dataset = load("blocks", "dev")
        with tempfile.TemporaryDirectory(prefix="calque-benchmark-", ignore_cleanup_errors=True) as name:
            path = make_index(dataset, options.keep or Path(name), options.images)
            with Index.open(path) as index:
                ids = {record.path: record.id for record in index.images()}
            boxes = [
                (ids[str(dataset.path(query.place.image).resolve())], query.place.region.as_list())
                for query in dataset.queries
                if query.place.region is not None
            ]
            about = machine()
            with serving(path, Path(name) / "cache") as (address, pid):
                rows, seen, taken = asyncio.run(measured(address, pid, boxes, options.rounds, options.requests))
    except CalqueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(f"{about}; {options.images} pages; milliseconds\n\n{table(rows)}\n")
    print(f"A box takes the server {1000 * taken:.0f} ms of processor time, pictures included.\n\n{table(seen)}")
    told = {"machine": about, "images": options.images, "times": rows, "memory": seen, "processor seconds": taken}
    report(told, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

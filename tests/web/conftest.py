"""A small index on a server: in this process for most tests, on a socket where the wire matters."""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import uvicorn
from starlette.testclient import TestClient

from index.annotations import Zone
from index.embedding import embed
from index.store import Index
from matcher.detection import Detection
from matcher.types import Region
from tests.conftest import PLACE, REPOSITORY, Calque, page_with, picture
from webui.application import make_application
from webui.options import Options

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from tests.conftest import Collection

FRONTEND = REPOSITORY / "webui" / "frontend"
HERE = "http://127.0.0.1"
BOX = ",".join(map(str, [*PLACE[:2], PLACE[2], PLACE[2]]))
SCREENSHOTS = REPOSITORY / "build" / "screenshots"
HOSTILE = '<img src=x onerror="document.title=1"><b>bold</b>'
"""What metadata may hold; it has to stay text."""

Serve = Callable[..., TestClient]
Open = Callable[..., "Page"]


@pytest.fixture(scope="session")
def kept_index(scans_index: Path, collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the collection, with metadata and zones; to be read only."""
    path = tmp_path_factory.mktemp("web") / "scans.calque"
    shutil.copytree(scans_index, path)
    with Index.open(path, writable=True) as index:
        records = list(index.images())
        index.set_metadata(
            {
                record.id: {"date": str(1500 + 10 * number), "title": f"Page of the {record.name[6:-4]}"}
                for number, record in enumerate(records)
            }
        )
        boxes = {record.id: collection.boxes[record.name.removeprefix("scans/")] for record in records}
        seen = {
            record.id: [Detection(Region(*boxes[record.id]), name, 0.75)]
            for record in records
            if (name := record.name[8:-4]) in ("astronaut", "chelsea")
        }
        index.set_detections("eyes-1()", seen)
        index.set_regions(
            "layout", {image: [Zone("illustration", Region(*box), score=0.9)] for image, box in boxes.items()}
        )
        embed(index, "palette", regions=True, workers=0)
    return path


@pytest.fixture
def own_index(kept_index: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(kept_index, tmp_path / "scans.calque"))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return a function that serves indexes and returns a client; keywords are those of `Options`."""
    with ExitStack() as stack:

        def started(*paths: Path, **options: Any) -> TestClient:
            client = TestClient(
                make_application(paths, _options(tmp_path, options)), HERE, raise_server_exceptions=False
            )
            return stack.enter_context(client)

        yield started


@pytest.fixture(scope="module")
def client(kept_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server that many tests ask; they do not change anything."""
    options = _options(tmp_path_factory.mktemp("served"), {"read_only": True})
    with TestClient(make_application([kept_index], options), HERE) as made:
        yield made


@dataclass(frozen=True)
class Live:
    """A server on a socket."""

    port: int

    @property
    def address(self) -> str:
        return f"{HERE}:{self.port}"


@contextmanager
def live(path: Path, folder: Path, **options: Any) -> Iterator[Live]:
    """Serve an index on a socket of this machine."""
    config = uvicorn.Config(make_application([path], _options(folder, options)), port=0, log_level="error", http="h11")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield Live(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)


def _options(folder: Path, options: dict[str, Any]) -> Options:
    return Options(**{"cache": folder / "cache", "workers": 1, "rate": 0.0, "warm": False, **options})


@pytest.fixture(scope="module")
def frugal(kept_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server whose decoders may use little memory."""
    options = Options(cache=tmp_path_factory.mktemp("frugal"), workers=1, rate=0.0, warm=False, worker_bytes=200 << 20)
    with TestClient(make_application([kept_index], options), HERE) as client:
        yield client


@pytest.fixture(scope="module")
def writable(kept_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Path]]:
    """A server of an index that may be changed, and to which a folder may be added, and that folder."""
    folder = tmp_path_factory.mktemp("writable")
    for name in ("allowed", "allowed2", "other"):
        (folder / name).mkdir()
    allowed = folder / "allowed"
    (allowed / "link").symlink_to(folder / "other")
    (allowed / "list.txt").write_text("/etc/passwd\n")
    options = Options(
        cache=folder / "cache",
        workers=1,
        rate=0.0,
        warm=False,
        names=frozenset({"scans.library.example"}),
        folders=(allowed,),
    )
    index = Path(shutil.copytree(kept_index, folder / "scans.calque"))
    with TestClient(make_application([index], options), HERE) as client:
        yield client, allowed


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Open a browser; the test that asks for it is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    named = os.environ.get("CALQUE_CHROMIUM") or shutil.which("chromium")
    with api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=named, args=flags)
        except api.Error as error:
            pytest.skip(f"no Chromium (install one, or set CALQUE_CHROMIUM): {str(error).splitlines()[0]}")
        yield browser
        browser.close()


def axe(page: Page) -> list[str]:
    """Return the serious and critical faults of accessibility that axe-core finds."""
    page.evaluate((FRONTEND / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run({ preload: false }).then(({ violations }) => violations)")
    return [
        f"{fault['id']}: {fault['help']}: {[node['html'][:160] for node in fault['nodes'][:3]]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="session")
def bundle() -> None:
    """Bundle the page where that has not been done."""
    spec = importlib.util.spec_from_file_location("bundle", FRONTEND / "bundle.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reason = module.bundle()
    if reason is not None:
        pytest.skip(f"no page: {reason}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def kept_prints(calque: Calque, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pages in two folders: three pictures, printed once as they are and once mirrored, negative, turned."""
    folder = tmp_path_factory.mktemp("prints")
    others: dict[str, Callable[[Any], Any]] = {"camera": np.fliplr, "coins": np.invert, "astronaut": np.rot90}
    for seed, (name, change) in enumerate(others.items()):
        pixels = picture(name, PLACE[2])
        for place, printed in (("first", pixels), ("second", np.ascontiguousarray(change(pixels)))):
            path = folder / "prints" / place / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), page_with(printed, 2 * seed + (place == "second")))
    path = folder / "prints.calque"
    done = calque("add", path, "prints", "--no-layout", "--workers", "1", cwd=folder)
    assert done.returncode == 0, done.stderr
    with Index.open(path, writable=True) as index:
        records = list(index.images())
        known = {record.id: {"title": record.name, "date": str(1500 + record.id)} for record in records}
        known[records[0].id]["note"] = HOSTILE
        index.set_metadata(known)
        box = Region(*PLACE[:2], PLACE[2], PLACE[2])
        index.set_regions("layout", {record.id: [Zone("illustration", box)] for record in records})
        astronauts = [record.id for record in records if "astronaut" in record.name]
        index.set_detections("eyes-1()", {one: [Detection(box, "person", 0.8)] for one in astronauts})
        embed(index, "structure", regions=True, workers=0)
    return path


@pytest.fixture(scope="module")
def prints(kept_prints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(kept_prints, tmp_path_factory.mktemp("changed") / "prints.calque"))


@pytest.fixture(scope="module")
def server(prints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "new").mkdir()
    cv2.imwrite(str(folder / "new" / "brick.jpg"), page_with(picture("brick", PLACE[2]), 9))
    (folder / "new" / "torn.jpg").write_bytes(b"\xff\xd8 no picture")
    with live(prints, folder, folders=(folder / "new",)) as served:
        yield served.address


@pytest.fixture
def visit(bundle: None, browser: Browser, server: str) -> Iterator[Open]:
    """Return a function that opens an address of the page; no error may be told in the console."""
    contexts, errors = [], []

    def opened(path: str, **options: Any) -> Page:
        settings = {
            "locale": "en-GB",
            "viewport": {"width": 1280, "height": 800},
            "reduced_motion": "reduce",
            **options,
        }
        context = browser.new_context(base_url=server, **settings)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        print(*(f"{page.url}\n{page.inner_text('body')}" for page in context.pages))  # Told where a test fails.
        context.close()
    assert errors == []


def until(page: Page, condition: str) -> None:
    """Wait for a condition. (What Playwright has for that is forbidden by the page's policy on content.)"""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def keep(page: Page, name: str) -> None:
    """Keep a picture of the page, once its own pictures are there."""
    until(
        page,
        """[...document.images].every((image) => image.complete ||
        image.getBoundingClientRect().top > innerHeight || !image.checkVisibility({ contentVisibilityAuto: true }))""",
    )
    if page.locator(".viewer").count():
        page.wait_for_timeout(150)  # Tiles are drawn on a canvas, which tells nobody.
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def opened_viewer(page: Page) -> Locator:
    """Return the deep zoom, once its picture can be drawn upon."""
    page.locator("svg.drawing").first.wait_for(state="attached")
    return page.locator(".viewer").first

"""The page in a real browser: from a box drawn to a verdict, with a mouse, with a finger, with keys alone."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from index.annotations import Zone
from index.store import Index
from matcher.detection import Detection
from matcher.types import Region
from tests.conftest import PLACE, REPOSITORY, Calque, page_with, picture
from tests.web.conftest import FRONTEND, axe, chromium, live

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

SCREENSHOTS = REPOSITORY / "build" / "screenshots"
HOSTILE = '<img src=x onerror="document.title=1"><b>bold</b>'
"""What metadata may hold; it has to stay text."""
BOX = ",".join(map(str, [*PLACE[:2], PLACE[2], PLACE[2]]))
WAYS = ["Side by side", "Swipe", "Fade", "Two colours", "Blink", "Difference", "Proof"]

pytestmark = pytest.mark.compiled
Open = Callable[..., "Page"]


@pytest.fixture(scope="module", autouse=True)
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


@pytest.fixture(scope="module")
def prints(calque: Calque, tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    return path


@pytest.fixture(scope="module")
def server(prints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "new").mkdir()
    cv2.imwrite(str(folder / "new" / "brick.jpg"), page_with(picture("brick", PLACE[2]), 9))
    (folder / "new" / "torn.jpg").write_bytes(b"\xff\xd8 no picture")
    with live(prints, folder, folders=(folder / "new",)) as served:
        yield served.address


@pytest.fixture
def visit(browser: Browser, server: str) -> Iterator[Open]:
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


def draw(page: Page, steps: Callable[[float, float, float, float], None]) -> None:
    """Draw from the top left corner of the page's picture to its lower right corner, as seen on the screen."""
    left, top, width, height = page.locator("svg.drawing .region").evaluate(
        """(region) => { const { x, y, width, height } = region.getBBox(); // Without its line's width.
        const edge = region.ownerSVGElement.getBoundingClientRect();
        return [edge.left + x, edge.top + y, width, height]; }"""
    )
    steps(left, top, left + width, top + height)


def marked(page: Page) -> list[float]:
    """Return the box that the address names."""
    page.wait_for_url("**region=*")
    return [float(edge) for edge in page.url.split("region=")[1].split("&")[0].split(",")]


def test_from_a_box_to_a_verdict(visit: Open) -> None:
    page = visit("/")
    page.wait_for_url("**/i/prints")
    page.get_by_role("link", name="first/camera.jpg").wait_for()
    keep(page, "1-browse")
    page.get_by_role("link", name="first/camera.jpg").click()
    opened_viewer(page)

    def by_mouse(left: float, top: float, right: float, bottom: float) -> None:
        page.mouse.move(left, top)
        page.mouse.down()
        page.mouse.move(right, bottom, steps=4)
        page.mouse.up()

    draw(page, by_mouse)
    assert marked(page) == pytest.approx([*PLACE[:2], PLACE[2], PLACE[2]], abs=6)
    keep(page, "2-page")
    page.get_by_role("button", name="Find what is marked").click()

    finds = page.locator(".finds > li")
    finds.nth(1).wait_for()
    assert "what is asked for" in finds.nth(0).inner_text()
    told = r"mirrored\s+illustration\s+Practically certain\s+less than 1 in a trillion"
    assert re.search(told, finds.nth(1).inner_text())
    keep(page, "3-results")
    finds.nth(1).get_by_role("link", name="Compare").click()

    for number, way in enumerate(WAYS, start=1):
        page.get_by_role("button", name=way, exact=True).click()
        page.locator(".openseadragon-canvas canvas").first.wait_for()
        keep(page, f"4-compare-{number}-{way.lower().replace(' ', '-')}")
    page.get_by_role("button", name="Swipe").click()
    page.get_by_label("Show the").check()
    page.locator("svg.drawing .inlier").first.wait_for()
    line = page.locator(".divider")
    before = line.bounding_box()
    assert before is not None
    page.mouse.move(before["x"] + 14, before["y"] + 60)
    page.mouse.down()
    page.mouse.move(before["x"] + 150, before["y"] + 60, steps=3)
    page.mouse.up()
    after = line.bounding_box()
    assert after is not None and after["x"] > before["x"] + 100
    keep(page, "4-compare-inliers")
    page.get_by_role("button", name="Examine the lines").click()
    page.locator(".verdict").wait_for()
    page.get_by_role("button", name="same", exact=True).click()
    page.get_by_text("Your verdict is kept.").wait_for()
    keep(page, "4-compare-verdict")

    page.get_by_role("link", name="All finds").click()
    page.locator(".finds > li").nth(1).locator("button[aria-pressed=true]", has_text="same").wait_for()


def test_finds_are_exported(visit: Open) -> None:
    page = visit(f"/i/prints/search?image=1&region={BOX}")
    page.locator(".finds > li").nth(1).wait_for()
    page.locator("summary", has_text="Export").click()
    forms = {"Table (CSV)": b"query", "JSON Lines": b"{", "IIIF manifest": b"AnnotationPage", "Pictures (ZIP)": b"PK"}
    for form, begins in forms.items():
        with page.expect_download() as download:
            page.get_by_role("link", name=form).click()
        assert begins in Path(download.value.path()).read_bytes()


def test_with_keys_alone(visit: Open) -> None:
    page = visit("/i/prints/image/1")
    opened_viewer(page)
    page.keyboard.press("?")
    assert "draw a box" in page.get_by_role("dialog").inner_text()
    keep(page, "5-keys")
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    page.keyboard.press("b")
    box = marked(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    until(page, f"!location.search.includes('{','.join(f'{edge:g}' for edge in box)}')")
    shifted = marked(page)
    assert shifted[0] > box[0] and shifted[1] == box[1] and shifted[2] == box[2] and shifted[3] > box[3]
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?*")
    page.goto(f"/i/prints/search?image=1&region={BOX}")
    page.locator(".finds > li").nth(1).wait_for()
    page.keyboard.press("n")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    page.wait_for_url("**/compare?*")
    page.locator(".stage canvas").first.wait_for()
    page.keyboard.press("4")
    page.wait_for_url("**view=overlay*")
    page.keyboard.press("u")
    page.get_by_text("Your verdict is kept.").wait_for()
    page.keyboard.press("p")
    until(page, "document.querySelector('.step').innerText.includes('1 of ')")
    page.keyboard.press("l")
    page.wait_for_url("**/search?*")


def test_a_picture_of_ones_own(visit: Open, prints: Path, tmp_path: Path) -> None:
    photograph = tmp_path / "photograph <b>.png"
    cv2.imwrite(str(photograph), picture("coins", 500))
    page = visit("/i/prints/query")
    page.get_by_text("Choose a picture").wait_for()
    keep(page, "6-query")
    page.set_input_files("input[type=file]", photograph)
    opened_viewer(page)
    assert page.get_by_role("heading", level=1).inner_text() == photograph.name
    page.keyboard.press("Enter")
    finds = page.locator(".finds > li")
    finds.nth(1).wait_for()
    told = " ".join(finds.all_inner_texts())
    assert finds.count() == 2 and "negative" in told and "same way round" in told
    keep(page, "6-query-results")

    # The same, dropped on any view.
    page.goto("/i/prints")
    data = page.evaluate_handle(
        """async () => { const canvas = new OffscreenCanvas(90, 60); canvas.getContext("2d").fillRect(0, 0, 50, 50);
        const data = new DataTransfer();
        data.items.add(new File([await canvas.convertToBlob()], "dropped.png", { type: "image/png" }));
        return data; }"""
    )
    page.locator(".grid").wait_for()
    page.dispatch_event("main", "drop", {"dataTransfer": data})
    page.get_by_role("heading", name="dropped.png").wait_for()


def test_groups_are_found_shown_and_judged(visit: Open) -> None:
    page = visit("/i/prints/groups")
    page.get_by_role("button", name="Compare them now").click()
    page.get_by_role("link", name="See the groups").click(timeout=60_000)
    groups = page.locator(".groups > li")
    groups.first.wait_for()
    assert groups.count() == 3
    keep(page, "7-groups")
    groups.first.get_by_role("link").click()
    members = page.locator(".finds > li")
    members.nth(1).wait_for()
    for way in ("Registered", "Half through", "Difference"):
        page.get_by_role("button", name=way).click()
        until(page, "[...document.images].every((image) => image.complete && image.naturalWidth)")
        keep(page, f"7-group-{way.lower().replace(' ', '-')}")
    members.nth(1).get_by_role("button", name="same", exact=True).click()
    members.nth(1).locator("button[aria-pressed=true]", has_text="same").wait_for()
    page.locator("summary", has_text="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="COCO").click()
    assert b'"annotations"' in Path(download.value.path()).read_bytes()
    members.nth(1).get_by_role("link", name="with the reference").click()
    page.wait_for_url("**/compare?*")
    page.locator(".stage canvas").first.wait_for()


def test_images_are_added_from_the_page(visit: Open, server: str) -> None:
    page = visit("/jobs")
    hint = page.get_by_text("lies below").inner_text()
    page.get_by_label("Folder or file").fill(hint.split("below ")[1].rstrip("."))
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("1 failed").click(timeout=60_000)
    page.get_by_role("cell", name="torn.jpg").wait_for()
    keep(page, "8-jobs")
    page.goto("/i/prints?text=brick")
    page.get_by_text("1 image", exact=True).wait_for()


def test_facets_words_and_hostile_metadata(visit: Open) -> None:
    page = visit("/i/prints")
    page.get_by_role("button", name="<img src=x").click()
    page.get_by_text("1 image", exact=True).wait_for()
    assert page.locator(".facet b, .facet img, .chips b").count() == 0
    page.get_by_role("button", name="No longer only").click()
    page.get_by_role("searchbox").fill("second coins")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=second+coins*")
    until(page, "document.querySelectorAll('.grid > li').length === 1")
    page.get_by_role("link", name="second/coins.jpg").wait_for()
    page.get_by_label("Sorted by").select_option("-name")
    page.wait_for_url("**sort=-name*")


def test_in_french(visit: Open) -> None:
    page = visit(f"/i/prints/search?image=1&region={BOX}", locale="fr-FR")
    page.get_by_text("endroits trouvés").wait_for()
    assert page.evaluate("document.documentElement.lang") == "fr"
    keep(page, "9-french-results")
    page.get_by_role("link", name="Comparer avec").nth(1).click()
    page.get_by_role("button", name="Rideau").wait_for()
    keep(page, "9-french-compare")
    page.get_by_role("button", name="English").click()
    page.get_by_role("button", name="Swipe").wait_for()
    page.reload()
    page.get_by_role("button", name="Swipe").wait_for()


def test_with_a_finger_on_a_tablet(visit: Open) -> None:
    page = visit("/i/prints/image/1", viewport={"width": 820, "height": 1180}, has_touch=True, is_mobile=True)
    opened_viewer(page)
    page.get_by_role("button", name="Box").click()
    touch = page.context.new_cdp_session(page)

    def by_finger(left: float, top: float, right: float, bottom: float) -> None:
        middle = ((left + right) / 2, (top + bottom) / 2)
        for kind, points in (
            ("touchStart", [(left, top)]),
            ("touchMove", [middle]),
            ("touchMove", [(right, bottom)]),
            ("touchEnd", []),
        ):
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    draw(page, by_finger)
    assert marked(page) == pytest.approx([*PLACE[:2], PLACE[2], PLACE[2]], abs=8)
    keep(page, "10-tablet-page")
    page.get_by_role("button", name="Find what is marked").click()
    page.locator(".finds > li").nth(1).wait_for()
    keep(page, "10-tablet-results")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_outline_is_drawn_and_a_region_is_clicked(visit: Open) -> None:
    page = visit("/i/prints/image/2")
    opened_viewer(page)
    page.get_by_role("button", name="Outline").click()

    def corners(left: float, top: float, right: float, bottom: float) -> None:
        for x, y in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top)):
            page.mouse.click(x, y)
            page.wait_for_timeout(350)  # Two clicks in haste are a double click.

    draw(page, corners)
    page.wait_for_url("**polygon=*")
    assert len(page.url.split("polygon=")[1].split(",")) == 8
    page.get_by_role("button", name="Find this: illustration").click()
    page.wait_for_url("**/search?*region=*")
    page.locator(".finds > li").nth(1).wait_for()


def test_what_is_seen_on_a_picture_is_chosen_and_looked_for(visit: Open) -> None:
    page = visit("/i/prints")
    page.locator("details", has_text="Seen on them").get_by_role("button", name="person").click()
    page.get_by_text("2 images", exact=True).wait_for()
    page.get_by_role("link", name="first/astronaut.jpg").click()
    opened_viewer(page)
    page.locator("svg.drawing .region.thing").wait_for(state="attached")
    keep(page, "11-things")
    page.get_by_role("button", name="Find this: person").click()
    page.wait_for_url("**/search?*region=*")
    page.locator(".finds > li").nth(1).wait_for()


def test_read_only_hides_what_changes(visit: Open) -> None:
    page = visit("about:blank")
    page.route("**/api", lambda route: route.fulfill(json={**route.fetch().json(), "read_only": True}))
    page.goto(f"/i/prints/search?image=1&region={BOX}")
    page.locator(".finds > li").nth(1).wait_for()
    assert page.get_by_role("link", name="Add").count() == 0
    assert page.locator(".decide").count() == 0
    page.goto("/jobs")
    page.get_by_text("There is nothing at this address.").wait_for()


def test_a_token_opens_the_page(browser: Browser, prints: Path, tmp_path: Path) -> None:
    with live(prints, tmp_path, token="open sesame") as served:
        page = browser.new_page(base_url=served.address, locale="fr")
        page.goto("/i/prints")
        page.get_by_label("Le jeton").fill("sesame")
        page.get_by_role("button", name="Entrer").click()
        page.get_by_text("Le serveur demande son jeton").wait_for()
        page.get_by_label("Le jeton").fill("open sesame")
        page.get_by_role("button", name="Entrer").click()
        page.get_by_role("link", name="first/camera.jpg").wait_for()
        page.close()


def test_finds_are_chosen_and_sorted(visit: Open) -> None:
    page = visit(f"/i/prints/search?image=2&region={BOX}")
    finds = page.locator(".finds > li")
    finds.nth(1).wait_for()
    page.get_by_role("combobox", name=re.compile("^How printed")).select_option("mirrored")
    page.get_by_role("combobox", name=re.compile("^Certainty")).select_option("1e-9")
    page.wait_for_url("**relations=mirrored&max_false_alarms=1e-9")
    until(page, "document.querySelectorAll('.finds > li').length === 1")
    assert "second/camera.jpg" in finds.first.inner_text()
    page.get_by_label("Only where").fill("date < 1502")
    page.keyboard.press("Enter")
    page.get_by_text("0 places found").wait_for()


@pytest.mark.parametrize("path", ["", "/image/1", f"/search?image=1&region={BOX}", "/query", "/groups", "/groups/1"])
def test_axe_finds_no_serious_fault(visit: Open, path: str) -> None:
    page = visit(f"/i/prints{path}")
    page.locator("main").wait_for()
    page.wait_for_load_state("networkidle")
    assert axe(page) == []
    if path.startswith("/search"):
        page.get_by_role("link", name="Compare with").nth(1).click()
        page.locator(".stage canvas").first.wait_for()
        assert axe(page) == []
        page.keyboard.press("?")
        assert axe(page) == []

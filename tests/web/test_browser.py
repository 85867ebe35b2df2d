"""The page in a real browser: from a box drawn to a verdict, with a mouse, with a finger, with keys alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

from tests.conftest import PLACE, picture
from tests.web.conftest import BOX, Open, axe, keep, live, opened_viewer, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Page

WAYS = ["Side by side", "Swipe", "Fade", "Two colours", "Blink", "Difference", "Proof"]

pytestmark = pytest.mark.compiled


def draw(page: Page, steps: Callable[[float, float, float, float], None]) -> None:
    """Draw from the top left corner of the page's picture to its lower right corner, as seen on the screen."""
    left, top, width, height = page.locator("svg.drawing .region.illustration").evaluate(
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


def test_read_only_hides_what_changes(visit: Open) -> None:
    page = visit("about:blank")
    page.route("**/api", lambda route: route.fulfill(json={**route.fetch().json(), "read_only": True}))
    page.goto(f"/i/prints/search?image=1&region={BOX}")
    page.locator(".finds > li").nth(1).wait_for()
    assert page.get_by_role("link", name="Add").count() == 0
    assert page.locator(".decide").count() == 0
    page.goto("/jobs")
    page.get_by_text("There is nothing at this address.").wait_for()


def test_a_token_opens_the_page(bundle: None, browser: Browser, prints: Path, tmp_path: Path) -> None:
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

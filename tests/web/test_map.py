"""The map of a collection in a real browser, from the disk: drawn, searched, coloured, walked by keys, listed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from skimage import data

from cli.map import map as map_command
from index.embedding import embed
from index.store import Index
from tests.conftest import REPOSITORY
from tests.crash.fake_encoder import SETTINGS, FakeEncoder
from tests.web.conftest import FRONTEND, axe, chromium

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

SCREENSHOTS = REPOSITORY / "build" / "screenshots"
HOSTILE = '</script><img src=x onerror="document.title=1"><b>bold</b>\u2028'
FLAGS = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
COUNTED = """() => { // How many colours are on the map: read in the same breath as it is drawn.
  const { view } = calqueMap, { gl } = view.scene;
  view.scene.draw(view.camera, view.way, view.side(), view.look, view.places(), view.selected);
  const { width, height } = view.canvas, seen = new Uint8Array(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, seen);
  return new Set(new Uint32Array(seen.buffer)).size; }"""
Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(*FLAGS) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of sixty details of two photographs, in a folder whose name has to be quoted."""
    path = tmp_path_factory.mktemp("seen")
    random = np.random.default_rng(0)
    (path / "details").mkdir()
    for number in range(60):
        y, x = random.integers(0, 200, 2)
        part = (data.coffee(), data.astronaut())[number % 2][y : y + 170, x : x + 130 + 2 * number]
        cv2.imwrite(str(path / "details" / f"{number:02d}.jpg"), part[..., ::-1])
    with Index.create(path / "details.calque", SETTINGS) as index:
        index.add([path / "details"], workers=0, encoder_factory=FakeEncoder)
        known = {
            record.id: {
                "title": f"Plate {record.id}",
                "kind": ("cup", "face")[record.id % 2],
                "year": str(1800 + record.id),
            }
            for record in index.images()
        }
        known[1]["title"] = HOSTILE
        del known[2]["year"]
        index.set_metadata(known)
        embed(index, "palette", workers=0)
    words = [path / "details.calque", "-o", path / "a map #1", "--projection", "pca", "--clusters", 2, "--workers", 0]
    done = CliRunner().invoke(map_command, [*map(str, words), "--colour-by", "kind"], standalone_mode=False)
    assert done.return_value == 0, done.output
    return path / "a map #1"


@pytest.fixture
def visit(browser: Browser, folder: Path) -> Iterator[Open]:
    """Return a function that opens the map; nothing may be asked of a network, no error told in the console."""
    contexts, errors, asked = [], [], []

    def opened(before: str = "", mark: str = "", **options: Any) -> Page:
        settings = {"locale": "en-GB", "viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}
        context = browser.new_context(**{**settings, **options})
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        if before:
            page.add_init_script(before)
        page.goto((folder / "index.html").as_uri() + mark)
        page.wait_for_function("globalThis.calqueMap")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}


def keep(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"map-{name}.png")


def is_ready(page: Page) -> None:
    page.wait_for_function("calqueMap.view.scene.ready === calqueMap.sheets.sizes.small.files")


def test_pictures_are_drawn_and_drawn_finer_when_one_looks_closely(visit: Open) -> None:
    page = visit()
    is_ready(page)
    assert page.evaluate(COUNTED) > 2000
    keep(page, "1-cloud")
    page.locator("#map").focus()
    page.keyboard.press("2")
    for _ in range(6):
        page.keyboard.press("+")
    page.wait_for_function("calqueMap.view.inView().every((i) => calqueMap.view.scene.slots[i] >= 0)")
    assert page.evaluate("calqueMap.view.inView().length") > 1
    keep(page, "2-grid-close")
    measured = page.evaluate("calqueMap.view.measure(300)")
    assert measured["frames"] > 0 and measured["pictures"] == 60


def test_every_picture_is_where_a_click_finds_it(visit: Open) -> None:
    page = visit()
    page.keyboard.press("2")
    page.wait_for_function("calqueMap.view.way === 1")
    page.evaluate("calqueMap.view.fit(false)")
    places = page.evaluate(
        """[...calqueMap.store.shown.keys()].map((i) => {
        const places = calqueMap.view.places(), { x, y } = calqueMap.view.screen(places[2 * i], places[2 * i + 1]);
        return [i, calqueMap.view.at(x, y), x, y]; })"""
    )
    assert all(asked == found for asked, found, _, _ in places)
    number, _, x, y = places[7]
    edge = page.locator("#map").bounding_box()
    assert edge is not None
    page.mouse.click(edge["x"] + x, edge["y"] + y)
    title = page.evaluate(f"calqueMap.store.title({number})")
    page.locator(".detail h2", has_text=title).wait_for()
    page.wait_for_function("document.querySelector('.detail img')?.naturalWidth > 128")  # the scan itself
    assert page.locator(".detail a").get_attribute("href").startswith("../details/")
    keep(page, "3-picture")
    page.keyboard.press("Escape")
    assert page.locator(".detail").is_hidden()


def test_metadata_stay_text_and_an_address_names_a_picture(visit: Open) -> None:
    page = visit(mark="#1")
    page.locator(".detail h2").wait_for()
    assert page.locator(".detail h2").inner_text().startswith("</script><img")
    assert page.locator("b, .detail dd img").count() == 0 and page.title() == "details"
    page.get_by_role("button", name="List").click()
    page.locator(".list li").nth(59).wait_for()
    assert page.locator(".list b").count() == 0


def test_words_years_colours_and_clusters_choose(visit: Open) -> None:
    page = visit()
    assert re.match(r"60 pictures, by palette, PCA", page.locator(".count").inner_text())
    page.get_by_role("searchbox").fill("PLATE cup")
    page.get_by_text("30 of 60 pictures").wait_for()
    page.get_by_role("searchbox").fill("")
    page.locator("#legend").get_by_role("button", name="face").click()
    page.get_by_text("30 of 60 pictures").wait_for()
    page.get_by_label("Colour").select_option(label="year")
    assert "1801" in page.locator("#legend .ends").inner_text()
    page.get_by_label("To the year").fill("1830")
    page.get_by_text("30 of 60 pictures").wait_for()
    page.get_by_label("undated too").uncheck()
    page.get_by_text("29 of 60 pictures").wait_for()
    page.get_by_label("To the year").fill("1860")
    page.get_by_label("undated too").check()
    page.get_by_label("Colour").select_option(label="cluster")
    page.locator("#clusters .entry").first.click()
    page.wait_for_function(
        "calqueMap.store.shown.every((shown, i) => shown === Number(calqueMap.store.cluster[i] === 0))"
    )
    page.get_by_role("button", name="Timeline").click()
    page.locator(".labels span", has_text="1800").first.wait_for()
    keep(page, "4-timeline")


def test_it_is_walked_by_keys_alone(visit: Open) -> None:
    page = visit()
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    first = page.evaluate("calqueMap.view.selected")
    page.keyboard.press("ArrowLeft")
    second = page.evaluate("calqueMap.view.selected")
    assert first >= 0 and second >= 0 and first != second
    assert page.locator("#spoken").inner_text() == page.evaluate(f"calqueMap.store.title({second})")
    page.keyboard.press("l")
    page.locator(".list li").first.wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "words"


def test_without_webgl_there_is_a_list(visit: Open) -> None:
    page = visit(
        "const own = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext ="
        " function (kind, ...more) { return kind === 'webgl2' ? null : own.call(this, kind, ...more); };"
    )
    page.get_by_text("shows no WebGL 2").wait_for()
    page.wait_for_function("document.querySelectorAll('.list canvas[data-drawn]').length === 60")
    page.locator(".list li button").nth(3).click()
    page.locator(".detail h2").wait_for()


def test_in_french_in_the_dark_without_serious_faults(visit: Open) -> None:
    page = visit(locale="fr-FR", color_scheme="dark")
    is_ready(page)
    page.get_by_text("60 images, selon palette").wait_for()
    assert page.evaluate("document.documentElement.lang") == "fr"
    page.evaluate("calqueMap.act.select(5)")
    keep(page, "5-dark-french")
    if not (FRONTEND / "node_modules" / "axe-core").exists():
        pytest.skip("axe-core is not installed (make web)")
    assert axe(page) == []
    page.get_by_role("button", name="English").click()
    page.get_by_role("button", name="Clair ou sombre").or_(page.get_by_role("button", name="Light or dark")).click()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert axe(page) == []

"""The press benchmark's simulators: what they print is where they say, as they say; sources never mix."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.plots import Panel, plot_curves
from benchmarks.press import main
from benchmarks.press_archive import choose, continuous_tone, distinct, in_part, pictures_in
from benchmarks.press_collection import Collection, Printing
from benchmarks.press_pages import find_place, read_sheet, set_sheet
from benchmarks.press_print import CHANGES, Copy, Recipe, screened
from matcher.errors import InputError
from tests.conftest import picture

if TYPE_CHECKING:
    from pathlib import Path

PHOTOGRAPHS = ("camera", "chelsea", "astronaut", "coffee")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name in PHOTOGRAPHS:
        Image.fromarray(picture(name, 600)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for seed in range(4):
        Image.fromarray(set_sheet(np.random.default_rng(seed))).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def collection(pictures: Path, pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    photographs = choose(pictures_in([pictures], "all"), 4, np.random.default_rng(1))
    made = Collection(tmp_path_factory.mktemp("collection"), photographs, pictures_in([pages], "all"), 5)
    made.photographs()
    return made


def test_halves_are_disjoint_and_whole(pictures: Path) -> None:
    files = pictures_in([pictures], "all")
    assert [in_part(f, "dev") for f in files] == [not in_part(f, "test") for f in files]
    with pytest.raises(InputError, match="no part"):
        in_part(files[0], "train")


def test_photographs_share_nothing(pictures: Path) -> None:
    files = pictures_in([pictures], "all")
    few, many = (choose(files, count, np.random.default_rng(0)) for count in (3, 7))
    assert len(few) == 3 and not any(p.is_piece for p in few)
    assert len(many) == 7 and any(p.is_piece for p in many)
    for file in files:
        seen = np.zeros((600, 600), int)
        for left, top, right, bottom in (p.box for p in many if p.file == file):
            seen[top:bottom, left:right] += 1
        assert seen.max() <= 1
    assert len({p.name for p in many}) == 7


def test_a_picture_kept_twice_counts_once(pictures: Path, tmp_path: Path) -> None:
    for name, size in (("large", 600), ("small", 300)):
        Image.fromarray(picture("camera", size)).save(tmp_path / f"{name}.jpg")
    Image.fromarray(picture("coffee", 400)).save(tmp_path / "other.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert [f.name for f in distinct(pictures_in([tmp_path], "all"))] == ["large.jpg", "other.png"]


def test_line_work_is_no_photograph() -> None:
    assert continuous_tone(picture("camera", 400))
    assert not continuous_tone(np.where(picture("camera", 400) > 100, 255, 0).astype(np.uint8))


@pytest.mark.parametrize(("pitch", "angle"), [(5.0, 20.0), (3.2, 45.0), (8.0, 70.0)])
def test_dots_lie_as_far_apart_as_the_screen_says(pitch: float, angle: float) -> None:
    copy = Copy(np.full((512, 512), 128, np.uint8), (np.eye(3),), (np.zeros((4, 2)),))
    patch = screened(copy, np.diag([0.5, 0.5, 1.0]), pitch, angle, np.random.default_rng(0))
    inside = patch.paper[8:248, 8:248] - patch.paper[8:248, 8:248].mean()
    power = np.abs(np.fft.fft2(inside * np.outer(np.hanning(240), np.hanning(240)), (960, 960)))
    power[:20, :20] = power[-20:, :20] = power[:20, -20:] = power[-20:, -20:] = 0
    row, column = np.unravel_index(power.argmax(), power.shape)
    y, x = ((k + 480) % 960 - 480 for k in (int(row), int(column)))
    assert math.hypot(x, y) / 960 == pytest.approx(1 / pitch, rel=0.03)
    turned = math.degrees(math.atan2(y, x)) % 90
    assert min(abs(turned - angle), 90 - abs(turned - angle)) < 2


def test_ink_spreads_but_keeps_the_order_of_tones() -> None:
    shares = []
    for tone in (30, 90, 150, 210):
        copy = Copy(np.full((160, 160), tone, np.uint8), (np.eye(3),), (np.zeros((4, 2)),))
        patch = screened(copy, np.diag([0.5, 0.5, 1.0]), 3.0, 45.0, np.random.default_rng(3))
        shares.append(float(patch.paper[10:70, 10:70].mean()))
    assert shares == sorted(shares)
    assert all(0.4 * tone / 255 < share < tone / 255 for share, tone in zip(shares, (30, 90, 150, 210), strict=True))


def test_a_place_takes_whole_columns(pages: Path) -> None:
    sheet = read_sheet(pages / "3.png")
    place = find_place(sheet, 300, 220, np.random.default_rng(0))
    assert place is not None
    left, top, right, bottom = place.hole
    assert left <= place.x and place.x + 300 <= right + 10
    assert top <= place.y and place.y + 220 <= bottom
    ink = sheet.inked() < 128
    for edge in (left, right - 1):
        assert ink[top:bottom, edge].mean() < 0.05
    assert ink[top:bottom, left:right].mean() > 0.05
    cleared = sheet.cleared(place.hole, np.random.default_rng(0))
    assert not (cleared.inked() < 128)[top:bottom, left:right].any()


def test_no_place_on_a_blank_page(tmp_path: Path) -> None:
    Image.fromarray(np.full((900, 700), 230, np.uint8)).save(tmp_path / "blank.png")
    assert find_place(read_sheet(tmp_path / "blank.png"), 200, 150, np.random.default_rng(0)) is None


@pytest.mark.parametrize("change", [change for change in CHANGES if change != "collage"])
def test_pictures_lie_where_the_truth_says(collection: Collection, change: str) -> None:
    recipe = Recipe(kept=0.6, lines=120, width=320, change=change, worked_over=False)
    for printing in collection.edition(change, recipe)[:2]:
        wanted = -1 if "negative" in change else 1
        likeness = wanted * _likeness(collection.folder, printing)
        assert likeness > (0.1 if change in ("recoloured", "redrawn outlines", "overlaid text") else 0.5)


def test_a_collage_holds_all_its_sources(collection: Collection) -> None:
    printings = collection.edition("collage", Recipe(0.7, 120, 560, "collage", worked_over=False))
    assert len({p.page for p in printings}) == 1 and len({p.photograph for p in printings}) == 4
    assert all(_likeness(collection.folder, printing) > 0.25 for printing in printings)


def test_width_and_share_of_the_page_are_kept(collection: Collection) -> None:
    for printing in collection.edition("base", Recipe(width=240)):
        sides = np.linalg.norm(np.diff(printing.visible, axis=0), axis=1)
        assert sides[0] == pytest.approx(240, abs=1)
        assert printing.facts["pitch"] == pytest.approx(printing.facts["dpi"] / 85, rel=0.02)
        back = cv2.contourArea(
            np.linalg.solve(printing.matrix, np.c_[printing.visible, np.ones(4)].T)[:2].T.astype("f")
        )
        with Image.open(collection.folder / "photographs" / printing.photograph) as photograph:
            assert back / (photograph.width * photograph.height) == pytest.approx(0.5, abs=0.02)
    for printing in collection.edition("small", Recipe(page_share=0.02)):
        assert printing.facts["share of page"] == pytest.approx(0.02, rel=0.12)


def test_an_edition_is_made_once_and_alike(collection: Collection) -> None:
    first = collection.edition("again", Recipe(width=200))
    page = collection.folder / first[0].page
    assert [p.as_dict() for p in collection.edition("again", Recipe(width=200))] == [p.as_dict() for p in first]
    with pytest.raises(InputError, match="another recipe"):
        collection.edition("again", Recipe(width=210))
    other = collection.edition("another name", Recipe(width=200))
    assert (collection.folder / other[0].page).read_bytes() == page.read_bytes()


def _likeness(folder: Path, printing: Printing) -> float:
    """Return the correlation of a photograph with what lies under it on the page, screen and fine detail blurred."""
    photograph = np.asarray(Image.open(folder / "photographs" / printing.photograph).convert("L"), np.float32)
    page = np.asarray(Image.open(folder / printing.page).convert("L"), np.float32)
    high, wide = photograph.shape
    back = cv2.warpPerspective(page, printing.matrix, (wide, high), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    corners = np.linalg.solve(printing.matrix, np.c_[printing.visible, np.ones(4)].T)[:2].T
    mask = np.zeros((high, wide), np.uint8)
    cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 1)
    inside = cv2.erode(mask, np.ones((15, 15), np.uint8)) > 0
    a, b = (cv2.GaussianBlur(x, (0, 0), 5)[inside] for x in (photograph, back))
    return float(np.corrcoef(a, b)[0, 1])


@pytest.mark.compiled
def test_the_command_measures_both_ways(pictures: Path, pages: Path, tmp_path: Path) -> None:
    words = ["--part", "all", "--photographs", "2", "--pages", "4", "--only", "targets", "--workers", "0"]
    words += ["--photographs-from", str(pictures), "--pages-from", str(pages), "--keep", str(tmp_path / "kept")]
    assert main([*words, "--json", str(tmp_path / "result.json")]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    for edition in result["editions"].values():
        assert edition["pages"]["queries"] == edition["photographs"]["queries"] == 2
        assert edition["pages"]["recall_at_1"] == 1
    assert main([*words, "--seed", "3"]) == 2


def test_the_command_explains_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--photographs-from", str(tmp_path), "--pages-from", str(tmp_path)]) == 2
    assert "no image of part test" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--only", "nonsense"])


def test_curves_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot_curves(tmp_path / "curves.png", [Panel("width", {"a": ([300, 200], [0.9, None])}, reverse=True)], "title")
    with Image.open(tmp_path / "curves.png") as drawn:
        assert drawn.format == "PNG" and len(np.unique(np.asarray(drawn.convert("L")))) > 10
    with pytest.raises(ValueError, match="x and"):
        plot_curves(tmp_path / "other.png", [Panel("width", {"a": ([300], [])})])
    with pytest.raises(ValueError, match="no panel"):
        plot_curves(tmp_path / "other.png", [])

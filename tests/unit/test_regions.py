"""The layout inside the index: which regions are kept, what they do to features, and which picture a hit lies on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import index.encoding
from index.annotations import LAYOUT, Zone
from index.answers import Query
from index.regions import Pictures, counting, each_region, segmenter_of, signature_of, zones_known, zones_of
from index.search import search
from index.settings import Settings
from index.store import Index
from index.vocabulary import bundled_vocabulary
from index.zones import PageZones, ZoneFinder
from matcher.errors import InputError, SettingsMismatch
from matcher.images import read_image
from matcher.layout import Layout, LayoutRegion
from matcher.layout_regions import painted
from matcher.registry import extractor_of
from matcher.selection import choose, select, swayed
from matcher.types import Region
from tests.conftest import PAGE_SIZE, PLACE, page_with, picture

if TYPE_CHECKING:
    from pathlib import Path

    from matcher.images import Scan

WIDTH, HEIGHT = PAGE_SIZE
BLOCK = Region(40, 40, WIDTH - 80, HEIGHT - 80)


def layout(*regions: LayoutRegion, width: int = WIDTH, height: int = HEIGHT) -> Layout:
    return Layout(width, height, regions, painted(regions, width, height, (96, 72)))


def on(kind: str, *box: float, score: float = 0.9) -> LayoutRegion:
    return LayoutRegion(kind, Region(*box), score)


class Told:
    """A segmenter that is told what lies on every page, or that fails."""

    signature = "told-1()"

    def __init__(self, *regions: LayoutRegion, error: Exception | None = None) -> None:
        self.regions = regions
        self.error = error
        self.seen: list[tuple[int, ...]] = []

    def segment(self, scan: Scan) -> Layout:
        self.seen.append(scan.pixels.shape)
        if self.error is not None:
            raise self.error
        return layout(*self.regions, width=scan.width, height=scan.height)


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch):
    """Let indexes find pictures with a segmenter of the test's own."""

    def tell(*regions: LayoutRegion, error: Exception | None = None) -> Told:
        told = Told(*regions, error=error)
        monkeypatch.setattr(index.encoding, "segmenter_of", lambda _: told)
        monkeypatch.setattr("index.regions.segmenter_named", lambda _: told)
        return told

    return tell


def settings(**changes: Any) -> Settings:
    words = bundled_vocabulary()
    return Settings(words.name, words.hash, words.features, layout="told-1()", **changes)


# What is kept of a layout


def test_regions_of_a_page_become_zones():
    outline = np.array([[10.04, 20.06], [110, 20], [10, 120]])
    found = zones_of(
        layout(LayoutRegion("initial", Region(10, 20, 100, 100), 0.87654, outline), on("text", *BLOCK.as_list()))
    )
    initial, text = found
    assert (initial.kind, initial.box, initial.score, initial.origin) == (
        "initial",
        Region(10, 20, 100, 100),
        0.8765,
        LAYOUT,
    )
    assert initial.polygon == ((10.0, 20.1), (110.0, 20.0), (10.0, 120.0))
    assert (text.kind, text.polygon) == ("text", None)


@pytest.mark.parametrize(
    ("regions", "is_page"),
    [
        ([on("illustration", 0, 0, WIDTH, HEIGHT)], False),  # a photograph
        ([], False),
        ([on("text", 100, 100, 150, 60)], False),  # a map with its title
        ([on("illustration", 0, 0, WIDTH, 800), on("text", 100, 850, 150, 60)], True),  # a plate with its caption
        ([on("text", *BLOCK.as_list())], True),
    ],
)
def test_an_image_is_a_page_if_there_is_text_worth_the_name(regions, is_page):
    found = zones_of(layout(*regions))
    assert bool(found) == is_page
    assert Pictures(found, WIDTH, HEIGHT).is_page == is_page


def test_what_others_say_counts_for_more_than_a_segmenter():
    told = Zone("ornament", Region(100, 100, 200, 100), origin="user")
    again = Zone("illustration", Region(105, 98, 200, 105), score=0.9, origin=LAYOUT)
    apart = Zone("initial", Region(400, 100, 50, 50), score=0.9, origin=LAYOUT)
    inside = Zone("initial", Region(110, 110, 40, 40), score=0.9, origin=LAYOUT)
    assert counting([again, apart, told, inside]) == [apart, told, inside]
    assert counting([again, apart]) == [again, apart]
    assert Pictures([again, told], WIDTH, HEIGHT).zones == [told]


def test_points_lie_on_pictures_or_close_beside_them():
    zones = [Zone("illustration", Region(100, 200, 300, 300)), Zone("text", BLOCK)]
    pictures = Pictures(zones, WIDTH, HEIGHT)
    points = np.array([[101, 201], [250, 350], [399, 499], [98, 350], [80, 350], [500, 700], [-5, -5], [9999, 9999]])
    assert pictures.hold(points).tolist() == [True, True, True, True, False, False, False, False]
    assert Pictures(zones[:1], WIDTH, HEIGHT).hold(points).all()  # no page


def test_a_hit_lies_on_the_smallest_picture_that_holds_most_of_it():
    border = Zone("ornament", Region(0, 0, 700, 900))
    cut = Zone("initial", Region(100, 100, 100, 100))
    pictures = Pictures([border, cut, Zone("text", BLOCK)], WIDTH, HEIGHT)
    assert pictures.under(np.array([[101, 101], [150, 150], [201, 199]])) == cut
    assert pictures.under(np.array([[101, 101], [500, 150], [600, 600]])) == border
    assert pictures.under(np.array([[710, 950], [715, 950], [150, 150]])) is None


# What it does to features


@given(st.floats(0, 1), st.booleans())
def test_a_layout_is_a_second_witness(likeness, there):
    (after,) = swayed(np.array([likeness]), np.array([there]))
    if 0 < likeness < 1:
        odds = likeness / (1 - likeness) * (19 if there else 1 / 19)
        assert after == pytest.approx(odds / (1 + odds), rel=1e-5)
    else:
        assert after == likeness


def features_for(n: int = 800):
    random = np.random.default_rng(0)
    points = random.uniform(0, 400, (n, 2)).astype(np.float32)
    return points, random.random((n, 128), np.float32), np.full(n, 5.0), np.linspace(0.1, 0.2, n)


def test_without_looks_a_layout_alone_decides():
    points, descriptors, sizes, responses = features_for()
    left = np.zeros((4, 4), np.uint16)
    left[:, :2] = 1
    chosen, likeness = select(
        points, descriptors, sizes, responses, (400, 400), network=None, budget=6400, pictures=lambda: left
    )
    assert (chosen == np.flatnonzero(points[:, 0] < 199.5)).all()
    assert set(np.round(likeness, 2)) == {np.float32(0.95), np.float32(0.05)}
    everything, _ = select(
        points, descriptors, sizes, responses, (400, 400), network=None, budget=6400, pictures=lambda: None
    )
    assert len(everything) == len(points)


def test_a_layout_is_not_looked_for_where_little_looks_like_type(tmp_path):
    def fail() -> None:
        raise AssertionError("looked for")

    words = bundled_vocabulary()
    extractor = extractor_of(words.features, 6400, words.likeness)
    cv2.imwrite(str(tmp_path / "camera.png"), picture("camera", 500))
    scan = read_image(tmp_path / "camera.png")
    assert len(extractor.extract(scan, None, fail)) == len(extractor.extract(scan))
    cv2.imwrite(str(tmp_path / "page.png"), page_with(picture("camera", PLACE[2]), 1))
    with pytest.raises(AssertionError):
        extractor.extract(read_image(tmp_path / "page.png"), None, fail)


def test_a_floor_is_kept_only_where_no_layout_is_known():
    sizes, responses, likeness = np.full(500, 5.0), np.linspace(0.1, 0.2, 500), np.full(500, 0.01)
    assert len(choose(sizes, responses, likeness, 6400)) == 300
    assert len(choose(sizes, responses, likeness, 6400, np.zeros(500, np.uint16))) == 0


def test_small_pictures_keep_their_share():
    random = np.random.default_rng(3)
    places = np.repeat(np.array([0, 1, 2], np.uint16), [1000, 3000, 900])
    order = random.permutation(len(places))
    places, likeness = places[order], np.ones(len(places))
    responses = np.where(places == 2, 0.01, 0.5) + 0.001 * random.random(len(places))  # the small one is faint, too
    kept = choose(np.ones(len(places)), responses, likeness, 2000, places)
    assert np.bincount(places[kept])[2] == 800
    assert len(kept) == 2000
    assert (np.diff(kept) > 0).all()
    best = np.flatnonzero(places == 2)[np.argsort(-responses[places == 2])[:800]]
    assert set(best) <= set(kept)
    assert set(places[choose(np.ones(len(places)), responses, likeness, 2000)]) == {0, 1}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page of type with a photograph on it, in colour."""
    pixels = page_with(picture("coins", PLACE[2]), 1)
    cv2.imwrite(str(tmp_path / "page.png"), cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR))
    return tmp_path / "page.png"


PHOTOGRAPH = on("illustration", *PLACE, 300)
TEXT = on("text", *BLOCK.as_list())


def stored(path: Path, *zones: Zone) -> index.encoding.EncodedImage:
    return index.encoding.Encoder(settings(work_size=960), bundled_vocabulary()).encode(path, 0, zones)


@pytest.mark.compiled
def test_features_are_kept_on_pictures(page, telling):
    seen = telling(PHOTOGRAPH, TEXT)
    encoded = stored(page)
    assert seen.seen == [(HEIGHT, WIDTH, 3)]
    assert [zone.kind for zone in encoded.zones or ()] == ["illustration", "text"]
    assert encoded.unsegmented == ""
    telling()
    assert 100 < len(encoded) < len(stored(page))


@pytest.mark.compiled
def test_a_picture_that_a_layout_misses_is_not_lost(page, telling):
    telling(PHOTOGRAPH, TEXT)
    told = len(stored(page))
    telling(TEXT)
    assert len(stored(page)) > 0.8 * told


@pytest.mark.compiled
@pytest.mark.parametrize("error", [ValueError("no such layer"), cv2.error("inference"), MemoryError()])
def test_an_image_outlives_its_segmenter(page, telling, error):
    telling(error=error)
    encoded = stored(page)
    assert len(encoded) > 100
    assert encoded.zones == ()
    assert encoded.unsegmented.startswith((type(error).__name__, "error"))


# In the index


@pytest.mark.compiled
def test_the_index_keeps_what_was_found_beside_what_was_given(page, tmp_path, telling):
    telling(PHOTOGRAPH, TEXT)
    given_zone = Zone("ornament", Region(500, 700, 100, 100), origin="alto")
    zones = ZoneFinder([PageZones(tmp_path / "page.xml", "page.png", None, (given_zone,))])
    with Index.create(tmp_path / "i.calque", settings()) as made:
        report = made.add([page], workers=0, zones=zones)
        assert (report.added, report.unsegmented) == (1, [])
        (image,) = made.images()
        assert [(zone.kind, zone.origin) for zone in made.regions(image.id)] == [
            *[("ornament", "alto"), ("illustration", LAYOUT), ("text", LAYOUT)]
        ]
        cv2.imwrite(str(page), cv2.resize(cv2.imread(str(page)), (WIDTH // 2, HEIGHT // 2)))
        telling(on("initial", 100, 100, 50, 50), on("text", 20, 20, 300, 400))
        assert made.add([page], workers=0).replaced == 1
        (image,) = made.images()
        ornament, initial, text = made.regions(image.id)
        assert (ornament.box, initial.kind, text.kind) == (Region(250, 350, 50, 50), "initial", "text")
        assert len({ornament.id, initial.id, text.id, 0}) == 4


@pytest.mark.compiled
def test_a_report_names_images_without_their_layout(page, tmp_path, telling):
    telling(error=ValueError("no such layer"))
    with Index.create(tmp_path / "i.calque", settings()) as made:
        report = made.add([page], workers=0)
        assert (report.added, report.failed) == (1, [])
        assert report.unsegmented == [(str(page), "ValueError: no such layer")]


@pytest.fixture
def volume(tmp_path: Path) -> list[Path]:
    """Two pages that share a picture and, somewhere else, a binding; a third shares the binding only."""
    paths = []
    for number, name in enumerate(("coins", "coins", "brick")):
        pixels = page_with(picture(name, PLACE[2]), number)
        pixels[680:840, 20:180] = picture("gravel", 160)
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), pixels)
    return paths


def hits(opened: Index, query: Query, **options: Any) -> dict[str, list[str | None]]:
    (answer,) = search(opened, [query], max_false_alarms=1e-3, threads=1, **options)
    assert answer.error is None
    found: dict[str, list[str | None]] = {}
    for hit in answer.hits:
        found.setdefault(hit.image.rpartition("/")[2], []).append(hit.zone and hit.zone.kind)
    return found


@pytest.mark.compiled
def test_whole_pages_are_found_by_their_pictures(volume, tmp_path, telling):
    telling(PHOTOGRAPH, TEXT)
    with Index.create(tmp_path / "i.calque", settings()) as made:
        made.add(volume, workers=0)
        whole = Query("", volume[0])
        assert hits(made, whole) == {"0.png": ["illustration"], "1.png": ["illustration"]}
        assert set(hits(made, whole, furniture=True)) == {"0.png", "1.png", "2.png"}
        # What a user frames is what she asks for, wherever it lies.
        assert hits(made, Query("", volume[0], Region(20, 680, 160, 160)))["2.png"] == [None]


@pytest.mark.compiled
def test_pages_of_one_volume_are_not_found_by_a_frame(tmp_path, telling):
    first, second, copy = tmp_path / "volume/1.png", tmp_path / "volume/2.png", tmp_path / "other/2.png"
    for number, path in enumerate((first, second, copy)):
        pixels = page_with(picture("coins" if number else "brick", PLACE[2]), 0)
        down = 100 + 9 * min(number, 1)
        pixels[down : down + 560, 28:36] = picture("gravel", 560)[:, :8]
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), pixels)
    telling(PHOTOGRAPH, TEXT, on("ornament", 10, 80, 44, 620))
    with Index.create(tmp_path / "i.calque", settings()) as made:
        made.add([first, second, copy], workers=0)

        def found(path: Path, **options: Any) -> set[str]:
            (answer,) = search(made, [Query("", path)], max_false_alarms=1e-3, threads=1, **options)
            return {hit.path for hit in answer.hits}

        assert found(first) == {str(first), str(copy)}  # in another volume the same frame is worth telling
        assert found(second) == {str(second), str(copy)}
        assert found(first, furniture=True) == {str(first), str(second), str(copy)}
        assert set(hits(made, Query("", first, Region(10, 80, 44, 620)))) == {"1.png", "2.png"}
        blank = tmp_path / "volume/3.png"
        pixels = np.full_like(pixels, 235)
        pixels[118:678, 28:36] = picture("gravel", 560)[:, :8]
        cv2.imwrite(str(blank), pixels)
        telling()
        made.add([blank], workers=0)
        assert found(blank) == {str(blank), str(copy)}
        assert str(blank) not in found(first)
        twin = tmp_path / "volume/4.png"
        twin.write_bytes(blank.read_bytes())
        made.add([twin], workers=0)
        assert {str(blank), str(twin)} <= found(blank)  # a copy is one, whatever it is found by


@pytest.mark.compiled
def test_a_page_without_pictures_is_found_on_its_copies(volume, tmp_path, telling):
    telling(TEXT)
    with Index.create(tmp_path / "i.calque", settings()) as made:
        made.add(volume, workers=0)
        assert set(hits(made, Query("", volume[2]))) == {"2.png"}


@pytest.mark.compiled
def test_of_a_page_of_type_nothing_is_kept_and_nothing_is_found(tmp_path, telling):
    cv2.imwrite(str(tmp_path / "page.png"), page_with(np.full((300, PLACE[2]), 235, np.uint8), 7))
    telling(TEXT)
    with Index.create(tmp_path / "i.calque", settings()) as made:
        made.add([tmp_path / "page.png"], workers=0)
        (image,) = made.images()
        assert image.n_features < 20
        assert hits(made, Query("", tmp_path / "page.png")) == {}


@pytest.mark.compiled
def test_pages_that_are_not_in_are_looked_at_when_they_are_asked(volume, tmp_path, telling):
    telling(PHOTOGRAPH, TEXT)
    with Index.create(tmp_path / "i.calque", settings()) as made:
        made.add(volume[1:], workers=0)
        assert zones_known(made, volume[0], 0) is None
        seen = telling(PHOTOGRAPH, TEXT)
        assert hits(made, Query("", volume[0])) == {"1.png": ["illustration"]}
        assert len(seen.seen) == 1
        hits(made, Query("", volume[1]))
        assert len(seen.seen) == 1  # that page is known
        telling(error=ValueError("no such layer"))
        (answer,) = search(made, [Query("", volume[0])])
        assert "0.png: no layout was found (ValueError: no such layer)" in str(answer.error)


@pytest.mark.compiled
def test_each_picture_of_a_page_is_asked(volume, tmp_path, telling):
    binding = on("ornament", 20, 680, 160, 160)
    telling(PHOTOGRAPH, binding, TEXT)
    with Index.create(tmp_path / "i.calque", settings()) as made:
        made.add(volume[:2], workers=0)
        known = each_region(made, volume[0])
        ids = [zone.id for zone in made.regions(1)]
        assert [query.id for query in known] == [f"illustration {ids[0]}", f"ornament {ids[1]}"]
        assert [query.region for query in known] == [PHOTOGRAPH.box, binding.box]
        found = each_region(made, volume[2])
        assert [query.id for query in found] == ["illustration 1", "ornament 2"]
        assert hits(made, found[1]) == {"0.png": ["ornament"], "1.png": ["ornament"]}
        telling(TEXT)
        assert each_region(made, volume[2]) == []
        with pytest.raises(InputError):
            each_region(made, tmp_path / "none.png")


# What an index was made with


def test_settings_know_a_layout_only_where_there_is_one():
    plain = Settings("v", "0")
    assert "layout" not in plain.to_dict()
    assert Settings.from_json(plain.to_json()) == plain
    assert Settings.from_json(settings().to_json()) == settings()
    with pytest.raises(SettingsMismatch, match="layout"):
        plain.require(Settings("v", "0", layout="told-1()"), "x.calque")


def test_segmenters_are_known_by_their_signatures():
    signature = signature_of("classical")
    assert signature_of(signature) == signature == segmenter_of(signature).signature
    assert signature_of("") == ""
    for gone in ("classical-0()", "no-such-thing-1()"):
        with pytest.raises(SettingsMismatch, match="make it anew"):
            segmenter_of(gone)
    with pytest.raises(InputError):
        signature_of("clasical")


def test_an_index_is_made_with_a_segmenter_by_name(tmp_path):
    with Index.create(tmp_path / "i.calque", {"layout": "classical"}) as made:
        assert made.settings.layout == signature_of("classical")
    with Index.open(tmp_path / "i.calque", settings=made.settings) as opened:
        assert opened.info()["settings"]["layout"] == signature_of("classical")

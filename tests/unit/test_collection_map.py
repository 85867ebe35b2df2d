"""Where pictures lie on a map, which cluster they are of, what is written: on arrays, and through the real command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from cli.map import map as map_command
from cli.map_page import LANGUAGES, SCRIPTS
from index.collection_map import MapSettings, make_map
from index.durable import replacing_folder
from index.embedding import embed
from index.sprites import LARGE
from index.store import Index
from matcher import projection
from matcher.arrangement import cloud, grid, timeline, year_of
from matcher.clustering import dense_clusters, k_means, most_typical
from matcher.errors import InputError, MissingDependency
from matcher.projection import principal_components, projected
from tests.conftest import REPOSITORY
from tests.crash.fake_encoder import SETTINGS, FakeEncoder

VIEWER = REPOSITORY / "cli" / "map_viewer"


def groups(many: int, each: int, size: int = 8, seed: int = 0) -> np.ndarray:
    """Return vectors in well separated groups, float32 (many × each, size)."""
    random = np.random.default_rng(seed)
    middles = 10 * random.normal(size=(many, size))
    return (np.repeat(middles, each, axis=0) + random.normal(size=(many * each, size))).astype(np.float32)


@given(st.integers(0, 200), st.integers(1, 20), st.integers(0, 9))
def test_a_grid_has_one_cell_for_each_point(n: int, columns: int, seed: int) -> None:
    points = np.random.default_rng(seed).choice([0.0, 1.0, 2.5], (n, 2)).astype(np.float32)
    cells = grid(points, columns)
    assert len({tuple(cell) for cell in cells.tolist()}) == n
    assert n == 0 or (cells.min() >= 0 and cells[:, 0].max() < columns and cells[:, 1].max() < math.ceil(n / columns))


def test_neighbours_stay_together_in_a_grid() -> None:
    points = np.random.default_rng(1).random((900, 2)).astype(np.float32)
    cells = grid(points, 30)
    gaps = np.abs(points * 30 - cells - 0.5)
    assert np.median(gaps) < 1.5
    assert np.corrcoef(points[:, 0], cells[:, 0])[0, 1] > 0.98


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("1912", 1912.0), ("1912-07", 1912.5), ("[c. 1538?]", 1538.0), ("Paris, 1789.", 1789.0), ("842", 842.0),
        ("1890-1895", 1890.0), ("1912-13", 1912.0), ("12345", math.nan), ("s. d.", math.nan), ("", math.nan),
    ],
)  # fmt: skip
def test_years_are_read_out_of_what_libraries_write(text: str, year: float) -> None:
    assert year_of(text) == pytest.approx(year, nan_ok=True)


def test_a_timeline_puts_no_two_pictures_in_one_place() -> None:
    random = np.random.default_rng(0)
    years = np.where(random.random(500) < 0.1, np.nan, 1500 + 300 * random.random(500) ** 2)
    told = timeline(years, np.arange(500))
    assert len({tuple(place) for place in told.places.tolist()}) == 500
    dated = ~np.isnan(years)
    order = np.argsort(years[dated])
    bars = np.searchsorted([x for x, _ in told.ticks], told.places[dated][order, 0] + 0.01)
    assert (np.diff(bars) >= 0).all()
    assert told.places[~dated, 0].min() > told.places[dated, 0].max()
    assert told.ticks[0][1].startswith("1500") and told.ticks[-1][1] == ""
    assert timeline(np.full(3, np.nan), np.arange(3)).ticks == []


def test_a_cloud_keeps_its_shape() -> None:
    points = np.array([[0, 0], [4, 0], [0, 1]], np.float32)
    assert cloud(points, 8).tolist() == [[0, 3], [8, 3], [0, 5]]
    assert np.isfinite(cloud(np.ones((3, 2), np.float32), 8)).all()


def test_principal_components_are_those_of_the_svd() -> None:
    vectors = groups(3, 20)
    found = principal_components(vectors, 2)
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    assert np.abs(found) == pytest.approx(np.abs(centred @ axes[:2].T), rel=1e-3, abs=1e-3)
    assert principal_components(vectors[:, :1], 2)[:, 1].tolist() == [0.0] * 60
    assert projected(vectors[:3]).shape == (3, 2)


def test_umap_keeps_groups_together_and_repeats_itself() -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed (extra map)")
    vectors = groups(4, 40)
    points = projected(vectors)
    assert points.dtype == np.float32 and (points == projected(vectors)).all()
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(distances.argmin(axis=1) // 40 == np.arange(160) // 40) > 0.97


def test_what_is_missing_is_told_with_the_way_round_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(MissingDependency, match=r"pip install 'calque\[map\]', .* --projection pca"):
        projected(groups(2, 10))
    assert projection.projected(groups(2, 10), "pca").shape == (20, 2)
    with pytest.raises(InputError, match="not finite"):
        projected(np.full((9, 2), np.nan, np.float32))


def test_clusters_are_found_the_largest_first() -> None:
    sizes = [60, 30, 15]
    points = np.concatenate([groups(1, size, 2, seed) + 100 * seed for seed, size in enumerate(sizes, 1)])
    for found in (dense_clusters(points, 8), k_means(points, 3)):
        assert [int((found == number).sum()) for number in range(3)] == pytest.approx(sizes, abs=6)
        assert found[5] == 0 and found[-1] == 2
    assert dense_clusters(points[:6]).tolist() == [-1] * 6
    assert k_means(points[:2], 5).tolist() == [0, 1]


def test_what_is_typical_is_central_and_not_five_times_the_same() -> None:
    random = np.random.default_rng(0)
    vectors = np.concatenate([np.zeros((10, 4)), random.normal(size=(30, 4)), np.full((1, 4), 9.0)]).astype(np.float32)
    chosen = most_typical(vectors, np.arange(len(vectors)), 5)
    assert len(chosen) == 5 and chosen.max() < 40 and (chosen < 10).sum() <= 1


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of forty details of two photographs, one with a name that is no plain one, with vectors of colours."""
    folder = tmp_path_factory.mktemp("mapped")
    (folder / "à b#c").mkdir()
    random = np.random.default_rng(0)
    sources = {"coffee": data.coffee(), "astronaut": data.astronaut()}
    for number in range(40):
        name = ("coffee", "astronaut")[number % 2]
        y, x = random.integers(0, 250, 2)
        part = sources[name][y : y + 120, x : x + 90 + number]
        cv2.imwrite(str(folder / "à b#c" / f"{name} {number}.jpg"), part[..., ::-1])
    with Index.create(folder / "details.calque", SETTINGS) as index:
        index.add([folder / "à b#c"], workers=0, encoder_factory=FakeEncoder)
        known = {
            record.id: {
                "title": f"<b>{record.name}</b>",
                "date": str(1900 + record.id),
                "of": Path(record.name).stem.split()[0],
            }
            for record in index.images()
        }
        index.set_metadata(known)
        embed(index, "palette", workers=0)
    return folder / "details.calque"


def run(*words: Any) -> Result:
    return CliRunner().invoke(map_command, [*map(str, words)], standalone_mode=False)


def written(folder: Path) -> dict[str, Any]:
    text = (folder / "data.js").read_text("ascii")
    told: dict[str, Any] = json.loads(text.removeprefix("calqueData(").removesuffix(");\n"))
    return told


def test_a_map_is_written_whole(mapped: Path, tmp_path: Path) -> None:
    target = tmp_path / "a map"
    done = run(mapped, "-o", target, "--projection", "pca", "--clusters", 2, "--workers", 0, "--colour-by", "of")
    assert done.return_value == 0 and "40 pictures, 2 clusters, 0 failed" in done.output
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {
        "index.html", "map.css", "map.js", "data.js", "pictures/small-000.js", "pictures/large-000.js",
    }  # fmt: skip
    told = written(target)
    assert told["count"] == 40 and len(told["clusters"]) == 2 and told["time"]["key"] == "date"
    assert "<b>" in told["fields"][0]["values"][0]
    for begin, rest in ((told[kind]["begin"], told[kind]["rest"]) for kind in ("pages", "pictures")):
        assert all((target / unquote(begin + end)).is_file() for end in rest)

    # Written again it takes the place of the first; anything else is left alone.
    assert run(mapped, "-o", target, "--projection", "pca", "--where", "of=coffee", "-q").return_value == 0
    assert written(target)["count"] == 20
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="other things"):
        raise run(mapped, "-o", tmp_path / "mine", "--projection", "pca").exception or AssertionError
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_links_lead_where_they_are_told_to(mapped: Path, tmp_path: Path) -> None:
    run(mapped, "-o", tmp_path / "s", "--projection", "pca", "--server", "http://h:1/i/my%20scans/", "--workers", 0)
    told = written(tmp_path / "s")
    assert told["pages"]["begin"] == "http://h:1/i/my%20scans/image/"
    assert told["pictures"]["begin"].startswith("http://h:1/iiif/my%20scans/")
    run(mapped, "-o", tmp_path / "b", "--projection", "pca", "--base-url", "https://x.org/", "--workers", 0)
    begin = written(tmp_path / "b")["pages"]["begin"]
    assert begin.startswith("https://x.org/") and begin.endswith("/%C3%A0%20b%23c/") and "//" not in begin[8:]
    for words, told in (
        (["--server", "http://h/i/a", "--base-url", "https://x"], "either"),
        (["--server", "h"], "no address"),
    ):
        assert told in str(run(mapped, "-o", tmp_path / "n", *words).exception)


def test_what_cannot_be_read_is_a_grey_patch_and_told(mapped: Path, tmp_path: Path) -> None:
    with Index.open(mapped) as index:
        broken = Path(next(index.images()).path)
    content = broken.read_bytes()
    broken.write_bytes(content[:200])
    try:
        done = run(mapped, "-o", tmp_path / "m", "--projection", "pca", "--workers", 0)
    finally:
        broken.write_bytes(content)
    assert done.return_value == 1 and "1 failed" in done.output and broken.name in done.output


def test_regions_are_shown_instead_of_pages(scans_index: Path, tmp_path: Path) -> None:
    import shutil

    path = Path(shutil.copytree(scans_index, tmp_path / "scans.calque"))
    with Index.open(path) as index:
        with pytest.raises(InputError, match=r"calque embed .* --model palette"):
            make_map(index, "palette")
        embed(index, "palette", regions=True, workers=0)
        made = make_map(index, settings=MapSettings("pca"), regions=True)
        assert len(made) > 0 and made.boxes.any(axis=1).all()
        with pytest.raises(InputError, match="no image of the map has 'publisher'"):
            make_map(index, settings=MapSettings(colour_by="publisher"))
    assert run(path, "-o", tmp_path / "m", "--regions", "--projection", "pca", "--workers", 0).return_value == 0
    assert len(written(tmp_path / "m")["boxes"]) == len(made)


def test_an_error_leaves_the_earlier_folder(tmp_path: Path) -> None:
    target = tmp_path / "map"
    for content in ("first", "second"):
        with replacing_folder(target, "mark") as folder:
            (folder / "mark").write_text(content)
    with pytest.raises(KeyboardInterrupt), replacing_folder(target, "mark") as folder:
        (folder / "mark").write_text("third")
        raise KeyboardInterrupt
    assert (target / "mark").read_text() == "second"
    assert list(tmp_path.iterdir()) == [target]


def test_the_page_speaks_two_languages_and_says_all_it_knows() -> None:
    words = {tag: json.loads((VIEWER / f"words.{tag}.json").read_text("utf-8")) for tag in LANGUAGES}
    assert list(words["en"]) == list(words["fr"])
    code = "".join((VIEWER / name).read_text("utf-8") for name in (*SCRIPTS, "index.html"))
    beginnings = ("layout.", "key.")
    unsaid = [key for key in words["en"] if f'"{key}"' not in code and not key.startswith(beginnings)]
    assert unsaid == []
    assert {path.name for path in VIEWER.glob("*.js")} == set(SCRIPTS)
    assert "innerHTML" not in code and "http" not in code.replace("https://", "") and LARGE.place == 128

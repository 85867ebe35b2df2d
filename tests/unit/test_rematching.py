"""What a network's pairs agree on, and the networks themselves: from their files, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from index.answers import Query
from index.comparison import compare
from index.embedding import embed
from index.rematching import LookAlikes, Rematcher
from index.search import search
from index.store import Index
from matcher.errors import InputError, MissingDependency
from matcher.registry import MATCHERS, matcher_named
from matcher.rematching import PAIR_LAWS, PairLaw, agreed_pairs
from matcher.types import Features
from matcher.weights import WEIGHTS
from tests.conftest import picture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CORNERS = np.array([[0.0, 0], [400, 0], [400, 400], [0, 400]])
MAP = np.array([[0.5, -0.2, 300.0], [0.2, 0.5, 80.0]])


def pairs(true: int, wrong: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places of pairs of which the first lie where `MAP` puts them, a pixel off."""
    rng = np.random.default_rng(seed)
    query = rng.uniform(0, 400, (true + wrong, 2))
    image = query @ MAP[:, :2].T + MAP[:, 2] + rng.normal(0, 1, (true + wrong, 2))
    image[true:] = rng.uniform(0, 900, (wrong, 2))
    return query, image


def test_pairs_agree_on_the_map_that_they_follow():
    query, image = pairs(60, 200)
    agreed = agreed_pairs(query, image, CORNERS, 1.0)
    assert agreed is not None
    assert agreed.matrix[:2] == pytest.approx(MAP, abs=3)
    assert agreed.matrix[:2, :2] == pytest.approx(MAP[:, :2], abs=0.02)
    assert 30 <= agreed.inliers.sum() <= 60
    assert agreed.inliers[60:].sum() <= 3


def test_pairs_in_one_cell_count_once():
    query, image = pairs(60, 0)
    query, image = np.repeat(query, 5, axis=0), np.repeat(image, 5, axis=0)
    once, often = agreed_pairs(query[::5], image[::5], CORNERS, 1.0), agreed_pairs(query, image, CORNERS, 1.0)
    assert once is not None
    assert often is not None
    assert often.inliers.sum() == once.inliers.sum()


def test_chance_agrees_on_little_and_two_pairs_on_nothing():
    for seed in range(5):
        agreed = agreed_pairs(*pairs(0, 300, seed), CORNERS, 1.0)
        assert agreed is None or agreed.inliers.sum() < 12
    assert agreed_pairs(*pairs(2, 0), CORNERS, 1.0) is None


def test_the_law_falls_from_what_is_usual():
    law = PairLaw(usual=8, step=2, share=0.1)
    assert law.log_tail(3) == law.log_tail(8) == 0
    tails = [law.log_tail(count) for count in range(9, 60)]
    assert tails == sorted(tails, reverse=True)
    assert law.log_tail(8 + 20) == pytest.approx(-1 - 10 / np.log(10))


def test_who_names_no_matcher_is_told_the_nearest():
    with pytest.raises(InputError, match="did you mean 'lighterglue'"):
        matcher_named("lighterglu")


@pytest.fixture
def models(published_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CALQUE_MODELS", str(published_weights))
    if not (published_weights / WEIGHTS["lighterglue"].file).is_file():
        pytest.skip("no weights of LighterGlue")
    return published_weights


def outlines(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Redraw a picture as dark outlines on white."""
    edges = cv2.Canny(cv2.GaussianBlur(pixels, (0, 0), 1.5), 40, 100)
    return 255 - cv2.GaussianBlur(cv2.dilate(edges, np.ones((2, 2))), (0, 0), 0.7)


def drawn(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw a picture's outlines on a page."""
    page = np.full((420, 400), 250, np.uint8)
    high, wide = pixels.shape
    page[60 : 60 + high, 50 : 50 + wide] = outlines(pixels)
    return page


def test_look_alikes_are_images_each_once_the_likest_first(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    for name in ("camera", "coins", "brick"):
        cv2.imwrite(str(folder / f"{name}.png"), picture(name, 300))
    cv2.imwrite(str(tmp_path / "photograph.png"), cv2.GaussianBlur(picture("coins", 200), (0, 0), 1))
    with Index.create(tmp_path / "index") as index:
        index.add([folder], workers=0)
        embed(index, "structure", workers=0)
        look = LookAlikes(index, "structure")
        query = Query("", tmp_path / "photograph.png")
        first, second = look.images(query, 2, None)
        assert first.name.endswith("coins.png")
        assert [record.id for record in look.images(query, 2, {second.id})] == [second.id]


def test_redrawn_outlines_are_found_by_lighterglue(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kornia")
    photograph, drawing = tmp_path / "photograph.png", tmp_path / "drawing.png"
    pixels = picture("camera", 300)
    cv2.imwrite(str(photograph), pixels)
    cv2.imwrite(str(drawing), drawn(pixels))
    matcher = Rematcher("lighterglue", 1600)
    (variant,) = matcher.variants(Query("", photograph), ("same",))
    laid = matcher.lay(variant, drawing)
    assert laid is not None
    centre, corner = laid.match.transform.apply(np.array([[150, 150], [0, 0]]))
    assert centre == pytest.approx([200, 210], abs=4)
    assert corner == pytest.approx([50, 60], abs=9)
    assert laid.match.inliers >= 20
    other = tmp_path / "other.png"
    cv2.imwrite(str(other), outlines(picture("coins", 300)))
    unlike = matcher.lay(variant, other)
    assert unlike is None or unlike.match.inliers < laid.match.inliers / 2
    monkeypatch.setitem(PAIR_LAWS, "lighterglue", PairLaw(usual=6, step=2, share=0.1))
    (found,) = compare(photograph, drawing, relations=("same",), matcher="lighterglue")
    assert found.polygon[0] == pytest.approx([50, 60], abs=9)


def test_a_search_looks_again_and_counts_every_look(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kornia")
    folder = tmp_path / "pages"
    folder.mkdir()
    for name in ("camera", "coins"):
        cv2.imwrite(str(folder / f"{name}.png"), drawn(picture(name, 300)))
    cv2.imwrite(str(tmp_path / "photograph.png"), picture("camera", 300))
    monkeypatch.setitem(PAIR_LAWS, "lighterglue", PairLaw(usual=6, step=2, share=0.1))
    with Index.create(tmp_path / "index") as index:
        index.add([folder], workers=0)
        query = Query("", tmp_path / "photograph.png")
        options: dict[str, Any] = {"relations": ("same",), "max_false_alarms": 0.01}
        (plain,) = search(index, [query], **options)
        (again,) = search(index, [query], rematch="lighterglue", **options)
        with pytest.raises(InputError, match="rematched must be 1 or more"):
            list(search(index, [query], rematch="lighterglue", rematched=0))
        with pytest.raises(InputError, match="no vectors of structure"):
            list(search(index, [query], rematch="lighterglue", rematch_like="structure"))
        embed(index, "structure", workers=0)
        (alike,) = search(index, [query], rematch="lighterglue", rematched=1, rematch_like="structure", **options)
    assert alike.hits[0].image == again.hits[0].image
    assert not plain.hits
    assert again.hits[0].image.endswith("camera.png")
    hit = again.hits[0]
    looked = hit.false_alarms / 10 ** PAIR_LAWS["lighterglue"].log_tail(hit.match.inliers)
    assert looked == pytest.approx(2) or looked == pytest.approx(1)  # pages that anything voted for


@pytest.mark.parametrize("name", [name for name in MATCHERS if name.startswith("lightglue")])
def test_lightglue_is_loaded_by_name_from_its_authors_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights, under the names that its authors' files have."""
    torch = pytest.importorskip("torch")
    feature = pytest.importorskip("kornia").feature
    monkeypatch.setenv("CALQUE_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(MissingDependency, match=r"lightglue\.pth are not here; put the file from https://github"):
        matcher_named(name)
    torch.manual_seed(0)
    short = name.removeprefix("lightglue-")
    state = feature.LightGlue(None, **{**feature.LightGlue.features[short], "weights": None}).state_dict()
    theirs = {
        f"{parts[2]}.{parts[1]}.{parts[3]}" if (parts := key.split(".", 3))[0] == "transformers" else key: value
        for key, value in state.items()
    }
    assert any(key.startswith("self_attn.8.") for key in theirs)
    file = tmp_path / WEIGHTS[name].file
    torch.save(theirs, file)
    matcher = matcher_named(name)
    assert matcher.signature.startswith(f"{name}-1(weights=")
    rng = np.random.default_rng(0)
    descriptors = rng.normal(0, 1, (40, 128)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    places = rng.uniform(0, 200, (40, 2))
    seen = Features(places, np.full(40, 8), np.zeros(40), np.ones(40), descriptors, 200, 200)
    rows, columns, scores = matcher.pairs(seen, seen)
    assert len(rows) == len(columns) == len(scores)
    assert (np.diff(rows) > 0).all()
    assert [len(part) for part in matcher.pairs(seen.take(slice(0)), seen)] == [0, 0, 0]
    torch.save({"one.weight": torch.zeros(3)}, file)
    with pytest.raises(MissingDependency, match=r"lacks .*; fetch it again"):
        matcher_named(name)

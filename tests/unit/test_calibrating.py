"""The law of chance is what unrelated images follow, whoever trained the vocabulary."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from cli.train import train
from index import calibrating
from index.answers import Query
from index.calibrating import Weighed, Weighing, calibrated, fitted_law, set_aside, weigh_unrelated, window
from index.contents import Contents
from index.search import search
from index.store import Index
from index.vocabulary import Vocabulary, bundled_vocabulary
from matcher.significance import SHIPPED_LAW, Law, expected_cells, log_tail
from matcher.types import Region
from tests.conftest import picture

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four small pictures that have nothing in common."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("camera", "chelsea", "coins", "rocket"):
        cv2.imwrite(str(folder / f"{name}.png"), picture(name, 180))
    return folder


TRUE = Law(chance=0.04, base=0.6, share=1.1, dispersion=2.2, weighed=0.01)


NARROW = Law(chance=0.03, base=0.05, share=0.2, dispersion=1.2, weighed=0.004)


def weighing(law: Law, images: int, seed: int = 0) -> Weighing:
    """Draw unrelated images after a law, half of them as if for upright queries."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(images):
        compared = rng.integers(1, 9, rng.integers(5, 300))
        mean = law.base + law.share * expected_cells(compared, law.chance)
        beyond = rng.negative_binomial(mean / (law.dispersion - 1), 1 / law.dispersion)
        agreed = int(rng.binomial(compared.sum(), law.chance))
        found.append(Weighed(int(beyond) + 3, agreed, compared, len(found) % 2 == 0))
    return Weighing(tuple(found), round(images / 2 / law.weighed))


def test_the_law_that_images_follow_is_found_again():
    law = fitted_law(weighing(TRUE, 3000))
    assert law is not None
    assert law.chance == pytest.approx(TRUE.chance, rel=0.05)
    assert law.weighed == pytest.approx(TRUE.weighed)
    assert (law.share, law.dispersion) == (pytest.approx(TRUE.share, rel=0.1), pytest.approx(TRUE.dispersion, rel=0.1))


def test_no_law_is_narrower_than_the_one_that_is_shipped():
    law = fitted_law(weighing(NARROW, 1000))
    assert law is not None
    assert (law.base, law.dispersion) == (SHIPPED_LAW.base, SHIPPED_LAW.dispersion)
    assert law.share * law.chance == pytest.approx(SHIPPED_LAW.share * SHIPPED_LAW.chance)
    assert law == law.held_to(SHIPPED_LAW)
    assert law.chance == pytest.approx(NARROW.chance, rel=0.05)
    assert law.weighed == pytest.approx(NARROW.weighed)


def test_a_search_has_three_relations_with_few_voters_and_one_with_many():
    one = Weighed(3, 5, np.array([2, 1]))
    assert Weighing((one, one, one, one), 100).share == pytest.approx(0.01)
    assert Weighing((one, one, one._replace(upright=False)), 100).share == pytest.approx((0.02 + 3 * 0.01) / 4)


def test_a_few_symmetrical_pictures_do_not_change_it():
    plain = weighing(TRUE, 2000)
    odd = tuple(replace_count(one, 200) for one in plain.weighed[:10])
    law, mixed = fitted_law(plain), fitted_law(plain._replace(weighed=odd + plain.weighed[10:]))
    assert law is not None
    assert mixed is not None
    for expected in (1.0, 5.0):
        assert log_tail(20, expected, mixed) == pytest.approx(log_tail(20, expected, law), abs=0.4)


def replace_count(one: Weighed, count: int) -> Weighed:
    return one._replace(cells=count)


def test_claims_made_by_it_hold_for_images_that_had_no_part():
    law = fitted_law(weighing(TRUE, 2000, seed=1))
    assert law is not None
    others = weighing(TRUE, 4000, seed=2)
    tails = [log_tail(one.cells, expected_cells(one.compared, law.chance), law) for one in others.weighed]
    for claimed in (0.1, 0.01):
        observed = np.mean(np.array(tails) <= np.log10(claimed))
        assert 0.4 * claimed < observed <= 1.3 * claimed


def test_too_few_images_tell_nothing():
    assert fitted_law(weighing(TRUE, calibrating.LEAST_WEIGHED - 1)) is None


def test_what_is_measured_on_is_not_trained_on(pictures: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(20):
        (many / f"{number}.png").write_bytes(b"")
    (many / "notes.txt").write_text("no image")
    learnt, kept = set_aside([str(many), str(pictures / "coins.png")])
    assert (len(learnt), len(kept)) == (14, 7)
    assert sorted([*learnt, *kept]) == sorted(map(str, [*many.glob("*.png"), pictures / "coins.png"]))
    assert set_aside([str(many), str(pictures / "coins.png")]) == (learnt, kept)
    two = [str(pictures / "coins.png"), str(pictures / "camera.png")]
    assert set_aside(two) == (two, two)


def test_of_very_many_images_most_are_trained_on(tmp_path: Path) -> None:
    for number in range(800):
        (tmp_path / f"{number}.png").touch()
    assert tuple(map(len, set_aside([str(tmp_path)]))) == (550, 250)


def test_windows_lie_inside():
    rng = np.random.default_rng(0)
    region = Region(10, 20, 300, 200)
    for _ in range(50):
        part = window(region, rng)
        assert part.clipped(310, 220) == part
        assert part.x >= 10
        assert part.y >= 20


@pytest.mark.compiled
def test_a_vocabulary_of_ones_own_is_measured_and_its_index_says_so(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four pictures are too few by far; what they give is taken for enough here."""
    own = tmp_path / "own.h5"
    bundled_vocabulary().save(own)
    with Index.create(tmp_path / "before", vocabulary=own) as index:
        assert index.caveat == ""
        assert index.calibrated  # a copy of the one that comes with calque, law and all
    replace(bundled_vocabulary(), law=None).save(own)
    measured = calibrated(own, [str(pictures)], searches=4)
    assert measured.law is None
    assert Vocabulary.load(own).law is None
    monkeypatch.setattr(calibrating, "LEAST_WEIGHED", 0)
    monkeypatch.setattr(calibrating, "fitted_law", lambda found: replace(TRUE, weighed=0.5) if found.asked else None)
    done: list[tuple[int, int]] = []
    measured = calibrated(own, [str(pictures)], searches=4, progress=lambda *now: done.append(now))
    assert done[-1] == (8, 8)
    assert measured.law == Vocabulary.load(own).law == replace(TRUE, weighed=0.5)
    alarms = {}
    for name, law in (("without", None), ("earlier", NARROW), ("with", measured.law)):
        replace(measured, law=law).save(own)
        with Index.create(tmp_path / name, vocabulary=own) as index:
            index.add([pictures], workers=0)
            assert index.calibrated == (law is not None)
            assert ("an earlier calque" in index.caveat) == (law == NARROW)
            assert bool(index.caveat) == (law != measured.law)
            (answer,) = search(index, [Query("", pictures / "camera.png")], relations=("same",))
            alarms[name] = answer.hits[0].false_alarms
    assert alarms["with"] > alarms["without"] > 0


def test_an_index_of_networks_features_says_that_its_surest_hits_may_be_chance() -> None:
    law = TRUE.held_to(SHIPPED_LAW)
    for features, said in (("xfeat-1(weights=abc)", True), ("rootsift-1(contrast=0.04)", False)):
        index = SimpleNamespace(vocabulary=replace(bundled_vocabulary(), features=features, law=law))
        assert ("features of networks" in Contents.caveat.fget(index)) == said


@pytest.mark.compiled
def test_who_looks_for_mirror_images_weighs_no_twins(pictures: Path, tmp_path: Path) -> None:
    (pictures / "again.png").write_bytes((pictures / "camera.png").read_bytes())
    with Index.create(tmp_path / "pages") as index:
        index.add([pictures], workers=0)
        found = weigh_unrelated(index, 5)
    assert found.asked == 5 * 4
    assert all(one.cells < 12 for one in found.weighed)


def test_train_says_whether_it_could_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(bundled_vocabulary(), law=None)
    monkeypatch.setattr("index.training.train", lambda *_, **__: bare)
    for law, said in ((None, True), (TRUE, False)):
        monkeypatch.setattr(calibrating, "calibrated", lambda *_, law=law, **__: replace(bare, law=law))
        done = CliRunner().invoke(train, [str(tmp_path / "v.h5"), str(tmp_path), "--format", "json"])
        assert done.exit_code == 0, done.output
        assert ("too few images to measure what chance gives" in done.stderr) == said
        assert json.loads(done.stdout)["calibrated"] != said

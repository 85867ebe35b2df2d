"""What an index says of itself and refuses, beside what `tests/property/test_store_model.py` does with it at random."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import index.adding
from index._hdf5 import DamagedSegment
from index.annotations import Judgement, Zone
from index.embedding import embed
from index.intake import VOCABULARY_FILE
from index.settings import FORMAT_VERSION, Settings
from index.store import Index
from index.vocabulary import Vocabulary, bundled_vocabulary
from index.zones import PageZones, ZoneFinder
from matcher.detection import Detection
from matcher.errors import CalqueError, CorruptIndex, IndexBusy, InputError, SettingsMismatch
from matcher.types import Region
from tests.conftest import picture
from tests.crash.fake_encoder import SETTINGS, UNREADABLE, FakeEncoder

WHOLE = Region(1, 2, 3, 4)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(b"%d" % number)
    return folder


@pytest.fixture
def path(tmp_path: Path, scans: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of four images in two segments."""
    monkeypatch.setattr(index.adding, "_BATCH_IMAGES", 2)
    with Index.create(tmp_path / "i.calque", SETTINGS) as made:
        made.add([scans], workers=0, encoder_factory=FakeEncoder)
    return tmp_path / "i.calque"


def names(opened: Index) -> set[str]:
    return {Path(record.path).name for record in opened.images()}


# Creating


def test_settings_are_those_given_or_the_defaults_with_the_vocabulary(tmp_path: Path) -> None:
    shipped = bundled_vocabulary()
    with Index.create(tmp_path / "a.calque") as made:
        known = (made.settings.vocabulary, made.settings.vocabulary_hash, made.settings.extractor)
        assert known == (shipped.name, shipped.hash, shipped.features)
        assert made.settings == replace(Settings.from_dict(made.settings.to_dict()))
        assert not (tmp_path / "a.calque" / VOCABULARY_FILE).exists()
        assert made.calibrated
        assert made.caveat == ""
    with Index.create(tmp_path / "b.calque", {"work_size": 800, "layout": ""}) as made:
        assert made.settings.work_size == 800
        assert made.settings.vocabulary_hash == shipped.hash
    with Index.create(tmp_path / "c.calque", SETTINGS) as made:
        assert made.settings == SETTINGS
    with Index.create(tmp_path / "d.calque", {"layout": "calque"}) as made:
        assert made.settings.layout.startswith("calque-")


def test_an_index_holds_a_vocabulary_of_ones_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    own = Vocabulary(
        "own", "rootsift-1(contrast=0.04)", rng.integers(0, 256, (16, 128)).astype(np.uint8),
        rng.random((2, 128)).astype(np.float32), np.array([0, 8, 16]), rng.random((64, 128)).astype(np.float32),
        np.zeros((16, 64), np.int8), np.empty(0, np.float32),
    )  # fmt: skip
    own.save(tmp_path / "own.h5")
    with Index.create(tmp_path / "i.calque", vocabulary=tmp_path / "own.h5") as made:
        assert (made.settings.vocabulary, made.settings.vocabulary_hash) == ("own", own.hash)
    (tmp_path / "own.h5").unlink()
    with Index.open(tmp_path / "i.calque") as opened:
        assert opened.vocabulary.hash == own.hash
        assert not opened.calibrated
        assert "more false alarms than it claims" in opened.caveat
        assert opened.check(deep=True) == []
    stored = tmp_path / "i.calque" / VOCABULARY_FILE
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with Index.open(tmp_path / "i.calque") as opened:
        (problem,) = opened.check(deep=True)
        assert VOCABULARY_FILE in problem.what


def test_an_index_is_made_in_folders_that_are_not_there_yet_and_nowhere_else(tmp_path: Path, path: Path) -> None:
    Index.create(tmp_path / "deep" / "er" / "i.calque", SETTINGS).close()
    with pytest.raises(InputError, match="is an index already"):
        Index.create(path, SETTINGS)
    Index.open(path, writable=True).close()  # the lock has been let go
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"other things in it \(letter.txt\)"):
        Index.create(tmp_path / "other", SETTINGS)
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["letter.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(CalqueError, match="cannot be used as an index"):
        Index.create(tmp_path / "file", SETTINGS)
    with pytest.raises(SettingsMismatch, match="work_size"):
        Index.create(tmp_path / "typo", {"worksize": 3})


def test_what_a_killed_creation_left_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "i.calque"
    (path / "segments").mkdir(parents=True)
    (path / VOCABULARY_FILE).write_text("half")
    (path / ".catalogue.sqlite.partial").write_text("half")
    with Index.create(path, SETTINGS):
        assert not (path / VOCABULARY_FILE).exists()


# Opening


def test_opening_says_what_is_not_as_it_should_be(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no index; make one with: calque add"):
        Index.open(tmp_path)
    with pytest.raises(SettingsMismatch, match="work_size"):
        Index.open(path, settings=replace(SETTINGS, work_size=99))
    with pytest.raises(SettingsMismatch):
        Index.open(path, writable=True, settings=replace(SETTINGS, work_size=99))
    with Index.open(path, writable=True, settings=SETTINGS) as writer:  # nobody holds the lock any more
        state = writer.state
        with pytest.raises(IndexBusy):
            Index.open(path, writable=True)
        with Index.open(path, state=state) as reader:
            assert names(reader) == {f"{number}.png" for number in range(4)}
        writer.remove([1])
    with pytest.raises(CalqueError, match="has been changed meanwhile"):
        Index.open(path, state=state)
    with Index.open(path) as reader:
        assert reader.state == (3, 5)


def test_a_writer_clears_away_what_a_killed_one_left_and_a_reader_does_not(path: Path) -> None:
    left = [path / ".catalogue.sqlite.partial", path / "segments" / "0123.h5", path / "segments" / ".0124.h5.partial"]
    for file in left:
        file.write_text("half")
    Index.open(path).close()
    assert all(file.exists() for file in left)
    with Index.open(path) as reader:
        assert reader.info()["leftover_bytes"] == 8
    with Index.open(path, writable=True) as writer:
        assert not any(file.exists() for file in left)
        assert writer.info()["leftover_bytes"] == 0
        assert len(list((path / "segments").iterdir())) == 2
        assert writer.check(deep=True) == []


def test_readers_cannot_change_anything(path: Path) -> None:
    with Index.open(path) as reader:
        for change in (
            lambda: reader.set_metadata({1: {"a": "b"}}),
            lambda: reader.set_regions("user", {1: []}),
            lambda: reader.set_detections("eyes", {1: []}),
            lambda: reader.add_judgements([]),
            lambda: reader.remove_judgements([1]),
            lambda: reader.add_zones(ZoneFinder(())),
            lambda: reader.renew(FORMAT_VERSION),
            reader.rebuild,
        ):
            with pytest.raises(CalqueError, match=r"open for reading; open it with writable=True"):
                change()
    with Index.open(path, writable=True) as writer:
        assert writer.metadata(1) == {}


def test_a_closed_index_is_sealed_and_let_go(path: Path) -> None:
    writer = Index.open(path, writable=True)
    writer.set_metadata({1: {"date": "1538"}})
    writer.close()
    assert not (path / "catalogue.sqlite-wal").exists()
    segment = next((path / "segments").iterdir())
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.write_bytes(content)
    with Index.open(path, damaged=True) as reader:
        assert any(segment.stem in problem.what for problem in reader.check(deep=True))


# Changing


def test_a_report_of_an_addition_counts_and_names(path: Path, scans: Path) -> None:
    (scans / "0.png").write_bytes(b"changed")
    os.utime(scans / "0.png", ns=(1, 1))
    (scans / "4.png").write_bytes(b"new")
    (scans / "5.png").write_bytes(UNREADABLE)
    seen: list[tuple[int, int, int, int]] = []
    with Index.open(path, writable=True) as writer:
        before = writer.segments
        report = writer.add([scans], workers=0, encoder_factory=FakeEncoder, progress=lambda *told: seen.append(told))
        assert (report.added, report.replaced, report.unchanged, len(report.failed)) == (1, 1, 3, 1)
        assert writer.segments != before
        assert {Path(writer.image(int(i)).path).name for s in writer.segments for i in s.image_ids[s.alive]} == {
            f"{number}.png" for number in range(5)
        }
    assert seen[-1][1] >= 3
    assert seen[-1][3] == 1


def test_removing_takes_ids_names_paths_and_folders(path: Path, scans: Path) -> None:
    with Index.open(path, writable=True) as writer:
        held = writer.segments
        report = writer.remove([1, str(scans / "1.png"), "nowhere.png", 99])
        assert [record.id for record in report.removed] == [1, 2]
        assert report.missing == ("nowhere.png", "99")
        assert sum(int(segment.alive.sum()) for segment in writer.segments) == 2
        assert writer.segments is not held
        assert writer.remove([]).removed == ()
        report = writer.remove([scans, 3])
        assert sorted(record.id for record in report.removed) == [3, 4]
        assert writer.n_images == 0
        assert writer.remove([scans]).missing == (str(scans),)


def test_zones_go_to_the_images_that_they_are_of(path: Path, tmp_path: Path) -> None:
    zone = Zone("illustration", WHOLE, origin="page")
    of_two, of_none = (PageZones(tmp_path / "x.xml", name, None, (zone,)) for name in ("2.png", "77.png"))
    with Index.open(path, writable=True) as writer:
        assert writer.add_zones(ZoneFinder([of_two, of_none])) == [of_none]
        told = {Path(record.path).name: writer.regions(record.id) for record in writer.images()}
        assert {name for name, zones in told.items() if zones} == {"2.png"}
        assert told["2.png"][0].kind == "illustration"
        assert writer.add_zones(ZoneFinder(())) == []


def test_detections_and_judgements_are_kept_and_forgotten(path: Path) -> None:
    with Index.open(path, writable=True) as writer:
        writer.set_detections("eyes-1()", {1: [Detection(WHOLE, "bird", 0.75)], 2: []}, ("bird",), 0.25)
        assert [known.detection.label for known in writer.detections(1)] == ["bird"]
        assert writer.looked_for("eyes-1()") == {1: {"bird": 0.25}, 2: {"bird": 0.25}}
        writer.set_detections("eyes-2()", {1: [Detection(WHOLE, "boat", 0.5)]})
        assert set(writer.looked_for("eyes-2()")[1].values()) == {0.0}
        judgements = [Judgement("a", 0, WHOLE, name, 0, None, "same") for name in ("b", "c")]
        first, second = writer.add_judgements(judgements)
        assert first != second
        writer.remove_judgements([first])
        assert [judgement.name_b for judgement in writer.judgements()] == ["c"]


def test_compacting_gives_space_back_of_images_and_vectors(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("coins", "brick", "camera"):
        cv2.imwrite(str(scans / f"{name}.png"), picture(name, 120))
    path = tmp_path / "i.calque"
    with Index.create(path, SETTINGS) as writer:
        writer.add([scans], workers=0, encoder_factory=FakeEncoder)
        embed(writer, "palette", workers=0)
        writer.remove([1])
        before = writer.info()
        assert (before["removed"], before["vectors"]) == (1, {"palette": 3})
        size = sum(file.stat().st_size for file in (path / "vectors").rglob("*.safetensors"))
        writer.compact()
        after = writer.info()
        assert (after["removed"], after["segments"], after["vectors"]) == (0, 1, {"palette": 2})
        assert sum(file.stat().st_size for file in (path / "vectors").rglob("*.safetensors")) < size
        assert writer.check(deep=True) == []


def test_damaged_segments_are_forgotten_by_repair_alone(path: Path) -> None:
    with Index.open(path) as reader:
        segment = reader.segments[0]
        held = {Path(reader.image(int(i)).path).name for i in segment.image_ids}
    content = bytearray(segment.path.read_bytes())
    content[len(content) // 2 :] = b"\0" * (len(content) - len(content) // 2)
    segment.path.unlink()  # what is mapped stays as it is
    segment.path.write_bytes(content)
    with pytest.raises(DamagedSegment, match=segment.name):
        Index.open(path)
    with Index.open(path, writable=True, damaged=True) as writer:
        assert len(writer.segments) == 1
        lost = writer.repair()
        assert {Path(record.path).name for record in lost} == held
        assert not segment.path.exists()
        assert len(writer.segments) == 1
        assert writer.repair() == []
        assert writer.check(deep=True) == []


def test_a_catalogue_that_is_none_is_refused_and_the_lock_let_go(path: Path) -> None:
    content = (path / "catalogue.sqlite").read_bytes()
    (path / "catalogue.sqlite").write_bytes(b"nothing" * 1000)
    for _ in range(2):
        with pytest.raises(CorruptIndex):
            Index.open(path, writable=True)
    (path / "catalogue.sqlite").write_bytes(content)
    Index.open(path, writable=True).close()

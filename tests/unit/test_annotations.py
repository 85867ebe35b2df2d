"""Metadata, zones and judgements: gone with their image, kept when it changes, safe from odd text."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from index.annotations import Judgement, Zone
from index.store import Index
from matcher.errors import CalqueError
from matcher.types import Region
from tests.crash.fake_encoder import SETTINGS, FakeEncoder, encoded

if TYPE_CHECKING:
    from pathlib import Path

PICTURE = Zone("illustration", Region(10, 20, 30, 40), "woodcut", 0.9, "coco", ((10, 20), (40, 20), (25, 60)))
TEXT = Zone("text", Region(0.5, 0, 5, 5), origin="alto")


@pytest.fixture
def index(tmp_path: Path) -> Index:
    (tmp_path / "a.png").write_bytes(b"one")
    (tmp_path / "b.png").write_bytes(b"two")
    made = Index.create(tmp_path / "i.calque", SETTINGS)
    made.add([tmp_path / "a.png", tmp_path / "b.png"], workers=0, encoder_factory=FakeEncoder)
    return made


def change(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


def test_metadata_is_added_to_replaced_and_forgotten_key_by_key(index: Index) -> None:
    index.set_metadata({1: {"date": "1538", "title": "Le livre"}, 2: {"date": "1560"}})
    index.set_metadata({1: {"date": "1539", "Lieu": "Lyon", "title": ""}})
    assert index.metadata(1) == {"date": "1539", "Lieu": "Lyon"}
    assert index.metadata(2) == {"date": "1560"}
    assert index.metadata(7) == {}


@pytest.mark.parametrize("value", ["line\nfeed", "'; DROP TABLE metadata; --", "書", "\0nul", "x" * 100_000])
def test_any_text_comes_back_as_it_was(index: Index, value: str) -> None:
    index.set_metadata({1: {value: value}})
    assert index.metadata(1) == {value: value}


def test_half_a_surrogate_pair_is_replaced(index: Index) -> None:
    index.set_metadata({1: {"k": "a\ud800b"}})
    assert index.metadata(1) == {"k": "a?b"}


def test_each_origin_has_its_own_zones(index: Index) -> None:
    index.set_regions("coco", {1: [PICTURE]})
    index.set_regions("alto", {1: [TEXT, TEXT]})
    assert index.regions(1) == [PICTURE, TEXT, TEXT]
    index.set_regions("alto", {1: []})
    assert index.regions(1) == [PICTURE]


def test_a_changed_file_keeps_metadata_and_its_zones_grow_with_it(index: Index, tmp_path: Path) -> None:
    index.set_metadata({1: {"date": "1538"}})
    index.set_regions("coco", {1: [PICTURE]})
    old = index.image(1)
    change(tmp_path / "a.png", b"changed")
    index.add([tmp_path / "a.png"], workers=0, encoder_factory=FakeEncoder)
    new = encoded(b"changed")
    assert index.metadata(3) == {"date": "1538"}
    assert index.regions(3) == [PICTURE.scaled(new.width / old.width, new.height / old.height)]
    assert (index.metadata(1), index.regions(1)) == ({}, [])


def test_what_is_known_of_an_image_goes_with_it(index: Index, tmp_path: Path) -> None:
    index.set_metadata({1: {"date": "1538"}})
    index.set_regions("coco", {1: [PICTURE]})
    index.remove([1])
    assert (index.metadata(1), index.regions(1)) == ({}, [])
    assert index.check(deep=True) == []


def test_judgements_outlive_their_images(index: Index) -> None:
    given = Judgement("a.png", 0, Region(1, 2, 3, 4), "bytes\udcff.png", 3, None, "same", "worn", "AB", "2026-11-23")
    (number,) = index.add_judgements([given])
    index.remove([1, 2])
    (stored,) = index.judgements()
    assert stored.id == number
    assert stored == Judgement(*(getattr(given, name) for name in Judgement.__slots__[:-1]), id=number)
    index.remove_judgements([number])
    assert index.judgements() == []


def test_a_judgement_without_a_time_gets_that_of_its_storing(index: Index) -> None:
    index.add_judgements([Judgement("a.png", 0, None, "b.png", 0, None, "unsure")])
    assert index.judgements()[0].time.endswith("Z")


def test_a_reader_changes_nothing(index: Index) -> None:
    index.close()
    with Index.open(index.path) as reader, pytest.raises(CalqueError, match="writable=True"):
        reader.set_metadata({1: {"a": "b"}})


def test_an_unknown_kind_of_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="illustration, ornament, initial, text, other, not 'map'"):
        Zone("map", Region(0, 0, 1, 1))

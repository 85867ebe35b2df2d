"""Indexes that each released format's own calque wrote: read as they are, by another reader too, and upgraded.

``tests/data/format1.zip`` to ``format4.zip`` hold four images, `CONTENTS` as `tests.crash.fake_encoder` encodes it; the
third was removed. From format 2 on image 1 has metadata and image 2 a zone, in format 4 a detection, too. When the
format changes, one more is written with the calque of before, and none is ever written anew.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from index.annotations import Zone
from index.backup import formats, upgrade
from index.settings import FORMAT_VERSION
from index.store import Index
from matcher.types import Region
from tests.crash.fake_encoder import FakeEncoder, encoded
from tests.independent_reader import read_index

DATA = Path(__file__).parents[1] / "data"
CONTENTS = {number: b"content %c" % name for number, name in ((1, b"a"), (2, b"b"), (4, b"d"))}
BOX = Region(1, 2, 3, 4)


@pytest.fixture(params=range(1, FORMAT_VERSION + 1))
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[int, Path]:
    """A version and an index of it, in a folder of its own."""
    path = tmp_path / f"format{request.param}.calque"
    with zipfile.ZipFile(DATA / f"format{request.param}.zip") as packed:
        packed.extractall(path)
    return request.param, path


def assert_holds(version: int, path: Path) -> None:
    with Index.open(path) as opened:
        assert opened.check(deep=True) == []
        assert {record.id: record.name for record in opened.images()} == {
            number: f"scans/{content[-1:].decode()}.png" for number, content in CONTENTS.items()
        }
        for number, content in CONTENTS.items():
            image, stored, record = encoded(content), opened.gather(number), opened.image(number)
            np.testing.assert_array_equal(stored.words, image.words)
            np.testing.assert_array_equal(stored.signatures, image.signatures)
            assert (record.width, record.height) == (image.width, image.height)
            if version > 2:
                np.testing.assert_array_equal(stored.geometry, image.geometry)
        assert opened.metadata(1) == ({"date": "1538"} if version > 1 else {})
        assert opened.regions(2) == ([Zone("initial", BOX)] if version > 1 else [])
        seen = [(known.detection.label, known.detection.box, known.origin) for known in opened.detections(2)]
        assert seen == ([("bird", BOX, "eyes-1()")] if version > 3 else [])


def test_it_is_read_as_it_is(golden: tuple[int, Path]) -> None:
    version, path = golden
    before = (path / "catalogue.sqlite").read_bytes()
    assert_holds(version, path)
    assert (path / "catalogue.sqlite").read_bytes() == before
    assert formats(path)[0] == version


def test_it_is_upgraded_and_a_copy_is_kept(golden: tuple[int, Path], tmp_path: Path) -> None:
    version, path = golden
    done = upgrade(path, tmp_path / "copy.calque")
    assert bool(done) is (version < FORMAT_VERSION)
    catalogue, segments = formats(path)
    assert catalogue == FORMAT_VERSION
    assert segments <= {3, FORMAT_VERSION}  # segments of format 3 are those of 4
    assert_holds(version, path)
    if done:
        assert formats(tmp_path / "copy.calque")[0] == version
        assert_holds(version, tmp_path / "copy.calque")


def test_it_is_added_to(golden: tuple[int, Path], tmp_path: Path) -> None:
    version, path = golden
    scan = tmp_path / "new – 図.png"
    scan.write_bytes(b"more")
    with Index.open(path, writable=True) as opened:
        assert opened.add([scan], workers=0, encoder_factory=FakeEncoder).added == 1
        (new,) = set(opened.image_ids()) - CONTENTS.keys()
        assert new == 5
        opened.remove([new])
        opened.compact()
    assert_holds(version, path)


def test_another_reader_reads_it(golden: tuple[int, Path]) -> None:
    version, path = golden
    if version < 3:
        with pytest.raises(Exception, match=r"no such table|not a segment"):
            read_index(path)
        return
    told = read_index(path)
    assert told.keys() == CONTENTS.keys()
    for number, content in CONTENTS.items():
        np.testing.assert_array_equal(told[number]["words"], encoded(content).words)
        np.testing.assert_array_equal(told[number]["signatures"], encoded(content).signatures)

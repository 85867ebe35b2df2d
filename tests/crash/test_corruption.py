"""Any byte that is not what was written is found and named; what can be made again from its sources is."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import index.adding
from index.folder import SegmentFolder
from index.links import Links
from index.postings import SignedQuery, agreements
from index.segment import Segment
from index.store import Index
from matcher.errors import CorruptIndex
from tests.crash.fake_encoder import SETTINGS, FakeEncoder, encoded


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of six images in three segments, with links."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(6):
        (scans / f"{number}.png").write_bytes(b"%d" % number)
    monkeypatch.setattr(index.adding, "_BATCH_IMAGES", 2)
    monkeypatch.setattr(SegmentFolder, "next_merge", lambda _: None)
    with Index.create(tmp_path / "i.calque", SETTINGS) as opened:
        opened.add([scans], workers=0, encoder_factory=FakeEncoder)
        opened.set_metadata({record.id: {"shelfmark": f"A {record.id}"} for record in opened.images()})
    Links(tmp_path / "i.calque").close()
    return tmp_path / "i.calque"


def replaced(path: Path, content: bytes) -> None:
    """Put another file in the place of one: what is mapped of it stays as it is."""
    beside = path.with_name("beside")
    beside.write_bytes(content)
    beside.replace(path)


def test_any_flipped_byte_is_found(path: Path) -> None:
    random = np.random.default_rng(0)
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name != "lock"]
    assert {file.suffix for file in files} == {".h5", ".sqlite", ".sums"}
    for file in files:
        content = file.read_bytes()
        for place in random.integers(len(content), size=6).tolist():
            wrong = bytearray(content)
            wrong[place] ^= int(random.integers(1, 256))
            replaced(file, bytes(wrong))
            try:
                with Index.open(path, damaged=True) as opened:
                    problems = opened.check(deep=True)
            except CorruptIndex as error:
                assert file.name in str(error)
                continue
            assert len(problems) >= 1, (file, place)
            assert any(file.name.removesuffix(".sums") in problem.what for problem in problems)
            names = {name for problem in problems for name in problem.images}
            assert len(names) == (2 if file.suffix == ".h5" else 0)
        replaced(file, content)
    with Index.open(path) as opened:
        assert opened.check(deep=True) == []


def test_a_damaged_catalogue_is_not_written_to(path: Path) -> None:
    catalogue = path / "catalogue.sqlite"
    content = catalogue.read_bytes()
    place = content.index(b"shelfmark")
    replaced(catalogue, content[:place] + b"S" + content[place + 1 :])
    with pytest.raises(CorruptIndex, match=r"catalogue.sqlite is damaged .*restore it from a copy"):
        Index.open(path, writable=True)
    with Index.open(path, writable=True, damaged=True) as opened:
        assert opened.repair() == []
    with Index.open(path, writable=True) as opened:
        assert opened.check(deep=True) == []


def test_damaged_links_are_not_written_to(path: Path) -> None:
    content = bytearray((path / "links.sqlite").read_bytes())
    content[-1] ^= 1
    replaced(path / "links.sqlite", bytes(content))
    with pytest.raises(CorruptIndex, match="delete it: calque groups finds all of it again"):
        Links(path)


def test_lost_images_are_made_again_from_their_files(path: Path) -> None:
    with Index.open(path) as opened:
        first, second = opened.segments[0], opened.segments[1]
        lost = [opened.image(int(image_id)) for image_id in (*first.image_ids, *second.image_ids)]
        known = {record.name: opened.metadata(record.id) for record in lost}
    first.path.unlink()
    content = bytearray(second.path.read_bytes())
    content[-1] ^= 1
    replaced(second.path, bytes(content))
    gone = lost[0]
    Path(gone.path).unlink()
    with Index.open(path, writable=True, damaged=True) as opened:
        report = opened.rebuild(workers=0, encoder_factory=FakeEncoder)
        assert (report.added, report.failed) == (3, [])
        assert [record.name for record in opened.repair()] == [gone.name]
        assert opened.check(deep=True) == []
    with Index.open(path) as opened:
        assert opened.check(deep=True) == []
        assert opened.n_images == 5
        for record in opened.images():
            expected = encoded(Path(record.path).read_bytes())
            np.testing.assert_array_equal(opened.gather(record.id).signatures, expected.signatures)
            assert opened.metadata(record.id) == known.get(record.name, opened.metadata(record.id)) != {}


def test_a_posting_that_names_no_image_is_refused(path: Path) -> None:
    """The loops over postings write where an image's number says."""
    with Index.open(path) as opened:
        segment = opened.segments[0]
    with h5py.File(segment.path, "r") as file:
        offset = file["images"].id.get_offset()
        word, signature = file["words"][0], file["signatures"][0]
    content = bytearray(segment.path.read_bytes())
    content[offset + 1] = 200
    replaced(segment.path, bytes(content))
    query = SignedQuery(
        words=np.array([word], np.int32),
        signatures=np.array([signature], np.uint64),
        features=np.zeros(1, np.int32),
        frame=np.zeros((1, 4)),
    )
    with pytest.raises(CorruptIndex, match="a posting names an image beyond the 2 that it has"):
        agreements(Segment.open(segment.path), query, 24)

"""Copies that are taken while an index is used, and a reader written by the description of the format alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import index.adding
from cli.main import calque
from index.annotations import Zone
from index.backup import backup
from index.keypoints import unpacked
from index.store import Index
from matcher.errors import IndexBusy, InputError
from matcher.types import Region
from tests.crash.fake_encoder import SETTINGS, FakeEncoder, encoded
from tests.independent_reader import read_index


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of five images, of which one was removed, in a folder whose name is no Latin."""
    monkeypatch.setattr(index.adding, "_BATCH_IMAGES", 2)
    scans = tmp_path / "scans – 図"
    scans.mkdir()
    for number in range(6):
        (scans / f"é {number}.png").write_bytes(b"%d" % number)
    with Index.create(tmp_path / "indéx 図.calque", SETTINGS) as opened:
        opened.add([scans], workers=0, encoder_factory=FakeEncoder)
        opened.set_metadata({2: {"date": "1538"}})
        opened.set_regions("user", {2: [Zone("initial", Region(1, 2, 3, 4))]})
        opened.remove([4])
    return tmp_path / "indéx 図.calque"


def held(path: Path) -> dict[str, bytes]:
    with Index.open(path) as opened:
        assert opened.check(deep=True) == []
        return {record.name: opened.gather(record.id).signatures.tobytes() for record in opened.images()}


def test_a_backup_is_one_state_whatever_is_written_meanwhile(path: Path, tmp_path: Path) -> None:
    before = held(path)
    target = tmp_path / "copies" / "b.calque"

    def compacted(done: int, total: int) -> None:
        if done == 1:
            with Index.open(path, writable=True) as writer:
                writer.remove([1])
                writer.compact()

    assert backup(path, target, compacted).images == 5
    assert held(target) == before
    assert len(held(path)) == 4
    again = backup(path, target)
    assert (again.images, again.copied) == (4, 1)
    assert held(target) == held(path)
    assert len(list((target / "segments").iterdir())) == 1
    assert backup(path, target)[1:] == (0, 0, 1)
    with Index.open(target) as copy:
        assert copy.metadata(2) == {"date": "1538"}


def test_a_backup_goes_nowhere_else(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is the index itself"):
        backup(path, path)
    with pytest.raises(InputError, match="other things in it"):
        backup(path, tmp_path)
    backup(path, tmp_path / "b.calque")
    with Index.open(tmp_path / "b.calque", writable=True), pytest.raises(IndexBusy):
        backup(path, tmp_path / "b.calque")


def test_the_command_says_what_it_copied(path: Path, tmp_path: Path) -> None:
    words = ["backup", str(path), str(tmp_path / "b"), "--format", "json"]
    told = json.loads(CliRunner().invoke(calque, words, standalone_mode=False).stdout)
    assert (told["images"], told["files_copied"], told["files_kept"]) == (5, 3, 0)


def test_another_reader_can_be_written_by_the_description_of_the_format(path: Path) -> None:
    told = read_index(path)
    with Index.open(path) as opened:
        records = {record.id: record for record in opened.images()}
        assert told.keys() == records.keys() == {1, 2, 3, 5, 6}
        assert told[2]["metadata"] == {"date": "1538"}
        assert told[2]["zones"] == [("initial", (1, 2, 3, 4))]
        for number, record in records.items():
            image, expected = told[number], encoded(Path(record.path).read_bytes())
            assert (image["name"], image["page"], image["size"]) == (record.name, 0, (record.width, record.height))
            np.testing.assert_array_equal(image["words"], expected.words)
            np.testing.assert_array_equal(image["signatures"], expected.signatures)
            size = np.array([image["size"]])
            frame = unpacked(opened.gather(number).geometry, size, SETTINGS.work_size)
            np.testing.assert_allclose(np.column_stack([image["x"], image["y"]]), frame[:, :2])
            np.testing.assert_allclose(np.log2(image["diameter"]), frame[:, 2])
            np.testing.assert_allclose(np.radians(image["degrees"]), frame[:, 3] % (2 * np.pi))
    assert len(Path(__file__).parents[1].joinpath("independent_reader.py").read_text("utf-8").splitlines()) <= 100

"""An index of an earlier format: read as it is, brought up to date by the first writer, never half of it.

``tests/data/format2_segment.h5`` is a segment as formats 1 and 2 had it, written by the `write_segment` of then: images
1 and 2, those that `tests.crash.fake_encoder.encoded` made of ``content a`` and ``content b``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from index.backup import formats, upgrade
from index.catalogue import Catalogue
from index.keypoints import unpacked, working_pixels
from index.segment import Segment
from index.settings import FORMAT_VERSION
from index.store import Index
from matcher.errors import SettingsMismatch
from tests.crash.fake_encoder import SETTINGS, FakeEncoder, encoded

ROOT = Path(__file__).parents[2]

# As calque 0.1 wrote it, word for word.
FIRST_FORMAT = """
PRAGMA journal_mode = WAL;
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID;
CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE segments (
    name TEXT PRIMARY KEY,
    n_images INTEGER NOT NULL,
    n_features INTEGER NOT NULL,
    n_bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE images (
    id INTEGER PRIMARY KEY,
    name NOT NULL,
    path NOT NULL,
    page INTEGER NOT NULL,
    n_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    digest BLOB NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    n_features INTEGER NOT NULL,
    segment TEXT REFERENCES segments (name) DEFERRABLE INITIALLY DEFERRED,
    UNIQUE (path, page)
);
CREATE INDEX images_by_name ON images (name);
CREATE INDEX images_by_segment ON images (segment);
CREATE TABLE tombstones (
    image_id INTEGER PRIMARY KEY,
    segment TEXT NOT NULL REFERENCES segments (name) ON DELETE CASCADE
);
CREATE INDEX tombstones_by_segment ON tombstones (segment);
CREATE TABLE failures (
    name NOT NULL,
    page INTEGER NOT NULL,
    reason TEXT NOT NULL,
    time TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (name, page)
) WITHOUT ROWID;
INSERT INTO meta VALUES ('format_version', 1), ('next_id', 3), ('settings',
    '{"extractor": "rootsift-1(contrast=0.04)", "format_version": 1, "max_features": 6400, '
    || '"vocabulary": "made up", "vocabulary_hash": "' || printf('%064d', 0) || '", "work_size": 1600}');
INSERT INTO migrations (version) VALUES (1);
"""


SEGMENT = Path(__file__).parents[1] / "data" / "format2_segment.h5"
OLD_SETTINGS = replace(SETTINGS, geometry_bits=64)
CONTENTS = {1: b"content a", 2: b"content b"}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An index of two images as calque 0.1 left it."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in "ab":
        (scans / f"{name}.png").write_bytes(f"content {name}".encode())
    path = tmp_path / "old.calque"
    with Index.create(path, OLD_SETTINGS) as made:
        made.add([scans], workers=0, encoder_factory=FakeEncoder)
    (segment,) = (path / "segments").iterdir()
    shutil.copyfile(SEGMENT, segment)
    catalogue = path / "catalogue.sqlite"
    new = catalogue.rename(tmp_path / "new.sqlite")
    db = sqlite3.connect(catalogue)
    db.executescript(FIRST_FORMAT)
    db.execute("ATTACH ? AS new", (str(new),))
    with db:
        for table in ("segments", "images"):
            db.execute(f"INSERT INTO {table} SELECT * FROM new.{table}")
        db.execute("UPDATE segments SET n_bytes = ?", (SEGMENT.stat().st_size,))
    db.close()
    return path


def version(path: Path) -> int:
    db = sqlite3.connect(path / "catalogue.sqlite")
    (found,) = db.execute("SELECT value FROM meta WHERE key = 'format_version'").fetchone()
    db.close()
    return int(found)


def schema(path: Path) -> set[str]:
    db = sqlite3.connect(path)
    found = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema") if sql}
    db.close()
    return found


def test_an_old_index_is_read_without_a_change(old: Path) -> None:
    before = (old / "catalogue.sqlite").read_bytes()
    with Index.open(old) as opened:
        assert opened.check(deep=True) == []
        assert opened.settings == OLD_SETTINGS
        for image_id, content in CONTENTS.items():
            image, stored = encoded(content), opened.gather(image_id)
            np.testing.assert_array_equal(stored.words, image.words)
            np.testing.assert_array_equal(stored.signatures, image.signatures)
            assert stored.geometry.dtype == np.uint64
        assert (opened.metadata(1), opened.regions(1), opened.judgements()) == ({}, [], [])
    assert (old / "catalogue.sqlite").read_bytes() == before


def test_a_reader_of_an_old_index_sees_what_a_writer_enters_meanwhile(old: Path) -> None:
    with Index.open(old) as reader:
        with Index.open(old, writable=True) as writer:
            writer.set_metadata({1: {"date": "1538"}})
        assert reader.metadata(1) == {}
        reader.refresh()
        assert reader.metadata(1) == {"date": "1538"}


def test_a_writer_brings_an_old_index_up_to_date_with_its_segments(old: Path, tmp_path: Path) -> None:
    (tmp_path / "scans" / "c.png").write_bytes(b"content c")
    with Index.open(old, writable=True, settings=OLD_SETTINGS) as opened:
        before = {image_id: opened.gather(image_id) for image_id in CONTENTS}
        assert opened.add([tmp_path / "scans"], workers=0, encoder_factory=FakeEncoder).added == 1
        opened.compact()
        assert opened.check(deep=True) == []
        (segment,) = opened.segments
        assert segment.header.version == FORMAT_VERSION
        for image_id, stored in before.items():
            for name, kept in opened.gather(image_id)._asdict().items():
                np.testing.assert_array_equal(kept, getattr(stored, name))
    assert version(old) == FORMAT_VERSION
    Catalogue.create(tmp_path / "fresh.sqlite", SETTINGS)
    assert schema(old / "catalogue.sqlite") == schema(tmp_path / "fresh.sqlite")


def test_upgrade_keeps_a_copy_as_it_was(old: Path, tmp_path: Path) -> None:
    with Index.open(old) as opened:
        before = {image_id: opened.gather(image_id) for image_id in CONTENTS}
    assert upgrade(old, tmp_path / "copy.calque")
    assert formats(old) == (FORMAT_VERSION, {FORMAT_VERSION})
    assert version(tmp_path / "copy.calque") == 1
    for path in (old, tmp_path / "copy.calque"):
        with Index.open(path) as opened:
            assert opened.check(deep=True) == []
            for image_id, stored in before.items():
                for name, kept in opened.gather(image_id)._asdict().items():
                    np.testing.assert_array_equal(kept, getattr(stored, name))
    assert not upgrade(old, tmp_path / "another.calque")
    assert not (tmp_path / "another.calque").exists()


def test_a_newer_format_is_refused_in_one_line(old: Path) -> None:
    Index.open(old, writable=True).close()
    with contextlib.closing(sqlite3.connect(old / "catalogue.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'format_version'", (FORMAT_VERSION + 1,))
    (old / "catalogue.sqlite.sums").unlink(missing_ok=True)
    for writable in (False, True):
        with pytest.raises(
            SettingsMismatch, match=r"was made by a newer calque \(format \d+, this one reads up to \d+\)"
        ):
            Index.open(old, writable)


def test_a_writer_killed_while_migrating_leaves_the_old_format(old: Path) -> None:
    program = "import sys; from index.store import Index; Index.open(sys.argv[1], writable=True)"
    environment = os.environ | {"CALQUE_FAULT": "migrate.in_transaction", "PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", program, str(old)], env=environment, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert version(old) == 1
    Index.open(old, writable=True).close()
    assert version(old) == FORMAT_VERSION


def test_an_old_index_that_cannot_be_written_is_read(old: Path) -> None:
    log = sqlite3.connect(old / "catalogue.sqlite")
    log.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log.close()
    copy = old.with_name("copy.calque")
    shutil.copytree(old, copy)
    copy.chmod(0o555)
    try:
        with Index.open(copy) as opened:
            assert len(list(opened.images())) == 2
            assert opened.metadata(1) == {}
    finally:
        copy.chmod(0o755)


def test_geometry_of_old_segments_is_what_their_columns_say() -> None:
    """By the description of format 2: position × step − 0.5, 2^(scale / 16), angle × 360 / 256."""
    with h5py.File(SEGMENT) as file:
        told = {name: file[name][...] for name in file}
    images, sizes = told["images"], told["image_sizes"]
    frame = unpacked(Segment.open(SEGMENT).geometry_at(slice(None)), sizes[images], SETTINGS.work_size)
    points = told["positions"] * told["image_steps"][images, None].astype(float) - 0.5
    points = np.minimum(points, sizes[images] - 0.5)  # made-up places need not lie on their image
    np.testing.assert_allclose(frame[:, :2], points, atol=sizes.max() / (1 << 20))
    least = 0.5 + np.log2(working_pixels(sizes, SETTINGS.work_size))[images]
    np.testing.assert_allclose(frame[:, 2], np.maximum(told["scales"] / 16, least), atol=1 / 512)
    turns = (frame[:, 3] - told["angles"] * (2 * np.pi / 256) + np.pi) % (2 * np.pi)
    np.testing.assert_allclose(turns, np.pi, atol=1e-9)

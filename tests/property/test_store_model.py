"""The index beside a dictionary: whatever is done to both, they hold the same."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import index.adding
import index.merging
from index.store import Index
from tests.crash.fake_encoder import BLANK, SETTINGS, UNREADABLE, FakeEncoder, encoded

NAMES = st.sampled_from([f"{folder}/{number}.png" for folder in "ab" for number in range(6)])
CONTENTS = st.sampled_from([BLANK, UNREADABLE, *(b"content %d" % i for i in range(20))])


class StoreMachine(RuleBasedStateMachine):
    """`disk` is what lies in the folder of scans, `model` what the index should hold of it."""

    @initialize()
    def begin(self) -> None:
        self.base = Path(tempfile.mkdtemp())
        self.scans = self.base / "scans"
        for folder in "ab":
            (self.scans / folder).mkdir(parents=True)
        # Small batches and merges by twos, so that a few steps see them all.
        self.patches = [patch.object(index.adding, "_BATCH_IMAGES", 2), patch.object(index.merging, "_FACTOR", 2)]
        for change in self.patches:
            change.start()
        self.disk: dict[str, bytes] = {}
        self.model: dict[str, bytes] = {}
        self.failed: set[str] = set()
        self.clock = 1_000_000_000
        self.index = Index.create(self.base / "i.calque", SETTINGS)
        self.reader: Index | None = None
        self.seen: dict[str, bytes] = {}

    def teardown(self) -> None:
        if hasattr(self, "index"):
            self.index.close()
            if self.reader is not None:
                self.reader.close()
            for change in self.patches:
                change.stop()
            shutil.rmtree(self.base)

    @rule(name=NAMES, content=CONTENTS)
    def write_file(self, name: str, content: bytes) -> None:
        self.clock += 1_000_000_000
        (self.scans / name).write_bytes(content)
        os.utime(self.scans / name, ns=(self.clock, self.clock))
        self.disk[name] = content

    @rule(folder=st.sampled_from(["a", "b", "."]))
    def add(self, folder: str) -> None:
        names = {name for name in self.disk if folder in (".", name[0])}
        report = self.index.add([self.scans / folder], workers=0, encoder_factory=FakeEncoder)
        good = {name: self.disk[name] for name in names if self.disk[name] != UNREADABLE}
        assert report.added == len(good.keys() - self.model.keys())
        assert report.replaced == sum(self.model.get(name, content) != content for name, content in good.items())
        assert report.unchanged == len(good) - report.added - report.replaced
        assert len(report.failed) == len(names) - len(good)
        self.model |= good
        self.failed = (self.failed - names) | (names - good.keys())

    @rule(name=NAMES)
    def remove_one(self, name: str) -> None:
        report = self.index.remove([self.scans / name])
        assert len(report.removed) == (name in self.model)
        assert len(report.missing) == (name not in self.model)
        self.model.pop(name, None)

    @rule()
    def remove_folder(self) -> None:
        report = self.index.remove([self.scans / "a"])
        gone = {name for name in self.model if name.startswith("a/")}
        assert len(report.removed) == len(gone)
        for name in gone:
            del self.model[name]

    @rule()
    def compact(self) -> None:
        self.index.compact()
        segments = self.index.segments
        assert len(segments) <= 1
        assert all(segment.alive.all() for segment in segments)
        assert self.index.info()["removed"] == 0

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = Index.open(self.base / "i.calque", writable=True, settings=SETTINGS)

    @rule()
    def begin_reading(self) -> None:
        if self.reader is not None:
            self.reader.close()
        self.reader = Index.open(self.base / "i.calque")
        self.seen = dict(self.model)

    @precondition(lambda self: self.reader is not None)
    @rule()
    def refresh(self) -> None:
        assert self.reader is not None
        self.reader.refresh()
        self.seen = dict(self.model)

    @invariant()
    def index_equals_model(self) -> None:
        if not hasattr(self, "index"):
            return
        assert self.index.check(deep=True) == []
        self.assert_holds(self.index, self.model)
        if self.reader is not None:
            self.assert_holds(self.reader, self.seen)

    def assert_holds(self, opened: Index, model: dict[str, bytes]) -> None:
        records = {str(Path(record.path).relative_to(self.scans.resolve())): record for record in opened.images()}
        assert records.keys() == model.keys()
        for name, record in records.items():
            expected, got = encoded(model[name]), opened.gather(record.id)
            for column in got._fields:
                np.testing.assert_array_equal(getattr(got, column), getattr(expected, column))
        living = sorted(int(i) for segment in opened.segments for i in segment.image_ids[segment.alive])
        assert living == sorted(record.id for record in records.values() if record.n_features)
        info = opened.info()
        assert info["images"] == len(model)
        assert info["features"] == sum(len(encoded(content).words) for content in model.values())

    @invariant()
    def failures_are_listed(self) -> None:
        if hasattr(self, "index"):
            assert len(self.index.failures()) == len(self.failed)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)

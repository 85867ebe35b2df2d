"""The vectors of an index beside a dictionary: what is answered is of what is there, as it is, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import index.merging
from index.annotations import Zone
from index.embedding import missing_units
from index.store import Index
from index.vector_files import Rows
from index.vector_writing import VectorWriter
from index.vectors import WHOLE, Living, damaged_vectors, vectors_in, vectors_of
from matcher.types import Region
from tests.crash.fake_encoder import SETTINGS, FakeEncoder

NAMES = st.sampled_from([f"{number}.png" for number in range(6)])
BOXES = [(10.0 * number, 0.1, 7.0, 9.3) for number in range(4)]
SIZE = 5


def vector(digest: bytes, box: tuple[float, ...]) -> np.ndarray:
    """Return what a file of these contents, or a part of it, is turned into."""
    values = np.random.default_rng(zlib.crc32(digest + repr(box).encode())).standard_normal(SIZE)
    return (values / np.linalg.norm(values)).astype(np.float32)


class VectorMachine(RuleBasedStateMachine):
    """`model` holds what has been embedded: (name, contents, box) of everything that must be answered."""

    @initialize()
    def begin(self) -> None:
        self.base = Path(tempfile.mkdtemp())
        self.scans = self.base / "scans"
        self.scans.mkdir()
        self.patch = patch.object(index.merging, "_FACTOR", 2)
        self.patch.start()
        self.index = Index.create(self.base / "i.calque", SETTINGS)
        self.writer = VectorWriter(self.index.path)
        self.stored = self.writer.model("made up", "made-up-1()", SIZE)
        self.disk: dict[str, bytes] = {}
        self.zones: dict[str, set[tuple[float, ...]]] = {}
        self.embedded: set[tuple[str, tuple[float, ...]]] = set()
        self.clock = 1_000_000_000

    def teardown(self) -> None:
        if hasattr(self, "index"):
            self.writer.close()
            self.index.close()
            self.patch.stop()
            shutil.rmtree(self.base)

    @rule(name=NAMES, content=st.integers(0, 3))
    def add(self, name: str, content: int) -> None:
        self.clock += 1_000_000_000
        text = b"content %d" % content
        if self.disk.get(name) != text:
            self.embedded = {(known, box) for known, box in self.embedded if known != name}
            # Zones are scaled with their image when another takes its place: none are left here.
            found = self.index.find(self.scans / name)
            if found is not None:
                self.index.set_regions("user", {found.id: []})
            self.zones[name] = set()
        (self.scans / name).write_bytes(text)
        os.utime(self.scans / name, ns=(self.clock, self.clock))
        self.disk[name] = text
        self.index.add([self.scans / name], workers=0, encoder_factory=FakeEncoder)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.index.remove([self.scans / name])
        self.disk.pop(name, None)
        self.zones.pop(name, None)
        self.embedded = {(known, box) for known, box in self.embedded if known != name}

    @precondition(lambda self: self.disk)
    @rule(data=st.data(), boxes=st.sets(st.sampled_from(BOXES), max_size=3))
    def draw_regions(self, data: st.DataObject, boxes: set[tuple[float, ...]]) -> None:
        name = data.draw(st.sampled_from(sorted(self.disk)))
        record = self.index.find(self.scans / name)
        assert record is not None
        self.index.set_regions("user", {record.id: [Zone("illustration", Region(*box)) for box in sorted(boxes)]})
        self.zones[name] = set(boxes)

    @rule(regions=st.booleans(), many=st.integers(1, 3))
    def embed_some(self, regions: bool, many: int) -> None:
        known = Living(self.index)
        todo = list(missing_units(self.index, known, vectors_in(self.index.path, self.stored, known), regions))[:many]
        for units in todo:
            ids = np.full(len(units.boxes), units.record.id)
            vectors = np.stack([vector(units.record.digest, box) for box in units.boxes])
            self.writer.enter(self.stored, Rows(ids, np.array(units.boxes), vectors))
            # What was embedded of a region that is gone is still there, should the region come back.
            self.embedded |= {(Path(units.record.name).name, box) for box in units.boxes}
        if not todo:
            wanted = {(name, box) for name in self.disk for box in [WHOLE, *(self.zones[name] if regions else ())]}
            assert wanted <= self.embedded

    @rule()
    def merge(self) -> None:
        self.writer.merge(self.stored, Living(self.index))
        self._forget_the_dead()

    @rule()
    def compact(self) -> None:
        self.writer.compact(Living(self.index))
        self._forget_the_dead()
        assert len(vectors_of(self.index).files) <= 1

    def _forget_the_dead(self) -> None:
        """Only what is still answered is sure to be there after a merge: a region may come back without its vector."""
        found = vectors_of(self.index)
        names = {record.id: Path(record.name).name for record in self.index.images()}
        kept = {names[i] for i in found.image_ids.tolist()}
        self.embedded = {
            (name, box)
            for name, box in self.embedded
            if name in kept and (box == WHOLE or box in self.zones[name] or self._still_stored(name, box))
        }

    def _still_stored(self, name: str, box: tuple[float, ...]) -> bool:
        record = self.index.find(self.scans / name)
        return any(
            bool(((file.rows.image_ids == record.id) & (file.rows.boxes == box).all(axis=1)).any())
            for file in vectors_of(self.index).files
        )

    @rule()
    def reopen(self) -> None:
        self.writer.close()
        self.index.close()
        self.index = Index.open(self.base / "i.calque", writable=True)
        self.writer = VectorWriter(self.index.path)
        self.stored = self.writer.model("made up", "made-up-1()", SIZE)

    @invariant()
    def what_is_answered_is_there(self) -> None:
        if not hasattr(self, "index"):
            return
        found = vectors_of(self.index, "made up", "made-up-1()")
        records = {record.id: record for record in self.index.images()}
        answered = {}
        for image_id, box, values in zip(found.image_ids.tolist(), found.boxes.tolist(), found.gather(), strict=True):
            answered[Path(records[image_id].name).name, tuple(box)] = values
            np.testing.assert_array_equal(values, vector(records[image_id].digest, tuple(box)))
            number = found.find(image_id, tuple(box))
            np.testing.assert_array_equal(found.gather(np.array([number]))[0], values)
        assert len(answered) == len(found)
        living = {(name, box) for name, box in self.embedded if box == WHOLE or box in self.zones[name]}
        assert set(answered) == living
        assert list(damaged_vectors(self.index.path, deep=True)) == []


TestVectors = VectorMachine.TestCase
TestVectors.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)

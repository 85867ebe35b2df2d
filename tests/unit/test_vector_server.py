"""Vectors on a Qdrant server, in its local mode: the same answers as on this machine, in step with the index."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from cli.push import push
from index.annotations import Zone
from index.embedding import embed
from index.nearest import Nearest
from index.store import Index
from index.vectors import StoredModel, vectors_of
from matcher.errors import CalqueError, InputError, MissingDependency, SettingsMismatch
from matcher.types import Region
from tests.crash.fake_encoder import SETTINGS, FakeEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("qdrant_client", reason="qdrant-client is not installed (extra qdrant)")

from index.vector_server import ServerNearest, ServerVectors


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Thirty pictures, the second half with a region each; open for writing."""
    random = np.random.default_rng(0)
    (tmp_path / "p").mkdir()
    for number in range(30):
        colours = random.integers(0, 255, (3, 4, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "p" / f"{number:02d}.png"), cv2.resize(colours, (60, 45)))
    with Index.create(tmp_path / "i.calque", SETTINGS) as made:
        made.add([tmp_path / "p"], workers=0, encoder_factory=FakeEncoder)
        made.set_metadata({i: {"shelf.mark": f"A {i % 3}", "date": str(1900 + i)} for i in range(1, 31)})
        made.set_regions("layout", {i: [Zone("illustration", Region(5, 5, 20, 30))] for i in range(16, 31)})
        embed(made, "palette", regions=True, workers=0)
        yield made


def test_a_server_answers_as_this_machine_does(index: Index) -> None:
    vectors = vectors_of(index)
    random = np.random.default_rng(1)
    with ServerVectors(":memory:", "mine", vectors.model) as server:
        assert server.synchronise(index, vectors).entered == len(vectors) == len(server) == 45
        here, there = Nearest(vectors, exact=True), ServerNearest(server, vectors)
        for share in (None, 0.2, 0.9, 0.0):
            among = None if share is None else random.random(len(vectors)) < share
            query = vectors.gather(np.array([int(random.integers(45))]))[0] + 0.05 * random.normal(
                size=vectors.model.size
            )
            for top in (1, 7, 100):
                expected, found = (one.search(query, top, among) for one in (here, there))
                assert found[1] == pytest.approx(expected[1], abs=1e-5)
                assert set(found[0]) == set(expected[0])

        hits = server.search(query, 50, metadata={"shelf.mark": "A 1"}, whole=True)
        assert {hit.image for hit in hits} == {i for i in range(1, 31) if i % 3 == 1}
        assert all(hit.box is None and hit.name.endswith(".png") for hit in hits)
        chosen = index.select("date<1920")
        regions = server.search(query, 50, images=chosen, whole=False)
        assert {(hit.image, hit.box) for hit in regions} == {(i, (5.0, 5.0, 20.0, 30.0)) for i in range(16, 20)}
        assert (
            server.search(query, 0)
            == server.search(query, 5, images=[])
            == []
            == server.search(query, 5, metadata={"date": "1"})
        )


def test_it_is_kept_in_step(index: Index) -> None:
    with ServerVectors(":memory:", "mine", vectors_of(index).model) as server:
        server.synchronise(index, vectors_of(index))
        index.remove([3, 20])
        index.set_metadata({5: {"date": "2001"}})
        report = server.synchronise(index, vectors_of(index))
        assert (report.entered, report.deleted, report.known) == (1, 3, 41)
        query = vectors_of(index).gather(np.array([0]))[0]
        assert [hit.image for hit in server.search(query, 9, metadata={"date": "2001"})] == [5]
        assert not {3, 20} & {hit.image for hit in server.search(query, 99)}
        server.delete([1, 16])
        assert len(server) == 39
        assert server.synchronise(index, vectors_of(index)).entered == 3


def test_the_command_keeps_a_folder(index: Index, tmp_path: Path) -> None:
    for entered, known in ((45, 0), (0, 45)):
        words = [str(index.path), "--server", str(tmp_path / "q"), "--format", "json", "-q"]
        done = CliRunner().invoke(push, words, standalone_mode=False)
        assert done.return_value == 0, done.exception
        told = json.loads(done.stdout)
        assert (told["entered"], told["known"], told["collection"]) == (entered, known, "i-palette")
    other = StoredModel(1, "other", "other-1()", 7, "other")
    with pytest.raises(SettingsMismatch, match=r"has vectors of palette-.* not of other-1\(\) \(7\); .* --collection"):
        ServerVectors(str(tmp_path / "q"), "i-palette", other)


def test_what_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = StoredModel(1, "m", "m-1()", 3, "m")
    with pytest.raises(CalqueError, match=r"http://127\.0\.0\.1:9 cannot be used .* see that it runs"):
        ServerVectors("http://127.0.0.1:9", "c", model)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="give another place"):
        ServerVectors(str(tmp_path / "file"), "c", model)
    monkeypatch.setitem(__import__("sys").modules, "qdrant_client", None)
    with pytest.raises(MissingDependency, match=r"pip install 'calque\[qdrant\]'"):
        ServerVectors(":memory:", "c", model)

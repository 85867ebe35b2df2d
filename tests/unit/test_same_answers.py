"""The same answers, to the last digit, whatever the number of threads and segments, before and after compaction."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pytest
from click.testing import CliRunner

import index.adding
from cli.main import calque
from index.answers import Query
from index.encoding import EncodedImage, Encoder
from index.folder import SegmentFolder
from index.search import search
from index.settings import Settings
from index.store import Index
from index.vocabulary import bundled_vocabulary
from matcher.types import Region
from tests.conftest import PLACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.conftest import Collection

pytestmark = pytest.mark.compiled

IMAGES = 40
GONE = 7  # every seventh image is removed


class Prepared:
    """An encoder that has made its images beforehand: file ``3.jpg`` holds the third."""

    def __init__(self, images: Sequence[EncodedImage]) -> None:
        self.images = images

    def __call__(self, settings: Settings) -> Prepared:
        return self

    def encode(self, path: Path, page: int, zones: object = ()) -> EncodedImage:
        return self.images[int(path.stem)]


def mixed(page: EncodedImage, other: EncodedImage, share: float, random: np.random.Generator) -> EncodedImage:
    """Return a page with this share of the features of `page`, a bit of each flipped, among those of `other`."""
    kept, added = random.random(len(page)) < share, random.random(len(other)) < 1 - share
    flips = np.uint64(1) << random.integers(64, size=len(page), dtype=np.uint64)
    columns = {
        "words": (page.words[kept], other.words[added]),
        "signatures": ((page.signatures ^ flips)[kept], other.signatures[added]),
        "geometry": (page.geometry[kept], other.geometry[added]),
    }
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    order = np.argsort(joined["words"], kind="stable")
    return replace(page, **{name: column[order] for name, column in joined.items()})


@pytest.fixture(scope="module")
def images(collection: Collection) -> list[EncodedImage]:
    """Eight pages, then copies of them that are more or less like them: many are found, some as surely as others."""
    vocabulary = bundled_vocabulary()
    encoder = Encoder(Settings(vocabulary.name, vocabulary.hash, vocabulary.features), vocabulary)
    pages = [encoder.encode(collection.page(name), 0) for name in sorted(collection.boxes)]
    random = np.random.default_rng(0)
    copies = [
        mixed(pages[number % 8], pages[(3 * number + 1) % 8], random.choice([0.3, 0.6, 0.9]), random)
        for number in range(IMAGES - len(pages))
    ]
    return pages + copies


@pytest.fixture(scope="module")
def one_segment(images: list[EncodedImage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    yield from made(images, tmp_path_factory.mktemp("one"), IMAGES)


@pytest.fixture
def many_segments(images: list[EncodedImage], tmp_path: Path) -> Iterator[Index]:
    yield from made(images, tmp_path, 1)


def made(images: Sequence[EncodedImage], folder: Path, in_a_segment: int) -> Iterator[Index]:
    files = folder / "files"
    files.mkdir()
    for number in range(len(images)):
        (files / f"{number}.jpg").write_text(str(number))
    with (
        patch.object(index.adding, "_BATCH_IMAGES", in_a_segment),
        patch.object(SegmentFolder, "next_merge", lambda *_: None),  # small segments would be merged at once
        Index.create(folder / "index.calque") as made,
        contextlib.chdir(folder),
    ):
        made.add(["files"], workers=0, encoder_factory=Prepared(images))
        assert len(made.segments) == IMAGES // in_a_segment
        yield made


def told(where: Index, collection: Collection, threads: int, *, alone: bool = False) -> list[list[tuple[Any, ...]]]:
    """Return everything that is said of every hit, undisturbed by rounding; of queries asked together, or each alone.

    Of several each thread answers one, a single one is answered by all threads.
    """
    left, top, side = PLACE
    queries = [Query(name, collection.page(name)) for name in sorted(collection.boxes)[:3]]
    queries.append(replace(queries[0], region=Region(left, top, side, side)))
    searches = [[query] for query in queries] if alone else [queries]
    return [
        [
            (
                hit.image,
                hit.score,
                hit.false_alarms,
                hit.match.relation,
                hit.match.inliers,
                hit.match.rotation,
                hit.match.transform.matrix.tobytes(),
                hit.match.image_points.tobytes(),
            )
            for hit in answer.hits
        ]
        for asked in searches
        for answer in search(where, asked, max_false_alarms=1e6, threads=threads)
    ]


def test_threads_and_segments_do_not_matter(one_segment, many_segments, collection):
    expected = told(one_segment, collection, 1)
    assert sum(map(len, expected)) > IMAGES // 2
    for where, threads, alone in (
        (one_segment, 2, False),
        (many_segments, 1, False),
        (many_segments, 2, False),
        (many_segments, 2, True),
    ):
        assert told(where, collection, threads, alone=alone) == expected


def test_compaction_does_not_matter(one_segment, many_segments, collection):
    gone = [record.id for record in many_segments.images()][::GONE]
    many_segments.remove(gone)
    expected = told(many_segments, collection, 2)
    assert expected != told(one_segment, collection, 2)
    many_segments.compact()
    assert len(many_segments.segments) == 1
    assert told(many_segments, collection, 1) == expected


def test_commands_write_the_same_bytes(many_segments, collection, tmp_path):
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for name in sorted(collection.boxes)[:3]:
        shutil.copy(collection.page(name), photographs)
    image = collection.page(sorted(collection.boxes)[0])
    calls = (
        ("trace", photographs, many_segments.path, "--format", "csv", "--max-false-alarms", 1e6),
        ("trace", photographs, many_segments.path, "--format", "jsonl"),
        ("search", many_segments.path, image, "--format", "csv", "--max-false-alarms", 1e6),
        ("info", many_segments.path, "--images", "--format", "json"),
    )
    for call in calls:
        told = {
            CliRunner().invoke(calque, [*map(str, (*call, *threads))]).stdout_bytes
            for threads in ((), ("--threads", 1), ("--threads", 3))
            if not threads or call[0] != "info"
        }
        (text,) = told
        assert text.count(b"\n") > 3

"""Other systems asked the same queries among as many made-up images: `benchmarks.scale` puts them beside calque.

Each holds the features that calque holds of the images that are to be found, and of made-up images drawn from the same
pool, and ranks images by votes alone, so calque's votes are the measure. They are asked for queries as they are; none
of them looks for mirrored or negative copies.

``faiss``
    IVF-PQ [1]_ over descriptors, 8 bytes each, in cells of calque's own 65,536 words, which an HNSW graph finds: the
    20 nearest to each query feature vote with the weight that calque gives a Hamming distance as large, once for an
    image.
``asmk``
    Binary ASMK* [3]_ with the same words and calque's way of finding them, five for each query feature.
``pycolmap``
    ``pycolmap.VisualIndex`` [2]_: 64-bit Hamming embedding, similarity votes. Its binding returns no scores
    (pycolmap 4.2.1 fills a copy of the list that it is given), so that time and memory are all that can be measured;
    `benchmarks.retrieval` has its accuracy on the real sets.

References
----------
.. [1] Jégou, Douze & Schmid: Product quantization for nearest neighbor search. PAMI 2011.
.. [2] Schönberger, Price, Sattler, Frahm & Pollefeys: A vote-and-verify strategy for fast spatial verification in
   image retrieval. ACCV 2016.
.. [3] Tolias, Avrithis & Jégou: Image search with selective match kernels: aggregation across single and multiple
   images. IJCV 2016; the package ``asmk`` (https://github.com/jenicek/asmk).
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.runner import resident, spread
from benchmarks.scale_filling import FEATURES, stepped
from index.vocabulary import WORD_STEP
from matcher.errors import MissingDependency
from matcher.images import read_image
from matcher.registry import extractor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.datasets import Dataset
    from benchmarks.scale_filling import Pool
    from index.answers import Query
    from index.asking import Extracted
    from index.settings import Settings
    from index.vocabulary import Vocabulary
    from matcher.types import Features

__all__ = ["PEERS", "measure_peer"]

_VOTERS = 1000
_TRAINED = 200_000
"""Descriptors of the pool that codebooks are made of."""

_CHUNK = 1000
"""Made-up images drawn at a time."""

_AT_ONCE = 1 << 16
"""Features of the pool that are encoded at a time."""


class _Peer(Protocol):
    """A system to compare with; descriptors are uint8, in steps of `index.vocabulary.WORD_STEP`.

    What it makes of a feature of the pool may be made once, not each of the hundred times the feature is drawn;
    `spared` is how many seconds that saved, so that filling can be told as if it had not.
    """

    spared: float

    def __init__(self, pool: Pool, sample: NDArray[np.int64], vocabulary: Vocabulary) -> None:
        """Learn what it needs to know from the rows `sample` of the pool."""

    def draw(self, rows: NDArray[np.int64], images: NDArray[np.int64]) -> None:
        """Take in rows of the pool as features of made-up `images`, those of one side by side."""

    def add(self, features: Features, image: int) -> None:
        """Take in the features of a real image; they come before made-up ones, ascending."""

    def ready(self) -> None:
        """Do what has to be done once before queries."""

    def ask(self, features: Features) -> NDArray[np.int64] | None:
        """Return images, most alike first; None if it does not tell."""


class _Faiss:
    _NEIGHBOURS = 20
    _PROBES, _BYTES = 8, 8
    _LINKS = 32

    def __init__(self, pool: Pool, sample: NDArray[np.int64], vocabulary: Vocabulary) -> None:
        import faiss

        centres = vocabulary.centres()
        self._cells = faiss.IndexHNSWFlat(centres.shape[1], self._LINKS)
        self._cells.add(centres)
        self._index = faiss.IndexIVFPQ(self._cells, centres.shape[1], len(centres), self._BYTES, 8)
        self._index.train(_whole(pool.descriptors[sample]))
        self._index.nprobe = self._PROBES
        self._codes: NDArray[np.uint8] | None = None
        self._descriptors = pool.descriptors
        self._seconds_a_code = self.spared = 0.0

    def draw(self, rows: NDArray[np.int64], images: NDArray[np.int64]) -> None:
        if self._codes is None:
            start = time.perf_counter()
            parts = range(0, len(self._descriptors), _AT_ONCE)
            self._codes = np.concatenate(
                [self._index.sa_encode(_whole(self._descriptors[first : first + _AT_ONCE])) for first in parts]
            )
            self.spared = start - time.perf_counter()
            self._seconds_a_code = -self.spared / len(self._codes)
        self._index.add_sa_codes(self._codes[rows], images)
        self.spared += self._seconds_a_code * len(rows)

    def add(self, features: Features, image: int) -> None:
        self._index.add_with_ids(features.descriptors, np.full(len(features), image, np.int64))

    def ready(self) -> None:
        """Nothing is left to be done."""

    def ask(self, features: Features) -> NDArray[np.int64]:
        distances, images = self._index.search(features.descriptors[:_VOTERS], self._NEIGHBOURS)
        # Of 64 signature bits, one differs for each 1/64 of a half turn between descriptors.
        bits = 64 / np.pi * np.arccos(np.clip(1 - distances / 2, -1, 1))
        weights = np.where(images >= 0, np.exp(-((bits / 16) ** 2)), 0)
        rows = np.repeat(np.arange(len(images)), self._NEIGHBOURS)
        # Neighbours come nearest first, and unique keeps the first: one vote of a feature for an image.
        keys, first = np.unique(rows << 32 | np.maximum(images.ravel(), 0), return_index=True)
        hosts, place = np.unique(keys & 0xFFFFFFFF, return_inverse=True)
        return hosts[np.argsort(-np.bincount(place, weights.ravel()[first]), kind="stable")]


class _Words:
    """calque's words as asmk asks for them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def search(self, descriptors: NDArray[np.float32], words: int) -> tuple[None, NDArray[np.int32]]:
        return None, self._vocabulary.assign(descriptors, words)


class _Asmk:
    _ASKED = 5
    _SIMILARITY: Mapping[str, float] = {"alpha": 3.0, "similarity_threshold": 0.0}

    def __init__(self, pool: Pool, sample: NDArray[np.int64], vocabulary: Vocabulary) -> None:
        try:
            from asmk.codebook import Codebook
            from asmk.inverted_file import IVF
            from asmk.kernel import ASMKKernel
        except ImportError as error:
            raise MissingDependency("asmk is not installed; run: pip install asmk (it needs a C compiler)") from error
        self._words = Codebook(None, size=len(vocabulary))
        self._words.centroids, self._words.search_index = vocabulary.centres(), _Words(vocabulary)
        self._kernel = ASMKKernel(self._words, binary=True)
        self._index = IVF.initialize_empty(codebook_size=len(vocabulary), use_idf=False)
        self._descriptors = pool.descriptors
        self._assigned = np.repeat(np.arange(len(pool.offsets) - 1), np.diff(pool.offsets)).astype(np.int32)
        self._vocabulary = vocabulary
        # Finding words takes what it takes calque, which does not count it when it makes up images either.
        self.spared = 0.0

    def _add(self, descriptors: NDArray[np.float32], words: NDArray[np.int32], images: NDArray[np.int64]) -> None:
        self._index.add(*self._kernel.aggregate(descriptors, words[:, np.newaxis], images))

    def draw(self, rows: NDArray[np.int64], images: NDArray[np.int64]) -> None:
        self._add(_whole(self._descriptors[rows]), self._assigned[rows], images)

    def add(self, features: Features, image: int) -> None:
        words = self._vocabulary.assign(features.descriptors)[:, 0]
        self._add(features.descriptors, words, np.full(len(features), image, np.int64))

    def ready(self) -> None:
        """Nothing is left to be done."""

    def ask(self, features: Features) -> NDArray[np.int64]:
        quantised = self._words.quantize(features.descriptors[:_VOTERS], multiple_assignment=self._ASKED)
        aggregated = self._kernel.aggregate_image(*quantised)
        similarity = partial(self._kernel.similarity, **self._SIMILARITY)
        ranked: NDArray[np.int64] = self._index.search(*aggregated, similarity_func=similarity, topk=100)[0]
        return ranked


class _Colmap:
    _WORDS = 4096
    spared = 0.0

    def __init__(self, pool: Pool, sample: NDArray[np.int64], vocabulary: Vocabulary) -> None:
        try:
            import pycolmap
        except ImportError as error:
            raise MissingDependency("pycolmap is not installed; run: pip install calque[bench]") from error
        self._pycolmap = pycolmap
        self._descriptors = pool.descriptors
        self._random = np.random.default_rng(0)
        self._index = pycolmap.VisualIndex.create(pool.descriptors.shape[1], 64)
        options = pycolmap.VisualIndex.BuildOptions()
        options.num_visual_words, options.num_rounds, options.num_iterations = self._WORDS, 1, 10
        self._index.build(options, self._described(pool.descriptors[sample]))

    def _described(self, descriptors: NDArray[np.uint8]) -> Any:
        kind = self._pycolmap.FeatureExtractorType.SIFT
        return self._pycolmap.FeatureDescriptorsFloat(kind, descriptors.astype(np.float32))

    def _keypoints(self, frame: NDArray[np.floating]) -> Any:
        """Return keypoints (n, 4): x, y, scale, orientation in radians."""
        return self._pycolmap.keypoints_from_matrix(frame.astype(np.float32))

    def _frame(self, features: Features) -> NDArray[np.floating]:
        return np.column_stack([features.points + 0.5, features.sizes / 2, np.deg2rad(features.angles)])

    def draw(self, rows: NDArray[np.int64], images: NDArray[np.int64]) -> None:
        options = self._pycolmap.VisualIndex.IndexOptions()
        for start in range(0, len(rows), FEATURES):
            own = rows[start : start + FEATURES]
            frame = self._random.random((len(own), 4)) * [1200, 1600, 20, 2 * np.pi]
            self._index.add(
                options, int(images[start]), self._keypoints(frame), self._described(self._descriptors[own])
            )

    def add(self, features: Features, image: int) -> None:
        options = self._pycolmap.VisualIndex.IndexOptions()
        described = self._described(stepped(features.descriptors))
        self._index.add(options, image, self._keypoints(self._frame(features)), described)

    def ready(self) -> None:
        self._index.prepare()

    def ask(self, features: Features) -> None:
        options = self._pycolmap.VisualIndex.QueryOptions()
        some = features.take(slice(_VOTERS))
        self._index.query(options, self._keypoints(self._frame(some)), self._described(stepped(some.descriptors)), [])


PEERS: dict[str, Callable[..., _Peer]] = {"faiss": _Faiss, "asmk": _Asmk, "pycolmap": _Colmap}


def _whole(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    return descriptors.astype(np.float32) * np.float32(WORD_STEP)


def measure_peer(
    name: str,
    size: int,
    dataset: Dataset,
    queries: Sequence[tuple[Query, Extracted]],
    pool: Pool,
    vocabulary: Vocabulary,
    settings: Settings,
) -> dict[str, Any]:
    """Fill a peer with `size` images, those that are to be found among them, and ask it; return quality and costs."""
    random = np.random.default_rng(1)
    before, start = resident()["own"], time.perf_counter()
    sample = random.choice(len(pool.signatures), min(_TRAINED, len(pool.signatures)), replace=False)
    peer = PEERS[name](pool, sample, vocabulary)
    trained = time.perf_counter()
    extractor = extractor_of(vocabulary.features, settings.max_features, vocabulary.likeness)
    wanted = sorted({place.image for query in dataset.queries for place in query.positives})
    reading = 0.0
    for number, image in enumerate(wanted):
        begun = time.perf_counter()
        features = extractor.extract(read_image(dataset.path(image), 0, long_side=settings.work_size))
        reading += time.perf_counter() - begun
        if len(features):
            peer.add(features, number)
    for first in range(len(wanted), size, _CHUNK):
        images = np.arange(first, min(first + _CHUNK, size), dtype=np.int64)
        peer.draw(random.integers(len(pool.signatures), size=len(images) * FEATURES), np.repeat(images, FEATURES))
    peer.ready()
    filled = time.perf_counter()
    right, seconds = [], []
    for (_, extracted), truth in zip(queries, dataset.queries, strict=True):
        begun = time.perf_counter()
        ranked = peer.ask(extracted.features["same"])
        seconds.append(time.perf_counter() - begun)
        if ranked is not None:
            names = (wanted[i] if i < len(wanted) else "" for i in ranked.tolist())
            best = next((name for name in names if name not in truth.ignored), "")
            right.append(best in {place.image for place in truth.positives})
    return {
        "recall_at_1_of_votes": float(np.mean(right)) if right else None,
        "ms": spread([1000 * s for s in seconds]),
        "seconds_to_train": trained - start,
        "seconds_to_fill": filled - trained - reading + peer.spared,
        "megabytes": resident()["own"] - before,
    }

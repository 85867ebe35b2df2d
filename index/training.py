"""Train a vocabulary: words, signature directions and medians from the descriptors of many images.

Words are found by k-means in two levels (coarse cells, then words within each) and then moved by iterations of
approximate k-means over all of them (Philbin et al., CVPR 2007). Signature directions are a random rotation of the 64
leading principal components of what is left of a descriptor when its word is taken away.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from index.settings import Settings
from index.sources import SourceFailure, expand
from index.vocabulary import MEDIAN_STEP, WORD_STEP, Vocabulary, bundled_vocabulary
from matcher.devices import wanted_device
from matcher.errors import CalqueError, InputError
from matcher.images import read_image
from matcher.registry import Sight, extract_all, extractor_named, images_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.items import SourceItem
    from matcher.images import Scan
    from matcher.registry import Extractor
    from matcher.types import Features

__all__ = ["collect", "learn", "train"]

_CELLS = 256
_ROUNDS = 2
_PER_WORD = 40
"""Training descriptors per word: more take longer and change little."""

_USUAL = Settings("", "")

_SIFT = ("sift", "sift+featurebooster")
"""Extractors that choose by SIFT's descriptors, of which alone it is known how type looks."""

_PRIOR = 5
"""Descriptors' worth of trust in a word itself for its medians, which few descriptors fix badly."""


def train(
    sources: Sequence[str],
    path: Path,
    *,
    features: str = "sift",
    words: int = 65536,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Vocabulary:
    """Train a vocabulary on images and write it to a file.

    Parameters
    ----------
    sources : sequence of str
        As for `index.sources.expand`.
    path : Path
        The file to write.
    features : str
        Name of the extractor, see `matcher.registry.EXTRACTORS`.
    words : int
        Visual words, 256 to 65,536.
    seed : int
        Decides every random choice.
    progress : callable, optional
        Called as ``progress(done, total)`` as images are read.

    Raises
    ------
    InputError
        If the images have too few features for so many words, or there is no extractor of that name.
    MissingDependency
        If what the extractor needs is not installed.
    """
    items = [item for item in expand(sources) if not isinstance(item, SourceFailure)]
    if not items:
        raise InputError(f"no images in {', '.join(map(str, sources))}; name a folder of scans")
    budget = max(200, words * _PER_WORD // len(items))
    likeness = bundled_vocabulary().likeness if features in _SIFT else np.zeros(0, np.float32)
    extractor = extractor_named(features, _USUAL.max_features, likeness)
    parts: list[NDArray[np.float32]] = []
    size = images_at_once(extractor)
    with ThreadPoolExecutor(size) as readers:
        for start in range(0, len(items), size):
            read = [scan for scan in readers.map(_read, items[start : start + size]) if scan is not None]
            found = extract_all(extractor, [Sight(scan) for scan in read])
            parts += [_sample(one, budget, seed + start + number) for number, one in enumerate(found, 1)]
            if progress is not None:
                progress(min(start + size, len(items)), len(items))
    descriptors = np.concatenate(parts) if parts else np.zeros((0, 128), np.float32)
    vocabulary = learn(descriptors, words, path.stem, extractor.signature, likeness, seed)
    vocabulary.save(path)
    return vocabulary


def _read(item: SourceItem) -> Scan | None:
    """Return a page as it is indexed, None if it cannot be read: `add` lists such, training goes by the rest."""
    try:
        return read_image(item.path, item.page, long_side=_USUAL.work_size)
    except CalqueError:
        return None


def collect(path: Path, page: int, extractor: Extractor, budget: int, seed: int) -> NDArray[np.float32]:
    """Return up to `budget` descriptors of a page, shape (n, d), drawn at random from those an index would keep."""
    return _sample(extractor.extract(read_image(path, page, long_side=_USUAL.work_size)), budget, seed)


def _sample(features: Features, budget: int, seed: int) -> NDArray[np.float32]:
    """Return up to `budget` descriptors of an image, drawn at random."""
    if len(features) <= budget:
        return features.descriptors
    return features.descriptors[np.random.default_rng(seed).choice(len(features), budget, replace=False)]


def learn(
    descriptors: NDArray[np.float32],
    words: int,
    name: str,
    features: str,
    likeness: NDArray[np.float32],
    seed: int = 0,
) -> Vocabulary:
    """Return the vocabulary of `words` words of `descriptors`, float32 (n, d) of unit length.

    `features` is the signature of their extractor; `name` and `likeness` are as in `index.vocabulary.Vocabulary`.

    Raises
    ------
    InputError
        If there are fewer than ten descriptors per word.
    """
    if len(descriptors) < 10 * words:
        raise InputError(
            f"{len(descriptors)} features are too few for {words} words, which need {10 * words} or more; "
            "add images or ask for fewer words"
        )
    blank, _ = _laid_out(_words(descriptors, words, seed), seed)
    assigned = _assign(blank, descriptors)
    restored = blank.centres()
    projection = _directions(descriptors - restored[assigned], seed)
    medians = _medians(descriptors @ projection.T, assigned, restored @ projection.T)
    return replace(blank, name=name, features=features, likeness=likeness, projection=projection, medians=medians)


def _laid_out(centres: NDArray[np.float32], seed: int) -> tuple[Vocabulary, NDArray[np.float32]]:
    """Return a nameless vocabulary of `centres` without signatures, and the centres in its order: cell by cell."""
    cells, labels = _clusters(centres, min(_CELLS, len(centres) // 16), seed)
    order = np.argsort(labels, kind="stable")
    centres = centres[order]
    stored: NDArray = centres.astype(np.float16)
    if centres.min() >= 0:
        stored = np.clip(np.round(centres / WORD_STEP), 0, 255).astype(np.uint8)
    offsets = np.searchsorted(labels[order], np.arange(len(cells) + 1)).astype(np.int64)
    no_bits = np.zeros((64, centres.shape[1]), np.float32), np.zeros((len(centres), 64), np.int8)
    return Vocabulary("", "", stored, cells, offsets, *no_bits, np.zeros(0, np.float32)), centres


def _words(descriptors: NDArray[np.float32], words: int, seed: int) -> NDArray[np.float32]:
    """Return the centres, shape (words, d), of a two-level and then approximate k-means."""
    cells, labels = _clusters(descriptors, min(_CELLS, words // 16), seed)
    members = np.bincount(labels, minlength=len(cells))
    share = np.maximum(1, np.floor(members / len(descriptors) * words)).astype(int)
    while share.sum() != words:  # hand the remainder to the fullest cells
        step = 1 if share.sum() < words else -1
        crowding = np.where((share > 1) | (step > 0), members / share, np.inf if step < 0 else -np.inf)
        share[crowding.argmax() if step > 0 else crowding.argmin()] += step
    centres = np.concatenate(
        [_clusters(descriptors[labels == cell], int(share[cell]), seed)[0] for cell in range(len(cells))]
    )
    for _ in range(_ROUNDS):
        quantiser, centres = _laid_out(centres, seed)
        centres = _means(descriptors, _assign(quantiser, descriptors), centres)
    return centres


def _clusters(points: NDArray[np.float32], k: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the centres (k, d) of a k-means and the nearest centre of each point."""
    import faiss  # loaded when words are learned, not whenever one of this module's names is wanted

    points = np.ascontiguousarray(points)
    if k >= len(points):
        padded = np.concatenate([points, np.repeat(points[:1], k - len(points), axis=0)])
        return padded, np.arange(len(points))
    gpu = faiss.get_num_gpus() > 0 and wanted_device() != "cpu"  # faiss-cpu finds none
    kmeans = faiss.Kmeans(
        points.shape[1], k, niter=10, seed=seed, min_points_per_centroid=1, max_points_per_centroid=400, gpu=gpu
    )
    kmeans.train(points)
    _, nearest = kmeans.index.search(points, 1)
    return np.asarray(kmeans.centroids), nearest.ravel()


def _assign(vocabulary: Vocabulary, descriptors: NDArray[np.float32]) -> NDArray[np.int32]:
    block = 20_000
    return np.concatenate(
        [vocabulary.assign(descriptors[i : i + block])[:, 0] for i in range(0, len(descriptors), block)]
    )


def _grouped(labels: NDArray[np.int32], k: int) -> Iterable[NDArray[np.intp]]:
    """Yield the members of each of `k` groups."""
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(k + 1))
    for group in range(k):
        yield order[bounds[group] : bounds[group + 1]]


def _means(points: NDArray[np.float32], labels: NDArray[np.int32], centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of each group of points, the old centre where the group is empty."""
    moved = centres.copy()
    for group, members in enumerate(_grouped(labels, len(centres))):
        if len(members):
            moved[group] = points[members].mean(axis=0)
    return moved


def _directions(residuals: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return 64 directions, shape (64, d): the residuals' leading components, rotated so that each bit says as much."""
    sample = residuals[:: max(1, len(residuals) // 500_000)]
    _, axes = np.linalg.eigh(sample.T @ sample / len(sample))
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(64, 64)))[0]
    return np.asarray(rotation @ axes[:, ::-1][:, :64].T, dtype=np.float32)


def _medians(
    projections: NDArray[np.floating], labels: NDArray[np.int32], own: NDArray[np.floating]
) -> NDArray[np.int8]:
    """Return each word's medians in steps of 1/256, drawn to the word's own projection where it has few members."""
    medians = own.copy()
    for group, members in enumerate(_grouped(labels, len(own))):
        if len(members):
            middle = np.median(projections[members], axis=0)
            medians[group] = (len(members) * middle + _PRIOR * own[group]) / (len(members) + _PRIOR)
    return np.clip(np.round(medians / MEDIAN_STEP), -127, 127).astype(np.int8)

"""An index of as many images as one likes, made of features drawn from real ones; no image files are needed.

The *pool* is made of pictures that have nothing to do with the queries: each of their descriptors several times over,
each time with as much noise as there is between two prints of one block, quantised as any other. A made-up image takes
some thousand features out of the pool, one by one, so that words are as unevenly used, and signatures as like each
other, as on real pages, while no two images show the same. They are written straight to segments, word by word.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numba as nb
import numpy as np

from index.catalogue import ImageRecord
from index.encoding import encode
from index.segment import MAXIMUM_IMAGES
from index.segment_writing import write_columns
from index.vocabulary import WORD_STEP
from matcher.images import read_image
from matcher.registry import extractor_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.store import Index
    from matcher.types import Features

__all__ = ["FEATURES", "Pool", "fill", "pool_of", "stepped"]

FEATURES = 1000
"""Features of a made-up image, about."""

_WORDS = 1 << 16
_COPIES = 4
"""Times that each real feature is in the pool."""

_NOISE = 0.25
"""Length of what is added to a descriptor of length one: 10 of 64 signature bits differ then, as in two prints."""

_FLIPS = 2
"""Signature bits flipped in each feature drawn, at the most: no two are quite alike."""

_BLOCK = 1 << 22
"""Postings written at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Features to draw from, sorted by word.

    Attributes
    ----------
    offsets : int64, shape (65537,)
        Those of word `w` are ``offsets[w]:offsets[w + 1]``.
    signatures : uint64, shape (n,)
    geometry : uint32, shape (n,)
        As `index.keypoints` packs it.
    descriptors : uint8, shape (n, d)
        In steps of `index.vocabulary.WORD_STEP`, for systems that take nothing else.
    sizes : int32, shape (k, 2)
        Widths and heights of the real images.
    """

    offsets: NDArray[np.int64]
    signatures: NDArray[np.uint64]
    geometry: NDArray[np.uint32]
    descriptors: NDArray[np.uint8]
    sizes: NDArray[np.int32]


def pool_of(index: Index, files: Sequence[Path]) -> Pool:
    """Return the pool of the features of some images, extracted and quantised as `index` would."""
    vocabulary, settings = index.vocabulary, index.settings
    extractor = extractor_of(vocabulary.features, settings.max_features, vocabulary.likeness)
    random = np.random.default_rng(0)
    columns: dict[str, list[NDArray]] = {name: [] for name in ("words", "signatures", "geometry", "descriptors")}
    sizes = []
    for file in files:
        features = extractor.extract(read_image(file, 0, long_side=settings.work_size))
        sizes.append((features.width, features.height))
        for _ in range(_COPIES):
            noisy = _noisy(features, random)
            image = encode(noisy, vocabulary, settings)
            for name in ("words", "signatures", "geometry"):
                columns[name].append(getattr(image, name))
            # `encode` sorts by word; the same stable order is found again from the words.
            order = np.argsort(vocabulary.assign(noisy.descriptors)[:, 0], kind="stable")
            columns["descriptors"].append(stepped(noisy.descriptors[order]))
    words = np.concatenate(columns.pop("words"))
    order = np.argsort(words, kind="stable")
    offsets = np.searchsorted(words[order], np.arange(_WORDS + 1)).astype(np.int64)
    sorted_ = {name: np.concatenate(parts)[order] for name, parts in columns.items()}
    return Pool(offsets, **sorted_, sizes=np.array(sizes, dtype=np.int32))


def stepped(descriptors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return RootSIFT descriptors in steps of `index.vocabulary.WORD_STEP`."""
    return np.clip(np.rint(descriptors / WORD_STEP), 0, 255).astype(np.uint8)


def _noisy(features: Features, random: np.random.Generator) -> Features:
    """Return features whose descriptors, of RootSIFT and hence without negative components, are a little off."""
    descriptors = features.descriptors
    noise = random.standard_normal(descriptors.shape, dtype=np.float32) * (_NOISE / descriptors.shape[1] ** 0.5)
    moved = np.maximum(descriptors + noise, 0)
    return replace(features, descriptors=moved / np.linalg.norm(moved, axis=1, keepdims=True))


def fill(index: Index, images: int, pool: Pool, seed: int = 0, features: int = FEATURES) -> None:
    """Add `images` made-up images, of about so many `features` each, to an index that is open for writing."""
    random = np.random.default_rng(seed)
    for first in range(0, images, MAXIMUM_IMAGES):
        _add_segment(index, min(MAXIMUM_IMAGES, images - first), pool, random, features)


def _add_segment(index: Index, m: int, pool: Pool, random: np.random.Generator, features: int) -> None:
    """Add a segment of `m` images."""
    catalogue = index._catalogue  # the benchmark goes round what reads files
    ids = np.arange(catalogue.next_id, catalogue.next_id + m, dtype=np.int64)
    sizes = pool.sizes[random.integers(len(pool.sizes), size=m)]
    share = np.diff(pool.offsets) / pool.offsets[-1]
    counts = random.poisson(share * m * features).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    numbers = np.empty(offsets[-1], dtype=np.uint16)
    _draw_images(offsets, m, int(random.integers(1 << 62)), numbers)
    lengths = np.zeros(m, dtype=np.int64)
    _pack_words(offsets, numbers, np.zeros(m, np.int64), lengths, np.empty(0, np.uint8))
    words = np.empty(lengths.sum(), dtype=np.uint8)
    _pack_words(offsets, numbers, np.cumsum(lengths) - lengths, np.zeros(m, np.int64), words)

    def blocks() -> Iterator[dict[str, NDArray]]:
        rows = np.unique(np.append(np.searchsorted(offsets, np.arange(0, offsets[-1], _BLOCK)), _WORDS))
        for low, high in pairwise(rows.tolist()):
            start, stop = int(offsets[low]), int(offsets[high])
            signatures, geometry = np.empty(stop - start, np.uint64), np.empty(stop - start, np.uint32)
            _draw_features(
                offsets[low : high + 1], pool.offsets[low : high + 1], pool.signatures, pool.geometry,
                int(random.integers(1 << 62)), signatures, geometry,
            )  # fmt: skip
            yield {"images": numbers[start:stop], "signatures": signatures, "geometry": geometry}

    def write(path: Path) -> None:
        write_columns(path, index.settings, ids, sizes, lengths.tolist(), counts, iter([words]), blocks())

    record = index._files.write(write)
    numbered = np.bincount(numbers, minlength=m).tolist()
    with catalogue.transaction("add"):
        catalogue.add_segment(record)
        for image_id, (width, height), n in zip(ids.tolist(), sizes.tolist(), numbered, strict=True):
            name = f"made-up/{image_id // 1000:06d}/{image_id:09d}.jpg"
            catalogue.add_image(ImageRecord(image_id, name, f"/{name}", 0, 0, 0, b"", width, height, n, record.name))
    index._segments = None


@nb.njit(nb.uint64(nb.uint64[::1]), cache=True, nogil=True)
def _next(state):  # type: ignore[no-untyped-def] # types: signature
    """Return the next of a row of random numbers (xorshift64*: Vigna, ACM TOMS 2016)."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return x * np.uint64(0x2545F4914F6CDD1D)


@nb.njit(nb.void(nb.int64[::1], nb.int64, nb.int64, nb.uint16[::1]), cache=True, nogil=True)
def _draw_images(offsets, m, seed, numbers):  # type: ignore[no-untyped-def] # types: signature
    """Give each word's postings images of `m`, ascending: sums of exponential gaps are sorted as they are made."""
    state = np.array([seed | 1], dtype=np.uint64)
    for w in range(offsets.size - 1):
        first, last = offsets[w], offsets[w + 1]
        sums = np.empty(last - first + 1)
        total = 0.0
        for k in range(last - first + 1):
            total -= np.log(((_next(state) >> np.uint64(11)) + 1) / 9007199254740993.0)
            sums[k] = total
        for k in range(last - first):
            numbers[first + k] = min(np.int64(sums[k] / total * m), m - 1)


@nb.njit(nb.void(nb.int64[::1], nb.uint16[::1], nb.int64[::1], nb.int64[::1], nb.uint8[::1]), cache=True, nogil=True)
def _pack_words(offsets, numbers, starts, lengths, packed):  # type: ignore[no-untyped-def] # types: signature
    """List each image's words in `packed` from its start on, as `index._columns.packed_words`; only count if empty."""
    before = np.zeros(lengths.size, dtype=np.int64)
    for w in range(offsets.size - 1):
        for k in range(offsets[w], offsets[w + 1]):
            image = numbers[k]
            gap = w - before[image]
            before[image] = w
            if packed.size:
                place = starts[image] + lengths[image]
                for long in range(gap // 255):
                    packed[place + long] = 255
                packed[place + gap // 255] = gap % 255
            lengths[image] += gap // 255 + 1


@nb.njit(
    nb.void(nb.int64[::1], nb.int64[::1], nb.uint64[::1], nb.uint32[::1], nb.int64, nb.uint64[::1], nb.uint32[::1]),
    cache=True,
    nogil=True,
)
def _draw_features(offsets, pool_offsets, pool_signatures, pool_geometry, seed, signatures, geometry):  # type: ignore[no-untyped-def] # types: signature
    """Draw each posting's feature from those of its word and flip a few of its bits."""
    state = np.array([seed | 1], dtype=np.uint64)
    one, low = np.uint64(1), np.uint64(63)
    for w in range(offsets.size - 1):
        n = pool_offsets[w + 1] - pool_offsets[w]
        for k in range(offsets[w] - offsets[0], offsets[w + 1] - offsets[0]):
            x = _next(state)
            source = pool_offsets[w] + np.int64((x >> np.uint64(33)) % np.uint64(n))
            bits = pool_signatures[source]
            for _ in range(_FLIPS):
                bits ^= one << (x & low)
                x >>= np.uint64(6)
            signatures[k], geometry[k] = bits, pool_geometry[source]

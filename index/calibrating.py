"""Measure the law of chance of a vocabulary: pictures looked for where they are not.

Every picture is looked for on the others as its own mirror image would be. What a collection holds twice is no mirror
image of itself, so that what agrees then agrees by chance, but for what is symmetrical: few enough that the law, fitted
to all by likelihood with a bound on how unlikely anything may be, does not follow them.

Two things make such a law too bold, and are seen to. The words' medians halve the very features that they were learnt
from, which agree less often than others do: so the images are not those that the vocabulary was trained on. And a
query as it is has more voters than a mirror image, of whose pairs more images get weighed, by the best of more maps:
so the mirror image is looked for with as many.

What upright pictures have in common beyond that, such as rules and borders, mirror images show less. So no law is
narrower than that of the vocabulary which comes with calque, measured on upright pictures known to be unrelated.
"""

from __future__ import annotations

import math
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import optimize, special

from index import verification
from index.answers import Query
from index.asking import QUERY_FEATURES, extract
from index.shortlist import ShortLister
from index.sources import SourceFailure, expand
from index.store import Index
from index.verification import RELATIONS
from index.vocabulary import MEDIAN_STEP, Vocabulary
from matcher.errors import CalqueError
from matcher.geometry import LIMIT, Tolerance, refine
from matcher.registry import extractor_of
from matcher.significance import SHIPPED_LAW, SPENT, Law, compared_cells, expected_cells
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from index.catalogue import ImageRecord
    from matcher.types import Relation

__all__ = ["LEAST_WEIGHED", "Weighed", "Weighing", "calibrated", "fitted_law", "set_aside", "weigh_unrelated", "window"]

LEAST_WEIGHED = 60
"""Unrelated images that must have been weighed before a law is fitted to them."""

_STANDS_FOR: Mapping[Relation, Relation] = {"mirrored": "same", "mirrored+inverted": "inverted"}
"""What a picture is shown as → what it is looked for as: by so many voters (`index.shortlist`)."""

_SHORT_LIST = 200
_WINDOWS = (0.25, 0.8)
"""Sides of windows, in sides of their pictures."""

_MOST_IMAGES = 250
"""Images that are looked at, drawn at random."""

_SET_ASIDE = 3
"""Of so many images one is kept from training, to measure on, up to `_MOST_IMAGES`."""

_SEARCHES_EACH = 4
"""Searches for an image and its parts at the most."""

_RARE = 1e-5
"""Likelihood below which an agreement counts as no more unlikely than this: symmetrical pictures are no chance."""


class Weighed(NamedTuple):
    """An unrelated image that was weighed.

    Attributes
    ----------
    cells : int
        Distinct cells that agree.
    agreed : int
        Features that do.
    compared : int64, shape (c,)
        Comparisons made in each cell.
    upright : bool
        Whether as many voters were asked as for a query as it is, or those for a mirror image or a negative.
    """

    cells: int
    agreed: int
    compared: NDArray[np.int64]
    upright: bool = True


class Weighing(NamedTuple):
    """The unrelated images that were weighed, and how many, over all searches, might have been, upright or not."""

    weighed: tuple[Weighed, ...]
    asked: int

    @property
    def share(self) -> float:
        """Share of the images that are weighed for each relation of a search for all four, one of them upright."""
        upright = sum(one.upright for one in self.weighed)
        others = len(RELATIONS) - 1
        return (upright + others * (len(self.weighed) - upright)) / len(RELATIONS) / self.asked


def set_aside(sources: Sequence[str], seed: int = 0) -> tuple[list[str], list[str]]:
    """Return the files of `sources` to train a vocabulary on, and those to measure its law of chance on.

    The latter are a third of them, drawn at random, 250 at most. Fewer than three files are taken for both.
    """
    files = list(map(str, _files(sources)))
    if len(files) < _SET_ASIDE:
        return list(sources), list(sources)
    count = min(_MOST_IMAGES, len(files) // _SET_ASIDE)
    chosen = frozenset(np.random.default_rng(seed).choice(len(files), count, replace=False).tolist())
    learnt = [file for number, file in enumerate(files) if number not in chosen]
    return learnt, [file for number, file in enumerate(files) if number in chosen]


def _files(sources: Sequence[str]) -> list[Path]:
    return sorted({item.path for item in expand(sources) if not isinstance(item, SourceFailure)})


def calibrated(
    path: Path,
    sources: Sequence[str],
    *,
    images: int = _MOST_IMAGES,
    searches: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Vocabulary:
    """Measure the law of chance of a vocabulary, and write it into the vocabulary's file.

    Parameters
    ----------
    path : Path
        The vocabulary's file.
    sources : sequence of str
        As for `index.sources.expand`: images like those that will be indexed with it, but none of those that it was
        trained on (`set_aside`), which agree less often than others.
    images, searches : int
        How many files of the sources, drawn at random, are looked at, and how often something of them is looked for;
        at most four times each.
    seed : int
        Decides every random choice.
    progress : callable, optional
        Called as ``progress(done, total)``, images and searches together.

    Returns
    -------
    Vocabulary
        With its law, or without where the images are too few to tell.
    """
    files = _files(sources)
    chosen = np.sort(np.random.default_rng(seed).choice(len(files), min(len(files), images), replace=False))
    searches = min(searches, _SEARCHES_EACH * len(chosen))
    total = len(chosen) + searches

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, total)

    with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=f".{path.name}.") as folder:
        with Index.create(Path(folder) / "measured.calque", vocabulary=path) as index:
            index.add([files[i] for i in chosen], workers=0, progress=lambda done, *_: tell(done))
        with Index.open(Path(folder) / "measured.calque") as index:
            law = fitted_law(weigh_unrelated(index, searches, seed, lambda done, _: tell(len(chosen) + done)))
    vocabulary = replace(Vocabulary.load(path), law=law)
    vocabulary.save(path)
    return vocabulary


def window(region: Region, rng: np.random.Generator) -> Region:
    """Return a window cut out of a region at random, a quarter to four fifths as wide and high."""
    share = rng.uniform(*_WINDOWS)
    width, height = max(16.0, region.width * share), max(16.0, region.height * share)
    x, y = rng.random(2) * np.maximum((region.width - width, region.height - height), 0)
    return Region(round(region.x + x), round(region.y + y), round(width), round(height))


def weigh_unrelated(
    index: Index, searches: int, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> Weighing:
    """Look for images of an index, and for windows cut out of them, as mirror images on the others.

    Parameters
    ----------
    index : Index
    searches : int
        How many.
    seed : int
        Decides which windows.
    progress : callable, optional
        Called as ``progress(done, total)``.
    """
    images = [image for image in index.images() if image.n_features]
    found: list[Weighed] = []
    with ThreadPoolExecutor(1) as pool:
        weigher = _Weigher(index, pool)
        for done, (query, own) in enumerate(_queries(images, searches, np.random.default_rng(seed)), start=1):
            found += weigher.weigh(query, own)
            if progress is not None:
                progress(done, searches)
    return Weighing(tuple(found), searches * max(0, len(images) - 1))


def _queries(images: list[ImageRecord], searches: int, rng: np.random.Generator) -> Iterator[tuple[Query, int]]:
    """Yield whole images, then windows of them, and the ids of their images."""
    order = rng.permutation(len(images))
    for number in range(searches if images else 0):
        image = images[order[number % len(images)]]
        region = Region(0, 0, image.width, image.height)
        part = window(region, rng) if number >= len(images) else None
        yield Query(str(number), Path(image.path), part, image.page), image.id


class _Weigher:
    """Weighs what a search of an index would weigh, however little agrees."""

    def __init__(self, index: Index, pool: ThreadPoolExecutor) -> None:
        self._vocabulary = index.vocabulary
        self._segments = list(index.segments)
        self._work_size = index.settings.work_size
        self._extractor = extractor_of(self._vocabulary.features, QUERY_FEATURES, self._vocabulary.likeness)
        self._lister = ShortLister(self._segments, self._vocabulary, self._work_size, pool)
        self._pool = pool

    def weigh(self, query: Query, own: int) -> Iterator[Weighed]:
        """Yield the images, but that with the id `own`, on which a query could be laid."""
        try:
            asked = extract(query, self._extractor, self._work_size, tuple(_STANDS_FOR))
        except CalqueError:  # what could be read a moment ago
            return
        shown = verification.variants(asked.features, asked.region, self._vocabulary, self._pool)
        variants = [replace(variant, relation=_STANDS_FOR[variant.relation]) for variant in shown]
        ballots = self._lister.vote(variants, self._lister.sign(variants))
        for candidate in self._lister.candidates(ballots, 0, _SHORT_LIST) if ballots else ():
            if candidate.image_id == own:
                continue
            variant = variants[candidate.variant]
            stored = verification.gather(self._segments[candidate.segment], candidate.local, self._work_size)
            agreement = refine(
                candidate.matrix, variant.frame, variant.projections, stored.signed, self._vocabulary.medians,
                MEDIAN_STEP, variant.corners, stored.pixel, Tolerance(),
            )  # fmt: skip
            if agreement is not None:
                count, compared = compared_cells(agreement, variant.frame[:, :2], stored.pixel)
                agreed = int((agreement.distance <= LIMIT).sum())
                yield Weighed(count, agreed, compared, variant.relation == "same")


def fitted_law(weighing: Weighing) -> Law | None:
    """Return the law of chance that fits best, None where too few images were weighed to tell.

    The law is a negative binomial one, see `matcher.significance`; base, share and dispersion have the greatest
    likelihood, each image's being bounded from below. But no law is bolder than the one that is shipped.
    """
    weighed = weighing.weighed
    if len(weighed) < LEAST_WEIGHED:
        return None
    chance = sum(one.agreed for one in weighed) / sum(int(one.compared.sum()) for one in weighed)
    expected = np.array([expected_cells(one.compared, chance) for one in weighed])
    beyond = np.array([one.cells - SPENT for one in weighed]).clip(0)

    def unlikely(parameters: NDArray[np.float64]) -> float:
        base, share, more = np.exp(parameters)
        size = (base + share * expected) / more
        first = special.gammaln(beyond + size) - special.gammaln(beyond + 1) - special.gammaln(size)
        logs = first - beyond * np.log1p(1 / more) - size * np.log1p(more)
        return float(-np.logaddexp(logs, math.log(_RARE)).sum())

    best = optimize.minimize(unlikely, np.log([0.25, 0.45, 0.5]), method="Nelder-Mead", options={"maxiter": 2000})
    base, share, more = map(float, np.exp(best.x))
    return Law(chance, base, share, 1 + more, weighing.share).held_to(SHIPPED_LAW)

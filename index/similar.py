"""What looks like a picture, or means what words say: the nearest vectors. Likeness, not identity.

A picture asked for is one that the index has a vector of, which is taken, or any other, which is embedded now. Several
examples, right and wrong ones, are put together by `matcher.feedback`.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from index.embedding import cuts
from index.nearest import Nearest
from index.vectors import WHOLE, vectors_of
from matcher.embedding import TextEmbedder, unit
from matcher.embedding_classical import Palette
from matcher.errors import InputError
from matcher.feedback import direction
from matcher.prompts import prompted
from matcher.registry import embedder_named
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from index.catalogue import ImageRecord
    from index.store import Index
    from index.vectors import Vectors
    from matcher.embedding import Embedder

__all__ = ["AMONG", "Alike", "Among", "Example", "Likeness", "Similar", "Wanted", "likeness_as_dict", "similar"]

Among = Literal["all", "images", "regions"]
AMONG: tuple[Among, ...] = ("all", "images", "regions")
"""What may be answered: whole images, regions of them, or both."""

_BACKGROUND = 1000
"""Vectors of the collection that stand for what is not wanted, at the most."""


@dataclass(frozen=True, slots=True)
class Example:
    """A picture: a file, or the name of an image of the index, and if it is not all of it, a region in its pixels."""

    image: Path
    region: Region | None = None
    page: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; at least one of what is right, words or colours.

    Attributes
    ----------
    right, wrong : sequence of Example
        Pictures that it is, and that it is not.
    texts : sequence of str
        Words that say it, in the `language` of `matcher.prompts.PROMPTS`; for models that see words.
    colours : sequence of (int, int, int)
        RGB, 0 to 255; for the model ``palette``.
    """

    right: Sequence[Example] = ()
    wrong: Sequence[Example] = ()
    texts: Sequence[str] = ()
    language: str = "en"
    colours: Sequence[tuple[int, int, int]] = ()


@dataclass(frozen=True, slots=True)
class Alike:
    """One answer: an image of the index, or a region of it.

    Attributes
    ----------
    rank : int
        From 1.
    image, path : str
        Name of the image in the index, and path of its file.
    page : int
        From 0.
    region : Region or None
        None where it is the whole image.
    kind : str
        What the index calls the region; empty for the whole image.
    likeness : float
        Cosine of the angle to what was asked for: 1 is the same vector. To be compared within one answer only.
    """

    rank: int
    image: str
    path: str
    page: int
    region: Region | None
    kind: str
    likeness: float


@dataclass(frozen=True, slots=True)
class Likeness:
    """What is like something, by which model.

    Attributes
    ----------
    model : str
        Name of the model whose vectors were compared.
    alike : tuple of Alike
        The nearest first.
    seconds : float
        Time it took.
    """

    model: str
    alike: tuple[Alike, ...]
    seconds: float


def similar(
    index: Index,
    wanted: Wanted,
    *,
    model: str | None = None,
    top: int = 20,
    only: frozenset[int] | None = None,
    among: Among = "all",
    one_per_document: bool = False,
    without: frozenset[int] = frozenset(),
    embedder: Callable[[str], Embedder] = embedder_named,
) -> Likeness:
    """Return what of an index is most like what is wanted: one question to `Similar`, whose parameters these are."""
    asking = Similar(index, model, embedder)
    return asking.ask(wanted, top=top, only=only, among=among, one_per_document=one_per_document, without=without)


def likeness_as_dict(found: Likeness) -> dict[str, Any]:
    """Return an answer in plain JSON types."""
    return {
        "model": found.model,
        "seconds": round(found.seconds, 4),
        "alike": [
            {
                "rank": one.rank,
                "image": one.image,
                "page": one.page,
                "region": None if one.region is None else [round(edge, 1) for edge in one.region.as_list()],
                "kind": one.kind,
                "likeness": round(one.likeness, 4),
                "path": one.path,
            }
            for one in found.alike
        ],
    }


class Similar:
    """Answers what of an index is like something, by one model.

    Parameters
    ----------
    index : Index
    model : str, optional
        Name of a model that the index was embedded with; the only one by default.
    embedder : callable
        Returns the embedder of a name, for who keeps them.

    Attributes
    ----------
    vectors : Vectors

    Raises
    ------
    InputError
        If there are no vectors.
    """

    def __init__(
        self, index: Index, model: str | None = None, embedder: Callable[[str], Embedder] = embedder_named
    ) -> None:
        self._index = index
        self._made = embedder
        self.vectors = vectors_of(index, model)
        self._own: set[int] = set()

    def ask(
        self,
        wanted: Wanted,
        *,
        top: int = 20,
        only: frozenset[int] | None = None,
        among: Among = "all",
        one_per_document: bool = False,
        without: frozenset[int] = frozenset(),
    ) -> Likeness:
        """Return what is most like what is wanted, without the examples themselves.

        Parameters
        ----------
        wanted : Wanted
        top : int
            How many answers, at the most.
        only : set of int, optional
            Ids of the images that may be answered, as of `Index.select`; by default all.
        among : {'all', 'images', 'regions'}
            Whether whole images, regions or both are answered.
        one_per_document : bool
            Whether to answer only the best of each file with several pages, or else of each folder.
        without : set of int
            Ids of images that are not answered.

        Raises
        ------
        InputError
            If an example cannot be read, or the model does not see words or colours.
        SettingsMismatch
            If this calque, with the weights it finds, makes other vectors than the index has.
        """
        started = time.perf_counter()
        if not (wanted.right or wanted.texts or wanted.colours):
            raise InputError("nothing is asked for; give a picture that is like it, words or a colour")
        self._own.clear()
        query = self._direction(wanted)
        vectors = self.vectors
        allowed = np.ones(len(vectors), np.bool_)
        if only is not None:
            allowed &= np.isin(vectors.image_ids, np.fromiter(only, np.int64, len(only)))
        if without:
            allowed &= ~np.isin(vectors.image_ids, np.fromiter(without, np.int64, len(without)))
        if among != "all":
            allowed &= vectors.whole == (among == "images")
        allowed[list(self._own)] = False
        documents = _documents(self._index) if one_per_document else None
        alike = tuple(self._answers(_best(vectors, query, top, allowed, documents)))
        return Likeness(vectors.model.name, alike, time.perf_counter() - started)

    @cached_property
    def _embedder(self) -> Embedder:
        made = self._made(self.vectors.model.name)
        if made.signature != self.vectors.model.signature:
            self.vectors = vectors_of(self._index, self.vectors.model.name, made.signature)  # explains what differs
        return made

    def _direction(self, wanted: Wanted) -> NDArray[np.float32]:
        """Return the direction, float32 (size,), in which what is wanted lies."""
        parts = []
        if wanted.right:
            right = np.stack([self._vector(example) for example in wanted.right])
            wrong = [self._vector(example) for example in wanted.wrong]
            bad = np.stack(wrong) if wrong else np.empty((0, self.vectors.model.size), np.float32)
            parts.append(direction(right, bad, self._background))
        elif wanted.wrong:
            raise InputError("pictures that it is not are known, but none that it is; give one")
        if wanted.texts:
            parts.append(self._of_texts(wanted.texts, wanted.language))
        if wanted.colours:
            parts.append(self._of_colours(wanted.colours))
        return unit(np.sum(parts, axis=0)[None]).ravel()

    def _answers(self, chosen: Sequence[tuple[int, float]]) -> Iterator[Alike]:
        """Yield what vectors of these numbers, with their likeness, are of."""
        for rank, (number, likeness) in enumerate(chosen, start=1):
            record = self._index.image(int(self.vectors.image_ids[number]))
            box = tuple(self.vectors.boxes[number].tolist())
            region, kind = None, ""
            if box != WHOLE:
                region = Region(*box)
                kind = next((z.kind for z in self._index.regions(record.id) if tuple(z.box.as_list()) == box), "")
            yield Alike(rank, record.name, record.path, record.page, region, kind, likeness)

    def _background(self) -> NDArray[np.float32]:
        """Return vectors of the collection, float32 (n, size): the same ones whenever it is asked again."""
        count = len(self.vectors)
        return self.vectors.gather(np.unique(np.linspace(0, count - 1, min(count, _BACKGROUND)).astype(np.intp)))

    def _vector(self, example: Example) -> NDArray[np.float32]:
        box = WHOLE if example.region is None else tuple(example.region.as_list())
        path, page = example.image, example.page
        record = self._index.find(path, page)
        if record is None and not path.exists():
            record = self._index.named(str(path), page)
        if record is not None:
            path = Path(record.path)
            number = self.vectors.find(record.id, box)
            if number is not None:
                self._own.add(number)
                if _is_unchanged(record):
                    return self.vectors.gather(np.array([number])).ravel()
        return self._embedder.embed(cuts(path, page, [box], self._embedder.long_side)).ravel()

    def _of_texts(self, texts: Sequence[str], language: str) -> NDArray[np.float32]:
        embedder = self._embedder
        if not isinstance(embedder, TextEmbedder):
            raise InputError(
                f"the model {self.vectors.model.name} does not see words; embed with clip, siglip or openclip, and "
                "name it with --model"
            )
        return unit(embedder.embed_texts(prompted(texts, language)).mean(axis=0)[None]).ravel()

    def _of_colours(self, colours: Sequence[tuple[int, int, int]]) -> NDArray[np.float32]:
        if not isinstance(self._embedder, Palette):
            raise InputError(
                f"the model {self.vectors.model.name} is not asked by colours; embed with palette, and name it with "
                "--model palette"
            )
        return self._embedder.of_colours(np.array(colours, np.uint8))


def _is_unchanged(record: ImageRecord) -> bool:
    try:
        now = Path(record.path).stat()
    except OSError:
        return True  # what was embedded is all that is left of it
    return (now.st_size, now.st_mtime_ns) == (record.n_bytes, record.mtime_ns)


def _best(
    vectors: Vectors,
    query: NDArray[np.float32],
    top: int,
    allowed: NDArray[np.bool_],
    documents: Mapping[int, str] | None,
) -> list[tuple[int, float]]:
    """Return the numbers of the nearest vectors, and their likeness; of each document only the best, where given."""
    nearest = Nearest(vectors)
    many = top
    while True:
        numbers, likeness = nearest.search(query, many, allowed)
        pairs = list(zip(numbers.tolist(), likeness.tolist(), strict=True))
        if documents is not None:
            ids = vectors.image_ids
            best: dict[str, tuple[int, float]] = {}
            for number, near in pairs:
                best.setdefault(documents[int(ids[number])], (number, near))
            pairs = list(best.values())
        if len(pairs) >= top or len(numbers) < many:
            return pairs[:top]
        many *= 4


def _documents(index: Index) -> dict[int, str]:
    """Return the document of each image, by its id: the file where it has several pages here, or else the folder."""
    records = [(record.id, record.path) for record in index.images()]
    pages = Counter(path for _, path in records)
    return {image_id: path if pages[path] > 1 else str(PurePath(path).parent) for image_id, path in records}

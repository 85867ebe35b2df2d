"""A small library for the campaign of crashes: drawn pictures, files that change, what an index should hold of them.

Everything is calque's own: files are read, features extracted and searched for as always, only the pictures are small.
So what an index answers after a crash can be told beforehand, to the last image.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from index.answers import Query
from index.embedding import embed
from index.groups import groups
from index.intake import default_encoder
from index.layout_journal import LayoutJournal, plain_region
from index.layouts import PageLayout, segment, signature_of
from index.links import Links, find_links
from index.search import search
from index.store import Index
from index.tracing import Journal, photos_of, trace
from index.vectors import VECTORS, vectors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from index.encoding import EncodedImage
    from index.settings import Settings
    from matcher.layout import Layout

__all__ = [
    "EMBEDDER",
    "PICTURES",
    "SEGMENTER",
    "Content",
    "World",
    "Wrong",
    "content_of",
    "encoded",
    "layouts_of",
    "links_of",
]

PICTURES = 8
"""How many pictures there are; each in any number of printings."""

SEGMENTER = "classical"
"""What finds the layouts: the quickest that comes with calque."""

EMBEDDER = "structure"
"""What makes the vectors."""

_SIDE = 144
_SURE = 1e-3


class Wrong(Exception):
    """What an index holds or answers is not what it should."""


class Content(NamedTuple):
    """What a file shows: a picture, in one of its printings."""

    picture: int
    printing: int


@functools.cache
def content_of(picture: int, printing: int) -> bytes:
    """Return the PNG file of one printing of a picture."""
    random = np.random.default_rng(picture)
    drawn = np.full((_SIDE, _SIDE), 128, np.uint8)
    for _ in range(70):
        centre, axes = random.integers(0, _SIDE, 2).tolist(), random.integers(3, 20, 2).tolist()
        angle, tone = int(random.integers(180)), int(random.integers(256))
        cv2.ellipse(drawn, centre, axes, angle, 0, 360, tone, -1, cv2.LINE_AA)
    grain = np.random.default_rng((picture, printing)).normal(0, 3, drawn.shape)
    return cv2.imencode(".png", np.clip(drawn + grain, 0, 255).astype(np.uint8))[1].tobytes()


@functools.cache
def _by_digest() -> dict[bytes, Content]:
    return {}


def _digest(content: Content) -> bytes:
    digest = hashlib.blake2b(content_of(*content), digest_size=16).digest()
    _by_digest()[digest] = content
    return digest


@functools.cache
def _encoder(settings: Settings) -> Any:
    return default_encoder(Path(), settings)


def _of_file(content: Content, look: Callable[[Path], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture.png")
        path.write_bytes(content_of(*content))
        return look(path)


@functools.cache
def encoded(content: Content, settings: Settings) -> EncodedImage:
    """Return what an index of these settings stores of a file."""
    return _of_file(content, lambda path: _encoder(settings).encode(path, 0))


@functools.cache
def _layout(content: Content) -> Layout:
    return _of_file(content, lambda path: next(iter(segment([path], SEGMENTER, workers=0))).layout)


@dataclass(slots=True)
class World:
    """A folder of files and an index of them, beside what both should hold.

    Attributes
    ----------
    folder : Path
        Holds ``scans`` and the index.
    disk : dict of str to Content
        What lies in ``scans``, by name.
    model : dict of str to Content, or None
        What the index holds; None as long as its creation has not been acknowledged.
    notes : dict of str to str
        Metadata that has been acknowledged, by name.
    judged : int
        Judgements that have been acknowledged.
    """

    folder: Path
    random: np.random.Generator
    disk: dict[str, Content] = field(default_factory=dict)
    model: dict[str, Content] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    judged: int = 0
    clock: int = 1_000_000_000

    @property
    def scans(self) -> Path:
        """Where the files are."""
        return self.folder / "scans – 図"

    @property
    def path(self) -> Path:
        """Where the index is."""
        return self.folder / "indéx of scans.calque"

    def change_files(self, many: int) -> None:
        """Write new files and change old ones, `many` in all."""
        for _ in range(many):
            picture, printing = int(self.random.integers(PICTURES)), int(self.random.integers(1000))
            names = sorted(self.disk)
            if names and self.random.random() < 0.3:
                name = names[int(self.random.integers(len(names)))]
            else:
                name = f"Blatt {picture}/{int(self.random.integers(100)):02d} é.png"
            path = self.scans / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content_of(picture, printing))
            self.clock += 1_000_000_000
            os.utime(path, ns=(self.clock, self.clock))
            self.disk[name] = Content(picture, printing)

    def held(self) -> dict[str, Content]:
        """Return what the index holds, having compared its every byte with what it should be made of.

        Raises
        ------
        Wrong
            If it has no integrity, or features other than those of its files.
        """
        known = {_digest(content): content for content in {*self.disk.values(), *(self.model or {}).values()}}
        with Index.open(self.path) as opened:
            if problems := opened.check(deep=True):
                raise Wrong(f"check: {problems[0].what}")
            found = {}
            for record in opened.images():
                content = known.get(record.digest) or _by_digest().get(record.digest)
                if content is None:
                    raise Wrong(f"{record.name} has a digest of no file that there was")
                expected, got = encoded(content, opened.settings), opened.gather(record.id)
                if any(not np.array_equal(getattr(got, name), getattr(expected, name)) for name in got._fields):
                    raise Wrong(f"{record.name} has other features than its file")
                if record.n_features != len(expected.words):
                    raise Wrong(f"{record.name} has another number of features than its file")
                found[self._name(record.path)] = content
        return found

    def ask(self, many: int) -> None:
        """Search for other printings; `Wrong` unless exactly those of their pictures are found that the index holds."""
        assert self.model is not None
        pictures = sorted({content.picture for content in self.model.values()})
        for picture in self.random.permutation(pictures)[:many].tolist():
            content = Content(picture, int(self.random.integers(1000)))
            self._compare("search", content, _of_file(content, self._found))

    def _found(self, query: Path) -> list[str]:
        with Index.open(self.path) as opened:
            (answer,) = search(opened, [Query("", query)], max_false_alarms=_SURE, threads=1)
            return sorted({self._name(hit.path) for hit in answer.hits})

    def _compare(self, what: str, content: Content, found: Sequence[str]) -> None:
        wanted = sorted(name for name, other in (self.model or {}).items() if other.picture == content.picture)
        if list(found) != wanted:
            raise Wrong(f"{what} for picture {content.picture} finds {found}, should find {wanted}")

    def sweep(self) -> None:
        """Become the writer for a moment; `Wrong` if anything that a killed one left stays behind."""
        with Index.open(self.path, writable=True) as opened:
            if left := opened.info()["leftover_bytes"]:
                raise Wrong(f"{left} bytes are left behind")
        # What a killed `embed` left among the vectors the next one sweeps.
        if hidden := [file for file in self.path.rglob(".*") if VECTORS not in file.parts]:
            raise Wrong(f"{hidden[0]} is left behind")

    def notes_held(self) -> tuple[dict[str, str], int]:
        """Return the metadata and the number of judgements in the index."""
        with Index.open(self.path) as opened:
            told = {self._name(opened.image(i).path): known["note"] for i, known in opened.all_metadata().items()}
            return told, len(opened.judgements())

    def grouped(self) -> None:
        """Bring the index up to date and go on finding links; `Wrong` unless groups are the printings of a picture."""
        self._bring_up_to_date()
        links_of(self.path)
        with Index.open(self.path) as opened, Links(self.path) as links:
            made = groups(opened, links, furniture=None).groups
        got = sorted(sorted({self._name(member.image.path) for member in group.members}) for group in made)
        by_picture: dict[int, list[str]] = {}
        for name, content in sorted((self.model or {}).items()):
            by_picture.setdefault(content.picture, []).append(name)
        wanted = sorted(names for names in by_picture.values() if len(names) > 1)
        if got != wanted:
            raise Wrong(f"groups are {got}, should be {wanted}")

    def traced(self, folder: Path) -> None:
        """Go on tracing; `Wrong` unless every file is found on the printings of its picture."""
        with Index.open(self.path) as opened, Journal(folder, opened, max_false_alarms=_SURE) as journal:
            photos, _ = photos_of(self.scans)
            for photo, answer in zip(
                photos, trace(opened, photos, journal, max_false_alarms=_SURE, threads=1), strict=True
            ):
                content = self.disk[self._name(str(photo.path))]
                self._compare("trace", content, sorted({self._name(hit.path) for hit in answer.hits}))

    def segmented(self, folder: Path) -> None:
        """Go on segmenting; `Wrong` unless every file has the layout that it has by itself."""
        for name, layout in layouts_of(self.scans, folder):
            wanted = _layout(self.disk[self._name(name)])
            told, known = ([plain_region(region) for region in each.regions] for each in (layout, wanted))
            if told != known or not np.array_equal(layout.labels, wanted.labels):
                raise Wrong(f"{name} has another layout than by itself")

    def embedded(self) -> None:
        """Bring the index up to date and go on embedding; `Wrong` unless vectors are those of a run that ends."""
        self._bring_up_to_date()
        made = []
        for path in (self.path, self.folder / "embedded anew"):
            if path != self.path:
                shutil.copytree(self.path, path, ignore=shutil.ignore_patterns(VECTORS, "lock"))
            with Index.open(path) as opened:
                embed(opened, EMBEDDER, workers=0)
                if problems := opened.check(deep=True):
                    raise Wrong(f"check: {problems[0].what}")
                if hidden := list(path.rglob(".*")):
                    raise Wrong(f"{hidden[0]} is left behind")
                found = vectors_of(opened)
                rows = found.gather([found.find(record.id) for record in opened.images()])
                made.append(rows)
        shutil.rmtree(path)
        if len(made[0]) != len(self.model or {}) or not np.array_equal(*made):
            raise Wrong("vectors are others than those of a run that ends at once")

    def _bring_up_to_date(self) -> None:
        with Index.open(self.path, writable=True) as opened:
            opened.add([self.scans], workers=0)
        self.model = (self.model or {}) | self.disk

    def _name(self, path: str) -> str:
        return Path(path).relative_to(self.scans.resolve()).as_posix()


def links_of(path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Find all links of an index that are not known yet."""
    with Index.open(path) as opened, Links(path) as links:
        find_links(opened, links, max_false_alarms=_SURE, threads=1, progress=progress)


def layouts_of(scans: Path, folder: Path) -> Iterator[tuple[str, Layout]]:
    """Yield path and layout of every file, kept by a journal in `folder`."""
    with LayoutJournal(folder, signature_of(SEGMENTER)) as journal:
        for page in segment([scans], SEGMENTER, journal=journal, workers=0):
            if not isinstance(page, PageLayout):
                raise Wrong(f"{page} cannot be segmented")
            yield str(page.item.path), page.layout

"""What an index holds, read from one state of its catalogue and the segments that it lists."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from index._hdf5 import REMEDY, DamagedSegment
from index.checksums import differing
from index.derived import damaged_derived
from index.detections import facts_of_detections
from index.folder import SegmentFolder
from index.intake import stored_vocabulary
from index.reports import Problem
from index.segment import Segment, StoredFeatures
from index.snapshot import faults, holdings, map_segments
from index.vectors import EMBED_AGAIN, counted_vectors, damaged_vectors
from index.where import parse, select
from matcher.registry import name_in
from matcher.significance import SHIPPED_LAW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from index.annotations import Judgement, Zone
    from index.catalogue import Catalogue, Failure, ImageRecord
    from index.detections import KnownDetection
    from index.settings import Settings
    from index.vocabulary import Vocabulary
    from index.where import Condition

__all__ = ["CATALOGUE", "RESTORE", "SEGMENTS", "Contents"]

CATALOGUE = "catalogue.sqlite"
"""Name of the catalogue in an index's folder."""

RESTORE = "restore it from a copy, or run: calque check --repair, which keeps what can be read of it"
"""What to do about a damaged catalogue."""

SEGMENTS = "segments"
"""Name of the folder of segments in an index's folder."""


class Contents:
    """All that can be asked of an index; `index.store.Index` is made of it and of what changes an index.

    Attributes
    ----------
    path : Path
        The index's folder.
    settings : Settings
        What it was made with.
    """

    def __init__(self, path: Path, catalogue: Catalogue, damaged: bool) -> None:
        self.path = path
        self.settings: Settings = catalogue.settings
        self._catalogue = catalogue
        self._files = SegmentFolder(path / SEGMENTS, catalogue)
        self._damaged_allowed = damaged
        self._segments: list[Segment] | None = None
        self._damaged: dict[str, str] = {}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary that the index was made with; `SettingsMismatch` if this calque does not have it."""
        return stored_vocabulary(self.path, self.settings)

    @property
    def catalogue(self) -> Catalogue:
        """Its catalogue, for who copies it."""
        return self._catalogue

    @property
    def calibrated(self) -> bool:
        """Whether the law of chance was measured with its vocabulary."""
        return self.vocabulary.law is not None

    @property
    def caveat(self) -> str:
        """What is to be known of the false alarms that searches claim; nothing with the vocabulary of calque."""
        law = self.vocabulary.law
        if law is None:
            return "with a vocabulary of its own an index gives more false alarms than it claims"
        if law not in (SHIPPED_LAW, law.held_to(SHIPPED_LAW)):
            return "an earlier calque measured the index's vocabulary, and claimed too few false alarms; train it again"
        if name_in(self.vocabulary.features) != "sift":
            return "features of networks agree along straight lines, too: a few hits claimed as surest may be chance"
        return ""

    @property
    def state(self) -> tuple[int, int]:
        """What tells the images that are in from those of another time: their number, and the next one's id."""
        return self.n_images, self._catalogue.next_id

    @property
    def n_images(self) -> int:
        """How many images are in."""
        return self._catalogue.n_images

    @property
    def segments(self) -> Sequence[Segment]:
        """The segments, mapped; ``alive`` tells which of their images are in."""
        if self._segments is None:
            self._segments = self._mapped()
        return self._segments

    def refresh(self) -> None:
        """Let a reader see the index as it is now."""
        if not self._catalogue.writable:
            self._catalogue.refresh()
        self._segments = self._mapped()

    def image(self, image_id: int) -> ImageRecord:
        """Return the image with a catalogue id; `KeyError` if there is none."""
        record = self._catalogue.image(image_id)
        if record is None:
            raise KeyError(image_id)
        return record

    def find(self, path: Path, page: int = 0) -> ImageRecord | None:
        """Return the image of a page of a file, None if it is not in."""
        return self._catalogue.find(str(path.resolve()), page)

    def unchanged(self, path: Path, page: int = 0) -> ImageRecord | None:
        """Return the image of a page of a file, None if it is not in, or not as it is now."""
        record = self.find(path, page)
        try:
            now = path.stat()
        except OSError:
            return None
        same = record is not None and (record.n_bytes, record.mtime_ns) == (now.st_size, now.st_mtime_ns)
        return record if same else None

    def named(self, name: str, page: int = 0) -> ImageRecord | None:
        """Return a page of the image called `name`, as it was found under its source, None if there is none."""
        return self._catalogue.named(name, page)

    def neighbours(self, image_id: int, many: int) -> list[ImageRecord]:
        """Return the scans next to an image: of its folder or document, the nearest by id, at most `many`."""
        return self._catalogue.neighbours(self.image(image_id), many)

    def images(self) -> Iterator[ImageRecord]:
        """Yield all images, ascending by id."""
        return self._catalogue.images()

    def image_ids(self) -> Iterator[int]:
        """Yield the ids of all images, ascending; a tenth of the time that `images` takes."""
        return self._catalogue.image_ids()

    def failures(self) -> list[Failure]:
        """Return the sources that could not be added when they were last tried."""
        return self._catalogue.failures()

    def metadata(self, image_id: int) -> dict[str, str]:
        """Return what is known of an image, by key."""
        return self._catalogue.annotations.metadata(image_id)

    def all_metadata(self) -> dict[int, dict[str, str]]:
        """Return what is known of all images, by id; those of which nothing is known are left out."""
        return dict(self._catalogue.annotations.all_metadata())

    def select(self, where: str) -> frozenset[int]:
        """Return the ids of the images for which a condition holds, such as ``date < 1920 and title ~ 'vogue'``.

        Raises
        ------
        InputError
            If it is no condition as `index.where` describes them, or names a key that no image has.
        """
        condition = parse(where)
        chosen = select(condition, self.images(), self.all_metadata(), self.things(condition))
        return frozenset(record.id for record in chosen)

    def things(self, condition: Condition) -> dict[int, list[dict[str, str]]] | None:
        """Return what `index.where.select` wants to know of things; None if nothing, or none were looked for."""
        if not condition.asks_of_things or not self.images_looked_at():
            return None
        known = dict(self._catalogue.detections.all(outlines=False))
        return {
            record.id: facts_of_detections(known[record.id], record.width, record.height)
            for record in self.images()
            if record.id in known
        }

    def regions(self, image_id: int) -> list[Zone]:
        """Return the zones known of an image: what is a picture on it, what is text."""
        return self._catalogue.annotations.regions(image_id)

    def detections(self, image_id: int) -> list[KnownDetection]:
        """Return the things that are known to be on an image, as they count (`index.detections`)."""
        return self._catalogue.detections.counting(image_id)

    def all_detections(self) -> Iterator[tuple[int, list[KnownDetection]]]:
        """Yield the id of each image on which things are known, ascending, and those that count."""
        return self._catalogue.detections.all()

    def images_looked_at(self) -> set[int]:
        """Return the ids of the images on which things have been looked for."""
        return self._catalogue.detections.images()

    def looked_for(self, origin: str) -> dict[int, dict[str, float]]:
        """Return, by image, what a detector with a signature has looked for, and down to which score."""
        return dict(self._catalogue.detections.all_looked_for(origin))

    def all_regions(self) -> Iterator[tuple[int, list[Zone]]]:
        """Yield the id and the zones, without their outlines, of each image that has any, ascending by id."""
        return self._catalogue.annotations.all_regions()

    def looked_for_on(self, image_id: int, origin: str) -> dict[str, float]:
        """Return what a detector with a signature has looked for on an image, and down to which score."""
        return self._catalogue.detections.looked_for(image_id, origin)

    def judgements(self) -> list[Judgement]:
        """Return what persons have said of pairs of pictures, the oldest first."""
        return self._catalogue.annotations.judgements()

    def gather(self, image_id: int) -> StoredFeatures:
        """Return the features of an image, sorted by word; `KeyError` if there is no such image."""
        name = self.image(image_id).segment
        for segment in self.segments:
            if segment.name == name:
                return segment.gather(segment.local(image_id))
        return StoredFeatures.none(self.settings)

    def info(self) -> dict[str, Any]:
        """Return what the index holds, in plain types."""
        held = holdings(self._catalogue, self._files)
        vectors = counted_vectors(self.path)
        return {"path": str(self.path), **held, "vectors": vectors, "settings": self.settings.to_dict()}

    def check(self, deep: bool = False) -> list[Problem]:
        """Return what is wrong with the index, nothing if all is well.

        Parameters
        ----------
        deep : bool
            Whether to read every byte and compare its checksum.
        """
        catalogue = self.path / CATALOGUE
        found = [
            *((catalogue, text, RESTORE) for text in self._catalogue.problems(deep)),
            *((self._files.file(name), text, REMEDY) for name, text in self._faulty(deep)),
            *((path, text, EMBED_AGAIN) for path, text in damaged_vectors(self.path, deep)),
            *damaged_derived(self.path, deep),
        ]
        if deep and not any(path == catalogue for path, _, _ in found):
            others = differing(catalogue, self._catalogue.transactions)
            found += [(path, text, RESTORE) for path, text in others if path.parent != self._files.path]
        names: dict[str | None, list[str]] = defaultdict(list)
        if found:
            for record in self._catalogue.images():
                names[record.segment].append(record.name)
        touched = {self._files.file(segment): tuple(images) for segment, images in names.items() if segment}
        return [Problem("error", f"{path}: {text}", remedy, touched.get(path, ())) for path, text, remedy in found]

    def _faulty(self, deep: bool) -> Iterator[tuple[str, str]]:
        """Yield the names of segments and what is wrong with them."""
        found = list(faults(self._catalogue, self.segments, self._damaged, deep))
        yield from found
        if deep:
            known = {name for name, _ in found}
            for path, text in differing(self._catalogue.path, self._catalogue.transactions):
                if path.parent == self._files.path and path.stem not in known:
                    yield path.stem, text

    def _mapped(self) -> list[Segment]:
        """Map the segments of one state of the catalogue."""
        segments, damaged = map_segments(self._catalogue, self._files.file)
        if damaged and not self._damaged_allowed:
            name, text = next(iter(damaged.items()))
            raise DamagedSegment(self._files.file(name), text)
        self._damaged = damaged
        return segments

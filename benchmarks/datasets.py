"""The image sets with ground truth, read into one typed form.

The data is not part of the package: it is looked for in the folder named by the environment variable ``CALQUE_DATA``,
else in ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from index.evaluation import Place, TruthQuery
from matcher.errors import InputError
from matcher.types import Region

__all__ = ["NAMES", "PARTS", "Dataset", "Place", "TruthQuery", "data_folder", "load"]

NAMES = ("blocks", "alice", "magazine", "all")
PARTS = ("dev", "test", "all")

# The two editions of one book that 16 of the 27 woodblocks come from: near copies of each other, so told apart.
_TWO_EDITIONS = "LesFaictzJCH"
# The boxes of blocks.json are drawn by hand and loose: two of them overlapping this much mean the same print.
_SAME_BOX = 0.5


@dataclass(frozen=True, slots=True)
class Dataset:
    """A collection to index and the queries to ask of it; files are named relative to `root`."""

    name: str
    root: Path
    images: tuple[str, ...]
    queries: tuple[TruthQuery, ...]

    def path(self, image: str) -> Path:
        """Return where the file named `image` lies."""
        return self.root / image

    def part(self, name: str) -> Dataset:
        """Return the set with the queries of one part only; the collection stays whole.

        Raises
        ------
        InputError
            If `name` is none of ``dev``, ``test``, ``all``.
        """
        if name not in PARTS:
            raise InputError(f"no part called {name!r}: choose one of {', '.join(PARTS)}")
        return replace(self, queries=tuple(q for q in self.queries if name in ("all", q.part)))


def data_folder() -> Path:
    """Return the folder that holds the image sets.

    Raises
    ------
    InputError
        If there is none; the message says how to name one.
    """
    named = os.environ.get("CALQUE_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; set CALQUE_DATA to the one that holds pages/, alice/, magazine/")
    return folder


def load(name: str, part: str = "all", folder: Path | None = None) -> Dataset:
    """Return one image set.

    Parameters
    ----------
    name : str
        ``blocks``, ``alice``, ``magazine``, or ``all``: the three in one collection, with all other pages and the
        pictures of ``various/`` as distractors.
    part : str
        ``dev``, ``test`` or ``all``: which queries.
    folder : Path, optional
        Where the data lies; by default `data_folder`.

    Raises
    ------
    InputError
        If the name or the part is unknown, or the data is not there.
    """
    root = data_folder() if folder is None else folder
    if name == "blocks":
        return _blocks(root).part(part)
    if name in ("alice", "magazine"):
        return _pictures(root, name).part(part)
    if name == "all":
        return _everything(root).part(part)
    raise InputError(f"no image set called {name!r}: choose one of {', '.join(NAMES)}")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; set CALQUE_DATA to the folder of the image sets") from error


def _place(prefix: str, record: dict[str, Any]) -> Place:
    """Return the place of a record. The truth marks a box that nobody could verify by an empty one: it is unknown."""
    box = record["region"]
    known = box is not None and box[2] > 0 and box[3] > 0
    return Place(prefix + record["image"], Region(*map(float, box)) if known else None)


def _pictures(root: Path, name: str) -> Dataset:
    truth = _read(root / name / "groundtruth.json")
    prefix = f"{name}/"
    queries = tuple(
        TruthQuery(
            id=record["id"],
            place=_place(prefix, record),
            part=record["part"],
            groups=(),
            positives=tuple(_place(prefix, p) for p in record["positives"]),
            ignored=frozenset(prefix + image for image in [record["image"], *record["ignore"]]),
        )
        for record in truth["queries"]
    )
    return Dataset(name, root, tuple(prefix + image for image in truth["database"]), queries)


def _same(place: Place, other: Place) -> bool:
    if place.image != other.image or place.region is None or other.region is None:
        return False
    return place.region.iou(other.region) >= _SAME_BOX


def _partners(place: Place, pairs: list[tuple[Place, Place]]) -> tuple[Place, ...]:
    """Return what `pairs`, read both ways, join to `place`."""
    both_ways = pairs + [(b, a) for a, b in pairs]
    return tuple(b for a, b in both_ways if _same(a, place))


def _blocks(root: Path) -> Dataset:
    prefix = "pages/"
    truth = _read(root / "pages" / "blocks.json")
    images = tuple(prefix + image for image in truth["database"])
    unsure, different = (
        [(_place(prefix, a), _place(prefix, b)) for a, b in truth[key]] for key in ("unsure", "different_blocks")
    )
    queries = []
    for record in truth["queries"]:
        place = _place(prefix, record)
        editions = "two editions" if _TWO_EDITIONS in place.image else "other books"
        queries.append(
            TruthQuery(
                id=record["id"],
                place=place,
                part=record["part"],
                groups=(record["kind"], editions),
                positives=tuple(_place(prefix, p) for p in record["positives"]),
                ignored=frozenset([place.image]),
                unsure=_partners(place, unsure),
                different=_partners(place, different),
            )
        )
    queries += _look_alikes(root, different)
    return Dataset("blocks", root, images, tuple(queries))


def _look_alikes(root: Path, pairs: list[tuple[Place, Place]]) -> list[TruthQuery]:
    """Return a query for each end of each pair of different blocks, of which only the other end is judged."""
    parts = {"pages/" + page["image"]: page["part"] for page in _read(root / "pages" / "layout.json")}
    return [
        TruthQuery(
            id=f"different{number:03d}-{end}",
            place=place,
            part=parts[place.image],
            groups=("different blocks",),
            positives=(),
            ignored=frozenset([place.image]),
            different=(other,),
        )
        for number, (a, b) in enumerate(pairs)
        for end, (place, other) in enumerate([(a, b), (b, a)])
    ]


def _everything(root: Path) -> Dataset:
    sets = [_blocks(root), _pictures(root, "alice"), _pictures(root, "magazine")]
    known = [image for one in sets for image in one.images]
    everything = sorted(
        path.relative_to(root).as_posix()
        for folder in ("pages/images", "various")
        for path in (root / folder).glob("*.*")
    )
    distractors = [image for image in everything if image not in set(known)]
    return Dataset(
        "all",
        root,
        (*known, *distractors),
        tuple(
            replace(query, id=f"{one.name}/{query.id}", groups=(one.name, *query.groups))
            for one in sets
            for query in one.queries
        ),
    )

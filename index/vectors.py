"""The vectors of the images of an index, and of the pictures on them, by the model that made them.

``vectors/vectors.sqlite`` says which files are in: a file is written whole, then one transaction makes it visible.
Which of its rows count is for the catalogue to say: those of images that are in, as they are now (ids are never used
twice), and of regions that are still there. So what is removed from an index is out of its vectors in the same
instant; its rows are left behind when files are merged. One writer, many readers, as of the index itself.
"""

from __future__ import annotations

from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index._sqlite import Database
from index.checksums import differing
from index.regions import counting
from index.vector_files import SUFFIX, DamagedVectors, Rows, VectorFile
from matcher.errors import CorruptIndex, InputError, SettingsMismatch
from matcher.layout import PICTURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from index.contents import Contents

__all__ = [
    "EMBED_AGAIN",
    "VECTORS",
    "VERSION",
    "WHOLE",
    "Living",
    "StoredModel",
    "Vectors",
    "counted_vectors",
    "damaged_vectors",
    "database_of",
    "file_of",
    "models_in",
    "stored_models",
    "vectors_in",
    "vectors_of",
]

VECTORS = "vectors"
"""Name, in an index's folder, of the folder of vectors, and of the database in it."""

EMBED_AGAIN = "restore it from a copy, or run: calque check --repair, then calque embed again"
"""What to do about a damaged file of vectors."""

WHOLE = (0.0, 0.0, 0.0, 0.0)
"""The box that stands for all of an image."""

VERSION = 1
"""Version of the database."""


class StoredModel(NamedTuple):
    """A model of which an index has vectors: see `stored_models`.

    `name` as it was asked for; `signature` and `size` of the embedder; `folder` of its files in that of all vectors.
    """

    id: int
    name: str
    signature: str
    size: int
    folder: str


class Living:
    """What an index holds, as it is open: which rows of vectors count.

    Attributes
    ----------
    image_ids : int64, shape (n,)
        Ids of its images, ascending.
    """

    def __init__(self, index: Contents) -> None:
        self._index = index
        self.image_ids = np.fromiter(index.image_ids(), np.int64)

    @cached_property
    def regions(self) -> Mapping[int, frozenset[tuple[float, ...]]]:
        """The boxes, x, y, width, height, of the pictures on each image that has any, by its id."""
        found = {}
        for image_id, zones in self._index.all_regions():
            boxes = frozenset(tuple(zone.box.as_list()) for zone in counting(zones) if zone.kind in PICTURES)
            if boxes:
                found[image_id] = boxes
        return found

    def among(self, rows: Rows) -> NDArray[np.bool_]:
        """Tell which rows are of what is there."""
        alive = np.isin(rows.image_ids, self.image_ids)
        places = np.flatnonzero(alive & rows.boxes.any(axis=1))
        for place, image_id, box in zip(
            places, rows.image_ids[places].tolist(), rows.boxes[places].tolist(), strict=True
        ):
            alive[place] = tuple(box) in self.regions.get(image_id, ())
        return alive


class Vectors:
    """The vectors of one model that an index has, as it is open. Make one with `vectors_of`.

    They are in order: ascending by image, the whole image before its regions.

    Attributes
    ----------
    model : StoredModel
    files : sequence of VectorFile
        Mapped.
    alive : list of bool arrays
        Which rows of each file count.
    image_ids : int64, shape (n,)
        Catalogue ids of the images.
    boxes : float64, shape (n, 4)
        Regions of the images, x, y, width, height in pixels; all zero where it is the whole image.
    places : int64, shape (n, 2)
        Number of the file, and of the row in it.
    """

    def __init__(self, model: StoredModel, files: Sequence[VectorFile], known: Living) -> None:
        self.model = model
        self.files = files
        self.alive = [known.among(file.rows) for file in files]
        pairs = list(zip(files, self.alive, strict=True))
        ids = np.concatenate([np.empty(0, np.int64), *(file.rows.image_ids[alive] for file, alive in pairs)])
        boxes = np.concatenate([np.empty((0, 4)), *(file.rows.boxes[alive] for file, alive in pairs)])
        order = np.lexsort([*boxes.T[::-1], boxes.any(axis=1), ids])
        self.image_ids, self.boxes = ids[order], boxes[order]
        numbers = np.repeat(np.arange(len(files)), [int(alive.sum()) for alive in self.alive])
        rows = np.concatenate([np.empty(0, np.int64), *(np.flatnonzero(alive) for alive in self.alive)])
        self.places = np.column_stack([numbers, rows])[order]

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which are of whole images, bool (n,)."""
        return np.logical_not(self.boxes.any(axis=1))

    def gather(self, which: NDArray | None = None) -> NDArray[np.float32]:
        """Return a copy of the vectors numbered `which`, int (m,), by default of all, float32 (m, size)."""
        places = self.places if which is None else self.places[which]
        vectors = np.empty((len(places), self.model.size), np.float32)
        for number, file in enumerate(self.files):
            here = places[:, 0] == number
            vectors[here] = file.rows.vectors[places[here, 1]]
        return vectors

    def find(self, image_id: int, box: Sequence[float] | None = None) -> int | None:
        """Return the number of the vector of an image, or of the region of it with this very box; None if none is."""
        start, end = np.searchsorted(self.image_ids, [image_id, image_id + 1])
        places = np.flatnonzero((self.boxes[start:end] == np.asarray(box or WHOLE)).all(axis=1))
        return int(start + places[0]) if len(places) else None


def database_of(folder: Path) -> Path:
    """Return where the database of vectors of the index in `folder` lies."""
    return folder / VECTORS / f"{VECTORS}.sqlite"


def file_of(folder: Path, model: StoredModel, name: str) -> Path:
    """Return where a file of vectors of the index in `folder` lies."""
    return folder / VECTORS / model.folder / f"{name}{SUFFIX}"


def stored_models(folder: Path) -> list[StoredModel]:
    """Return the models of which the index in `folder` has vectors, the first one first.

    Raises
    ------
    SettingsMismatch
        If a newer calque wrote them.
    CorruptIndex
        If the database is damaged.
    """
    database = _opened(folder)
    if database is None:
        return []
    with closing(database):
        return models_in(database)


def counted_vectors(folder: Path) -> dict[str, int]:
    """Return how many vectors the index in `folder` has of each model, by name; those of what was removed count too."""
    database = _opened(folder)
    if database is None:
        return {}
    with closing(database):
        rows = database.rows(
            "SELECT models.name, coalesce(sum(n_vectors), 0) FROM models LEFT JOIN files ON model = models.id "
            "GROUP BY models.name ORDER BY min(models.id)"
        )
        return dict(rows)


def models_in(database: Database) -> list[StoredModel]:
    """Return the models in an open database of vectors."""
    return [StoredModel(*row) for row in database.rows("SELECT id, name, signature, size, folder FROM models")]


def vectors_of(index: Contents, model: str | None = None, signature: str | None = None) -> Vectors:
    """Return the vectors of a model that an index has.

    Parameters
    ----------
    index : Index
    model : str, optional
        The model's name, as it was embedded by; the only one there is by default.
    signature : str, optional
        Of the embedder, which must be the one that made them.

    Raises
    ------
    InputError
        If there are none, or `model` is not given and there are several.
    SettingsMismatch
        If another version of the model, or other weights, made them.
    CorruptIndex
        If a file is damaged or missing.
    """
    chosen = _chosen(index.path, stored_models(index.path), model, signature)
    return vectors_in(index.path, chosen, Living(index))


def vectors_in(folder: Path, model: StoredModel, known: Living) -> Vectors:
    """Return the vectors of a model of the index in `folder`, those of what is `known` to be there.

    Raises
    ------
    CorruptIndex
        If a file is damaged or missing.
    """
    with closing(Database(database_of(folder))) as database:
        names: list[str] | None = None
        while True:
            database.refresh()
            before, names = names, _files(database, model)
            try:
                return Vectors(model, [VectorFile.open(file_of(folder, model, name)) for name in names], known)
            except FileNotFoundError as error:
                if names == before:
                    raise DamagedVectors(Path(error.filename), "the file is missing") from error
                # A writer may have merged it away meanwhile: then there is a later state.


def damaged_vectors(folder: Path, deep: bool) -> Iterator[tuple[Path, str]]:
    """Yield the files of vectors of the index in `folder` that are damaged or missing, and why."""
    path = database_of(folder)
    try:
        database = _opened(folder)
        found = [] if database is None else list(_damaged(folder, database, deep))
    except CorruptIndex as error:
        yield path, str(error)
        return
    yield from found
    if deep and path.is_file():
        known = {file for file, _ in found}
        with closing(Database(path)) as whole:
            yield from ((file, text) for file, text in differing(path, whole.transactions) if file not in known)


def _damaged(folder: Path, database: Database, deep: bool) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with the database, which is closed, and with the files that it lists."""
    with closing(database):
        yield from ((database.path, text) for text in database.problems(deep))
        for model in models_in(database):
            for name, n_vectors, n_bytes in database.rows(
                "SELECT name, n_vectors, n_bytes FROM files WHERE model = ? ORDER BY name", model.id
            ):
                path = file_of(folder, model, name)
                try:
                    file = VectorFile.open(path)
                except FileNotFoundError:
                    yield path, "the file is missing"
                    continue
                except DamagedVectors as error:
                    yield path, error.reason
                    continue
                if (len(file), file.n_bytes, file.signature) != (n_vectors, n_bytes, model.signature):
                    yield path, "it is not the file that is listed"
                elif deep and (text := file.verify()):
                    yield path, text


def _opened(folder: Path) -> Database | None:
    path = database_of(folder)
    if not path.is_file():
        return None
    database = Database(path)
    ((version,),) = database.rows("PRAGMA user_version")
    if version > VERSION:
        database.close()
        raise SettingsMismatch(f"{path} was made by a newer calque; upgrade calque")
    if version == 0:  # a writer is just making it, or was killed at it
        database.close()
        return None
    return database


def _files(database: Database, model: StoredModel) -> list[str]:
    return [name for (name,) in database.rows("SELECT name FROM files WHERE model = ? ORDER BY name", model.id)]


def _chosen(folder: Path, models: Sequence[StoredModel], name: str | None, signature: str | None) -> StoredModel:
    if name is None:
        names = list(dict.fromkeys(model.name for model in models))
        if len(names) > 1:
            raise InputError(f"{folder} has vectors of {', '.join(names)}; say of which: --model NAME")
        found = models
    else:
        found = [model for model in models if model.name == name]
    if not found:
        raise _none(folder, name, models)
    if signature is None:
        return found[-1]
    for model in found:
        if model.signature == signature:
            return model
    raise SettingsMismatch(
        f"the vectors of {found[-1].name} in {folder} were made by {found[-1].signature}, but this calque, with the "
        f"weights it finds, makes {signature}; use those that made them, or run: calque embed {folder} "
        f"--model {found[-1].name}"
    )


def _none(folder: Path, name: str | None, models: Sequence[StoredModel]) -> InputError:
    has = f"; it has those of {', '.join(dict.fromkeys(model.name for model in models))}" if models else ""
    return InputError(
        f"{folder} has no vectors{f' of {name}' if name else ''}{has}; make them with: "
        f"calque embed {folder} --model {name or 'NAME'}"
    )

"""A map of a collection: where each picture lies, what is known of it, clusters; and the folder of all that, written.

The folder holds data and thumbnails as scripts, for a page that is opened from the disk; `cli.map_page` adds the page.
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np

from index.durable import replacing
from index.exports import readable
from index.sprites import LARGE, SMALL, Pictured, Sprites, make_sprites
from index.vectors import vectors_of
from index.workers import default_workers
from matcher.arrangement import cloud, grid, timeline, year_of
from matcher.clustering import dense_clusters, k_means, most_typical, usual_number
from matcher.errors import InputError
from matcher.projection import projected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from index.catalogue import ImageRecord
    from index.store import Index
    from matcher.projection import Projection

__all__ = ["DATA_FILE", "SHEETS", "TIME_KEYS", "CollectionMap", "Links", "MapSettings", "make_map", "write_map"]

DATA_FILE = "data.js"
"""Name of the script of all data but the pictures."""

SHEETS = "pictures"
"""Name of the folder of thumbnails."""

TIME_KEYS = ("date", "year", "issued")
"""Keys of the metadata that tell the time where none is named, the first that images have."""

_SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif"}
_EXAMPLES = 5
_ROOM = 1.7
"""Side of the cloud, of that of a grid of as many cells as pictures."""


@dataclass(frozen=True, slots=True)
class MapSettings:
    """How a map is made.

    Attributes
    ----------
    projection : {'umap', 'pca'}
    neighbours : int
        As of `matcher.projection.projected`.
    clusters : int or None
        How many k-means is to find, 0 for none; None finds them by density on a map by UMAP, and a usual number by
        k-means on one of principal components, where density means little.
    seed : int
    colour_by, time : str
        Keys of the metadata that pictures are coloured and ordered in time by; empty ``time``: the first of
        `TIME_KEYS` that there is.
    """

    projection: Projection = "umap"
    neighbours: int = 15
    clusters: int | None = None
    seed: int = 0
    colour_by: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """Where a picture on the map leads to.

    Attributes
    ----------
    kind : {'file', 'images', 'server'}
        The files themselves; images by name below an address; or a `calque serve` of the index.
    address : str
        Of images or server, with a slash at its end.
    index : str
        What the server calls the index.
    """

    kind: Literal["file", "images", "server"] = "file"
    address: str = ""
    index: str = ""


@dataclass(frozen=True, slots=True)
class CollectionMap:
    """What there is to be shown. All arrays have one row for each picture, in the order of the sheets.

    Attributes
    ----------
    title, model : str
    records : list of ImageRecord
    boxes : float64, shape (n, 4)
        Regions of the images; all zero for the whole image.
    metadata : list of dict
    cloud, cells : float32, int32, shape (n, 2)
        Places on the map and in the grid, in cells of side 1.
    columns : int
        Of the grid.
    cluster : int32, shape (n,)
        -1 for what lies between clusters.
    examples : list of int64 arrays
        What is typical of each cluster.
    years : float64, shape (n,)
        NaN where not known.
    settings : MapSettings
        With the key of time that was found.
    """

    title: str
    model: str
    records: list[ImageRecord]
    boxes: NDArray[np.float64]
    metadata: list[dict[str, str]]
    cloud: NDArray[np.float32]
    cells: NDArray[np.int32]
    columns: int
    cluster: NDArray[np.int32]
    examples: list[NDArray[np.int64]]
    years: NDArray[np.float64]
    settings: MapSettings

    def __len__(self) -> int:
        return len(self.records)


def make_map(
    index: Index,
    model: str | None = None,
    settings: MapSettings | None = None,
    *,
    regions: bool = False,
    only: frozenset[int] | None = None,
    told: Callable[[str], None] = lambda step: None,
) -> CollectionMap:
    """Return the map of the images of an index, or of the pictures on them, by the vectors of a model.

    Parameters
    ----------
    index : Index
    model : str, optional
        As of `index.vectors.vectors_of`.
    settings : MapSettings, optional
    regions : bool
        Whether the pictures on pages are shown, rather than whole images.
    only : set of int, optional
        Ids of the images that are meant, by default all.
    told : callable, optional
        Called with what is done next, in words.

    Raises
    ------
    InputError
        If there are no such vectors, or no image has a key that is named.
    MissingDependency
        If UMAP is asked for and not installed.
    """
    settings = settings or MapSettings()
    stored = vectors_of(index, model)
    wanted = np.logical_not(stored.whole) if regions else stored.whole
    if only is not None:
        wanted &= np.isin(stored.image_ids, np.fromiter(only, np.int64))
    which = np.flatnonzero(wanted)
    if not len(which):
        what = "pictures on pages" if regions else "images"
        remedy = f"calque embed {index.path} --model {stored.model.name}{' --regions' if regions else ''}"
        raise InputError(f"{index.path} has no vectors of {stored.model.name} of the {what} asked for; run: {remedy}")
    known = index.all_metadata()
    keys = Counter(key for image in set(stored.image_ids[which].tolist()) for key in known.get(image, {}))
    settings = _with_keys(settings, keys)
    told(f"{len(which)} pictures: projection ({settings.projection})")
    vectors = stored.gather(which)
    points = projected(vectors, settings.projection, neighbours=settings.neighbours, seed=settings.seed)
    told("clusters")
    cluster = _clusters(points, vectors, settings)
    columns = math.ceil(math.sqrt(len(which)))
    cells = grid(points, columns)
    # What is near is on the same sheets: who looks closely needs few of them.
    order = _by_blocks(cells)
    vectors, cluster = vectors[order], cluster[order]
    ids = stored.image_ids[which][order].tolist()
    metadata = [known.get(image, {}) for image in ids]
    records = {record.id: record for record in index.images()}
    return CollectionMap(
        title=index.path.resolve().stem,
        model=stored.model.name,
        records=[records[image] for image in ids],
        boxes=stored.boxes[which][order],
        metadata=metadata,
        cloud=cloud(points[order], columns * _ROOM),
        cells=cells[order],
        columns=columns,
        cluster=cluster,
        examples=[
            most_typical(vectors, np.flatnonzero(cluster == number), _EXAMPLES)
            for number in range(int(cluster.max(initial=-1)) + 1)
        ],
        years=np.array([year_of(values.get(settings.time, "")) for values in metadata], np.float64),
        settings=settings,
    )


def write_map(
    made: CollectionMap,
    folder: Path,
    links: Links,
    target: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Sprites:
    """Write thumbnails and data into a `folder` that is there; links to files hold where `target` will be.

    Parameters
    ----------
    made : CollectionMap
    folder, target : Path
        Where is written, and where that will lie in the end.
    links : Links
    workers : int, optional
        Processes, by default one for each core; 0 uses none.
    progress : callable, optional
        Called with the number of thumbnails that are made.
    """
    sheets = folder / SHEETS
    sheets.mkdir()
    pictures = [
        Pictured(record.path, record.page, tuple(box))
        for record, box in zip(made.records, made.boxes.tolist(), strict=True)
    ]
    workers = default_workers() if workers is None else workers
    sprites = make_sprites(sheets, pictures, workers, progress)
    with replacing(folder / DATA_FILE) as temporary:
        # Plain ASCII: whatever metadata holds, it is text of a string and nothing else.
        text = json.dumps(_document(made, sprites, links, target), separators=(",", ":"), allow_nan=False)
        temporary.write_text(f"calqueData({text});\n", encoding="ascii")
    return sprites


def _with_keys(settings: MapSettings, keys: Counter[str]) -> MapSettings:
    for key in filter(None, (settings.colour_by, settings.time)):
        if key not in keys:
            there = ", ".join(key for key, _ in keys.most_common(12)) or "nothing: none has metadata"
            raise InputError(f"no image of the map has {key!r} in its metadata; there is: {there}")
    found = settings.time or next((key for key in TIME_KEYS if key in keys), "")
    return replace(settings, time=found)


def _clusters(points: NDArray[np.float32], vectors: NDArray[np.float32], settings: MapSettings) -> NDArray[np.int32]:
    if settings.clusters == 0:
        return np.full(len(points), -1, np.int32)
    if settings.clusters is not None:
        return k_means(vectors, settings.clusters)
    if settings.projection == "pca":
        return k_means(vectors, usual_number(len(vectors)))
    return dense_clusters(points)


def _by_blocks(cells: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the order of cells, block by block, each of as many as a sheet of large thumbnails has."""
    side = LARGE.across
    keys = cells[:, 0] % side, cells[:, 1] % side, cells[:, 0] // side, cells[:, 1] // side
    return np.lexsort(keys)


def _document(made: CollectionMap, sprites: Sprites, links: Links, target: Path) -> dict[str, Any]:
    """Return what the page is told, in plain JSON types; arrays as little-endian bytes in base64."""
    order = np.lexsort((made.cells[:, 0], made.cells[:, 1]))
    along = timeline(made.years, order)
    pages, pictures = _addresses(made, links, target)
    return {
        "version": 1,
        "title": made.title,
        "model": made.model,
        "projection": made.settings.projection,
        "count": len(made),
        "sheets": {
            name: {"place": size.place, "side": size.sheet, "files": -(-len(made) // size.places)}
            for name, size in (("small", SMALL), ("large", LARGE))
        },
        "shapes": _packed(sprites.shapes),
        "tones": _packed(sprites.tones),
        "cloud": _packed(made.cloud.astype("<f4")),
        "grid": _packed(made.cells.astype("<u2")),
        "columns": made.columns,
        "time": {
            "key": made.settings.time,
            "years": _packed(made.years.astype("<f4")),
            "places": _packed(along.places.astype("<f4")),
            "ticks": along.ticks,
        },
        "cluster": _packed(made.cluster.astype("<i2")),
        "clusters": [
            {"examples": examples.tolist(), "told": _told(made, number)}
            for number, examples in enumerate(made.examples)
        ],
        "colour_by": made.settings.colour_by,
        "ids": [record.id for record in made.records],
        "names": [readable(record.name) for record in made.records],
        "numbers": [record.page for record in made.records],
        "boxes": None if not made.boxes.any() else [[round(edge, 1) for edge in box] for box in made.boxes.tolist()],
        "fields": _fields(made.metadata),
        "pages": _shortened(pages),
        "pictures": _shortened(pictures),
    }


def _packed(values: NDArray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _told(made: CollectionMap, number: int) -> list[str]:
    """Return what is said of a cluster's pictures much more often than of others, at most two values of metadata."""
    members = np.flatnonzero(made.cluster == number)
    said = Counter(pair for place in members.tolist() for pair in made.metadata[place].items())
    common = [(pair, many) for pair, many in said.most_common(20) if many >= max(3, 0.4 * len(members))]
    if not common:
        return []
    everywhere = Counter(pair for values in made.metadata for pair in values.items())
    lifts = {pair: many / len(members) / (everywhere[pair] / len(made)) for pair, many in common}
    best = sorted((pair for pair in lifts if lifts[pair] >= 1.5), key=lambda pair: -lifts[pair])
    return [value for _, value in best[:2]]


def _fields(metadata: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Return the keys of the metadata, each with its values and which of them each picture has, -1 for none."""
    fields = []
    for key in dict.fromkeys(key for values in metadata for key in values):
        numbers: dict[str, int] = {}
        codes = np.full(len(metadata), -1, "<i4")
        for place, values in enumerate(metadata):
            if key in values:
                codes[place] = numbers.setdefault(values[key], len(numbers))
        fields.append({"key": key, "values": list(numbers), "codes": _packed(codes)})
    return fields


def _addresses(made: CollectionMap, links: Links, target: Path) -> tuple[list[str], list[str]]:
    """Return where the page of each picture is, and the picture itself, large; empty where a browser cannot show it."""
    pages, pictures = [], []
    for record in made.records:
        if links.kind == "server":
            name = quote(links.index, safe="")
            pages.append(f"{links.address}i/{name}/image/{record.id}")
            pictures.append(f"{links.address}iiif/{name}/{record.id}/full/!1200,1200/0/default.jpg")
            continue
        shown = Path(record.path).suffix.lower() in _SHOWN_BY_BROWSERS and record.page == 0
        if links.kind == "images":
            address = links.address + quote(os.fsencode(record.name.lstrip("/")))
        else:
            address = _relative(record.path, target)
        pages.append(f"{address}#page={record.page + 1}" if record.path.lower().endswith(".pdf") else address)
        pictures.append(address if shown else "")
    return pages, pictures


def _relative(path: str, folder: Path) -> str:
    """Return the address of a file as seen from a page in `folder`."""
    try:
        relative = os.path.relpath(path, folder.resolve())
    except ValueError:  # on another drive
        return Path(path).as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _shortened(addresses: Sequence[str]) -> dict[str, Any]:
    """Return addresses without what all that are not empty begin with."""
    known = [address for address in addresses if address]
    first, last = (min(known), max(known)) if known else ("", "")
    shared = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    common = first[:shared]
    return {"begin": common, "rest": [address.removeprefix(common) if address else None for address in addresses]}

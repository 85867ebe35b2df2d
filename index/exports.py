"""What was found, in the forms that other programs read: findings as COCO, links between them as GraphML.

A `Finding` is a place on an image of the index with what is known of it. `findings` makes them out of the answers of a
search; whoever has places of another origin makes them directly. `index.web_annotations` and `index.page_files` write
findings as IIIF, ALTO and PAGE, `index.crops` cuts them out.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from index.answers import answer_as_dict, flattened
from index.masks import coco_segmentation
from matcher.detection import polygon_area
from matcher.errors import InputError
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from index.answers import Answer
    from index.catalogue import ImageRecord
    from index.store import Index

__all__ = [
    "Finding",
    "Sheet",
    "by_sheet",
    "coco",
    "file_stem",
    "findings",
    "graphml",
    "make_folder",
    "readable",
    "slug",
    "without_controls",
]

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_GRAPHML_TYPES = {bool: "boolean", int: "long", float: "double"}


@dataclass(frozen=True, slots=True)
class Sheet:
    """An image, or page of one, that findings lie on.

    Attributes
    ----------
    name : str
        As in the index: the path under the source that was given.
    page : int
        From 0.
    width, height : int
        In pixels.
    metadata : mapping of str to str
        What the index knows of it.
    path : str
        Its file, which tells apart images of one name.
    """

    name: str
    page: int
    width: int
    height: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    path: str = ""

    @classmethod
    def of(cls, record: ImageRecord, metadata: Mapping[str, str]) -> Sheet:
        """Return the sheet of an image of an index."""
        return cls(record.name, record.page, record.width, record.height, metadata, record.path)

    @property
    def key(self) -> tuple[str, int]:
        """What tells sheets apart."""
        return self.path or self.name, self.page

    @property
    def title(self) -> str:
        """Name and, but for the first, page, as people read it."""
        return f"{readable(self.name)}, page {self.page + 1}" if self.page else readable(self.name)


@dataclass(frozen=True, slots=True)
class Finding:
    """A place on an image where something was found.

    Attributes
    ----------
    sheet : Sheet
        Where.
    polygon : float64, shape (n, 2)
        Outline in pixels of the image; it may reach beyond its edges.
    category : str
        What was found: the query's id, the group's name.
    values : mapping
        What else is known, in plain types: relation, false_alarms, transform, ….
    source : Sheet or None
        The image that was looked for, where there was one.
    source_region : Region or None
        The part of it that was looked for.
    kind : str
        What kind of region ALTO and PAGE show it as: ``illustration``, ``ornament``, ``initial`` or ``text``.
    parts : tuple of float64 arrays, shape (n, 2)
        All its outlines, where it has several parts or holes; what lies in an odd number of them is inside.
    """

    sheet: Sheet
    polygon: NDArray[np.float64]
    category: str
    values: Mapping[str, Any] = field(default_factory=dict)
    source: Sheet | None = None
    source_region: Region | None = None
    kind: str = "illustration"
    parts: tuple[NDArray[np.float64], ...] = ()

    @property
    def outline(self) -> NDArray[np.float64]:
        """The part of the polygon on the image, shape (n, 2): with no corners where it lies wholly outside."""
        return _clipped(self.polygon, self.sheet.width, self.sheet.height)

    @property
    def outlines(self) -> list[NDArray[np.float64]]:
        """The outlines of all parts on the image."""
        clipped = (_clipped(part, self.sheet.width, self.sheet.height) for part in self.parts or (self.polygon,))
        return [outline for outline in clipped if len(outline)]

    @property
    def box(self) -> Region:
        """The box around `outlines`; `ValueError` where there are none."""
        corners = np.vstack(self.outlines)
        low, high = corners.min(axis=0), corners.max(axis=0)
        return Region(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


def findings(index: Index, answers: Iterable[Answer]) -> list[Finding]:
    """Return the hits of `answers` as findings, in their order.

    A query that is itself an image of the index is linked as such; of another one only its path is known, and its
    size is 0 × 0.

    Raises
    ------
    InputError
        If an image on which something was found is not in the index any more.
    """
    held = [answer for answer in answers if answer.error is None]
    asked = {(str(Path(answer.image).resolve()), answer.page) for answer in held}
    wanted = asked | {(hit.path, hit.page) for answer in held for hit in answer.hits}
    sheets = {
        (record.path, record.page): Sheet.of(record, index.metadata(record.id))
        for record in index.images()
        if (record.path, record.page) in wanted
    }
    found = []
    for answer in held:
        path = str(Path(answer.image).resolve())
        source = sheets.get((path, answer.page), Sheet(str(answer.image), answer.page, 0, 0))
        for hit, values in zip(answer.hits, map(flattened, answer_as_dict(answer)["hits"]), strict=True):
            for known in ("image", "page", "region", "polygon"):
                del values[known]
            sheet = sheets.get((hit.path, hit.page))
            if sheet is None:
                raise InputError(f"{hit.image} is not in {index.path} any more; search again")
            kind = "illustration" if hit.zone is None else hit.zone.kind
            found.append(Finding(sheet, hit.match.polygon, answer.id, values, source, answer.region, kind))
    return found


def by_sheet(found: Iterable[Finding], sheets: Iterable[Sheet] = ()) -> list[tuple[Sheet, list[Finding]]]:
    """Return findings by the image they lie on: first `sheets`, also those with nothing on them, then as they come.

    What lies wholly beyond the edges of its image is left out: no other program could show it.
    """
    lying: dict[tuple[str, int], tuple[Sheet, list[Finding]]] = {sheet.key: (sheet, []) for sheet in sheets}
    for finding in found:
        if len(finding.outline):
            lying.setdefault(finding.sheet.key, (finding.sheet, []))[1].append(finding)
    return list(lying.values())


def coco(found: Iterable[Finding], sheets: Iterable[Sheet] = (), categories: Iterable[str] = ()) -> dict[str, Any]:
    """Return findings as a COCO data set for detection: https://cocodataset.org/#format-data.

    `sheets` are images of it even if nothing was found on them. Each category of findings is a COCO category, after
    those given. ``bbox`` and ``segmentation`` are clipped to the image, whose
    ``page`` stands beside its ``file_name``; the other values of a finding are further keys of its annotation.
    """
    pages = by_sheet(found, sheets)
    named = dict.fromkeys([*categories, *(finding.category for _, lying in pages for finding in lying)])
    numbers = {name: number for number, name in enumerate(named, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (sheet, lying) in enumerate(pages, start=1):
        size = {"width": sheet.width, "height": sheet.height}
        known = {"metadata": dict(sheet.metadata)} if sheet.metadata else {}
        images.append({"id": number, "file_name": sheet.name, "page": sheet.page, **size, **known})
        for finding in lying:
            segmentation, area = coco_segmentation(finding.outlines, sheet.width, sheet.height)
            annotations.append(
                {
                    **finding.values,
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": numbers[finding.category],
                    "bbox": [round(edge, 2) for edge in finding.box.as_list()],
                    "segmentation": segmentation,
                    "area": round(area, 2),
                    "iscrowd": 0,
                }
            )
    return {
        "info": {"description": "Found by calque"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }


def graphml(
    nodes: Sequence[tuple[object, Mapping[str, Any]]], edges: Sequence[tuple[object, object, Mapping[str, Any]]]
) -> Iterator[str]:
    """Yield the lines of a GraphML file of an undirected graph: http://graphml.graphdrawing.org.

    Parameters
    ----------
    nodes : sequence of (name, values)
    edges : sequence of (name, name, values)

    Notes
    -----
    Values that are None are left out. Numbers and truth values keep their type where all of one name have it;
    anything else becomes text. Characters that XML cannot hold become replacement characters.
    """
    told: dict[str, list[Mapping[str, Any]]] = {"node": [n[1] for n in nodes], "edge": [e[2] for e in edges]}
    kinds: dict[tuple[str, str], str] = {}
    for domain, rows in told.items():
        for name, value in ((name, value) for row in rows for name, value in row.items() if value is not None):
            kinds[domain, name] = _wider(kinds.get((domain, name)), _GRAPHML_TYPES.get(type(value), "string"))
    ids = {key: f"d{number}" for number, key in enumerate(kinds)}

    def data(domain: str, values: Mapping[str, Any]) -> str:
        return "".join(
            f'<data key="{ids[domain, name]}">{escape(without_controls(_plain(value)))}</data>'
            for name, value in values.items()
            if value is not None
        )

    yield '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
    for (domain, name), kind in kinds.items():
        yield f'<key id="{ids[domain, name]}" for="{domain}" attr.name={_quoted(name)} attr.type="{kind}"/>\n'
    yield '<graph edgedefault="undirected">\n'
    for node, values in nodes:
        yield f"<node id={_quoted(node)}>{data('node', values)}</node>\n"
    for a, b, values in edges:
        yield f"<edge source={_quoted(a)} target={_quoted(b)}>{data('edge', values)}</edge>\n"
    yield "</graph>\n</graphml>\n"


def readable(name: str) -> str:
    """Return a path as text; bytes that are no UTF-8 become replacement characters."""
    return os.fsencode(name).decode("utf-8", "replace")


def slug(text: str) -> str:
    """Return what is plain in the last part of a path, at most 40 characters, fit for a file name on any system."""
    plain = unicodedata.normalize("NFKD", Path(text).name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:40].strip("-").lower() or "unnamed"


def file_stem(name: str, page: int, told_apart_by: str = "") -> str:
    """Return what to call a file about an image: its name in plain characters, its page, and a mark.

    The mark differs where the names of which the same is plain do, or `told_apart_by`, where that is given.
    """
    mark = hashlib.blake2b(os.fsencode(told_apart_by or name), digest_size=4).hexdigest()
    return f"{slug(Path(name).stem)}{f'-p{page + 1}' if page else ''}-{mark}"


def make_folder(folder: Path) -> None:
    """Make a folder to write files into; `InputError` if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: nothing can be written there ({error.strerror}); give another folder") from error


def without_controls(text: str) -> str:
    """Return `text` with replacement characters for whatever XML 1.0 cannot hold."""
    return _NOT_IN_XML.sub("\ufffd", text)


def _wider(known: str | None, kind: str) -> str:
    """Return the GraphML type that holds values of both."""
    if known in (None, kind):
        return kind
    return "double" if {known, kind} == {"long", "double"} else "string"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _quoted(name: object) -> str:
    return quoteattr(without_controls(str(name)))


def _clipped(polygon: NDArray[np.float64], width: float, height: float) -> NDArray[np.float64]:
    """Cut a polygon, shape (n, 2), off at the edges of an image (Sutherland and Hodgman 1974)."""
    points = np.asarray(polygon, np.float64)
    for axis, sign, limit in ((0, 1.0, 0.0), (0, -1.0, -width), (1, 1.0, 0.0), (1, -1.0, -height)):
        kept: list[NDArray[np.float64]] = []
        depth = sign * points[:, axis] - limit
        for here, there, d, e in zip(points, np.roll(points, -1, axis=0), depth, np.roll(depth, -1), strict=True):
            if d >= 0:
                kept.append(here)
            if d * e < 0:
                kept.append(here + (there - here) * d / (d - e))
        points = np.array(kept, np.float64).reshape(-1, 2)
    return points if polygon_area(points) > 0 else np.empty((0, 2))

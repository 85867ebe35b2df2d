"""METS documents of digitised volumes: their page images in order, each with the ALTO file of the same page.

https://www.loc.gov/standards/mets/. A page is a division of the physical structure that points to an image and to a
text; where the structure does not pair them, files of the same name do. Of several images of a page the first in the
document counts whose group is not one of thumbnails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from index.zones import children, tag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

__all__ = ["MetsPage", "mets_pages"]

_HREF = "{http://www.w3.org/1999/xlink}href"
_IMAGE_NAMES = re.compile(r"\.(jpe?g|tiff?|png|jp2|jpx|j2k|webp|gif)$", re.IGNORECASE)
_TEXT_GROUPS = re.compile(r"alto|fulltext|ocr|text", re.IGNORECASE)
_SMALL_GROUPS = re.compile(r"thumb|preview|icon|\bmin\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MetsPage:
    """A page: where its image is, where its ALTO file is (empty: nowhere), both as the document has it; metadata."""

    image: str
    alto: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _File:
    href: str
    kind: str
    small: bool


def mets_pages(root: Element) -> Iterator[MetsPage]:
    """Yield the pages of a METS document, in the order of its physical structure, then of its files."""
    files = dict(_files(root))
    about = _described(root)
    by_stem: dict[str, str] = {}
    for file in files.values():
        if file.kind == "alto":
            by_stem.setdefault(_stem(file.href), file.href)
    seen: set[str] = set()
    structures = sorted(children(root, "structMap"), key=lambda found: found.get("TYPE", "").upper() != "PHYSICAL")
    for division in (div for structure in structures for div in children(structure, "div")):
        pointed = [files[found] for found in _pointers(division) if found in files]
        images = sorted((file for file in pointed if file.kind == "image"), key=lambda file: file.small)
        if images and images[0].href not in seen:
            seen.update(file.href for file in images)
            alto = next((file.href for file in pointed if file.kind == "alto"), by_stem.get(_stem(images[0].href), ""))
            label = division.get("ORDERLABEL") or division.get("LABEL") or ""
            yield MetsPage(images[0].href, alto, about | ({"page_label": label} if label else {}))
    if not seen:
        for file in files.values():
            if file.kind == "image" and not file.small:
                yield MetsPage(file.href, by_stem.get(_stem(file.href), ""), about)


def _pointers(division: Element) -> Iterator[str]:
    """Yield the ids of the files that a division itself points to, not those of its parts."""
    for pointer in division:
        if tag(pointer) == "fptr":
            for found in pointer.iter():
                if found.get("FILEID"):
                    yield found.get("FILEID", "")


def _files(root: Element) -> Iterator[tuple[str, _File]]:
    for section in children(root, "fileSec"):
        yield from _group(section, "")


def _group(group: Element, path: str) -> Iterator[tuple[str, _File]]:
    """Yield the files of a group and of those within it, with what they are."""
    for element in group:
        if tag(element) == "fileGrp":
            yield from _group(element, f"{path} {element.get('USE', '')} {element.get('ID', '')}")
        elif tag(element) == "file":
            kind = element.get("MIMETYPE", "").lower()
            href = next((found.get(_HREF, "") for found in children(element, "FLocat")), "")
            if kind.startswith("image/") or (not kind and _IMAGE_NAMES.search(href)):
                yield element.get("ID", ""), _File(href, "image", bool(_SMALL_GROUPS.search(path)))
            elif "alto" in kind or ((href.lower().endswith(".xml") or "xml" in kind) and _TEXT_GROUPS.search(path)):
                yield element.get("ID", ""), _File(href, "alto", False)


def _stem(href: str) -> str:
    return PurePosixPath(unquote(urlsplit(href).path)).name.partition(".")[0]


def _described(root: Element) -> dict[str, str]:
    told = {"label": root.get("LABEL", "")}
    for section in children(root, "dmdSec"):
        for found in children(section, "title", "dateIssued", "dateCreated", "date"):
            told.setdefault("date" if tag(found).startswith("date") else "title", (found.text or "").strip())
    return {key: value for key, value in told.items() if value}

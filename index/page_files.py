"""Findings as regions of pages, in the XML that libraries keep beside their scans: ALTO 4 and PAGE 2019.

ALTO: https://www.loc.gov/standards/alto/; PAGE: https://github.com/PRImA-Research-Lab/PAGE-XML.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from index.durable import replacing
from index.exports import Finding, Sheet, by_sheet, make_folder, readable, slug, without_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FORMS", "alto", "page_xml", "write_page_files"]

_ALTO = "http://www.loc.gov/standards/alto/ns-v4#"
_ALTO_SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-2.xsd"
_PAGE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
_PAGE_SCHEMA = f"{_PAGE}/pagecontent.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"


def alto(sheet: Sheet, lying: Iterable[Finding]) -> Element:
    """Return the findings on one image as the ``Illustration`` blocks of an ALTO 4 document.

    What was found is the label of a ``LayoutTag`` that the block refers to; coordinates are pixels.
    """
    found = list(lying)
    root = _root("alto", _ALTO, _ALTO_SCHEMA)
    description = SubElement(root, "Description")
    SubElement(description, "MeasurementUnit").text = "pixel"
    SubElement(SubElement(description, "sourceImageInformation"), "fileName").text = _text(sheet.name)
    tags = {name: f"tag{number}" for number, name in enumerate(dict.fromkeys(f.category for f in found), start=1)}
    held = SubElement(root, "Tags")
    for name, tag in tags.items():
        SubElement(held, "LayoutTag", ID=tag, TYPE="found", LABEL=_text(name))
    size = {"WIDTH": str(sheet.width), "HEIGHT": str(sheet.height)}
    number = {"ID": "page1", "PHYSICAL_IMG_NR": str(sheet.page + 1)}
    page = SubElement(SubElement(root, "Layout"), "Page", {**number, **size})
    space = SubElement(page, "PrintSpace", {"HPOS": "0", "VPOS": "0", **size})
    for rank, finding in enumerate(found, start=1):
        x, y, width, height = (str(round(edge)) for edge in finding.box.as_list())
        known = {"ID": f"found{rank}", "TAGREFS": tags[finding.category]}
        place = {"HPOS": x, "VPOS": y, "WIDTH": width, "HEIGHT": height}
        block = SubElement(space, "Illustration", {**known, **place})
        SubElement(SubElement(block, "Shape"), "Polygon", POINTS=_points(finding.outline))
    return root


def page_xml(sheet: Sheet, lying: Iterable[Finding]) -> Element:
    """Return the findings on one image as the ``ImageRegion`` elements of a PAGE 2019 document.

    What was found and what is known of it are a region's user-defined attributes; coordinates are pixels.
    """
    root = _root("PcGts", _PAGE, _PAGE_SCHEMA)
    metadata = SubElement(root, "Metadata")
    SubElement(metadata, "Creator").text = "calque"
    now = datetime.now(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    SubElement(metadata, "Created").text = SubElement(metadata, "LastChange").text = now
    size = {"imageWidth": str(sheet.width), "imageHeight": str(sheet.height)}
    page = SubElement(root, "Page", {"imageFilename": _text(sheet.name), **size})
    for number, finding in enumerate(lying, start=1):
        region = SubElement(page, "ImageRegion", id=f"found{number}")
        SubElement(region, "Coords", points=_points(finding.outline))
        told = SubElement(region, "UserDefined")
        for name, value in {"found": finding.category, **finding.values}.items():
            SubElement(told, "UserAttribute", name=name, type="xsd:string", value=_text(str(value)))
    return root


FORMS: dict[str, Callable[[Sheet, Iterable[Finding]], Element]] = {"alto": alto, "page": page_xml}
"""The documents that `write_page_files` can write, by name."""


def write_page_files(folder: Path, form: str, found: Iterable[Finding]) -> list[Path]:
    """Write a file for each image that findings lie on, and return their paths.

    Parameters
    ----------
    folder : Path
        Made if need be. Files are named after their image, in plain characters, with a mark that tells apart names of
        which the same is plain; one that is there already is replaced.
    form : {'alto', 'page'}
    found : iterable of Finding

    Raises
    ------
    InputError
        If the folder cannot be made.
    """
    make_folder(folder)
    written = []
    for sheet, lying in by_sheet(found):
        root = FORMS[form](sheet, lying)
        indent(root)
        stem = slug(Path(sheet.name).stem) + (f"-p{sheet.page + 1}" if sheet.page else "")
        path = folder / f"{stem}-{_mark(sheet.name)}.xml"
        if path in written:
            path = folder / f"{stem}-{_mark(sheet.path)}.xml"
        with replacing(path) as temporary:
            ElementTree(root).write(temporary, encoding="UTF-8", xml_declaration=True)
        written.append(path)
    return written


def _mark(name: str) -> str:
    """Return a few characters that differ where names do."""
    return hashlib.blake2b(os.fsencode(name), digest_size=4).hexdigest()


def _root(tag: str, namespace: str, schema: str) -> Element:
    location = f"{namespace} {schema}"
    return Element(tag, {"xmlns": namespace, "xmlns:xsi": _INSTANCE, "xsi:schemaLocation": location})


def _points(outline: NDArray[np.float64]) -> str:
    return " ".join(f"{round(x)},{round(y)}" for x, y in outline)


def _text(text: str) -> str:
    return without_controls(readable(text))

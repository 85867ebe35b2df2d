"""Findings as regions of pages, in the XML that libraries keep beside their scans: ALTO 4 and PAGE 2019.

ALTO: https://www.loc.gov/standards/alto/; PAGE: https://github.com/PRImA-Research-Lab/PAGE-XML.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from index.durable import replacing
from index.exports import Finding, Sheet, by_sheet, file_stem, make_folder, readable, without_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FORMS", "alto", "page_xml", "write_page_files"]

_ALTO = "http://www.loc.gov/standards/alto/ns-v4#"
_ALTO_SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-2.xsd"
_PAGE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
_PAGE_SCHEMA = f"{_PAGE}/pagecontent.xsd"
_REGIONS: dict[str, tuple[str, dict[str, str]]] = {
    "illustration": ("ImageRegion", {}),
    "ornament": ("GraphicRegion", {"type": "decoration"}),
    "initial": ("TextRegion", {"type": "drop-capital"}),
    "text": ("TextRegion", {}),
}
"""What PAGE calls each kind."""
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"


def alto(sheet: Sheet, lying: Iterable[Finding]) -> Element:
    """Return the findings on one image as blocks of an ALTO 4 document: ``TextBlock``, or ``Illustration``.

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
        block = SubElement(space, "TextBlock" if finding.kind == "text" else "Illustration", {**known, **place})
        SubElement(SubElement(block, "Shape"), "Polygon", POINTS=_points(finding.outline))
    return root


def page_xml(sheet: Sheet, lying: Iterable[Finding]) -> Element:
    """Return the findings on one image as regions of a PAGE 2019 document.

    Illustrations are ``ImageRegion``, ornaments ``GraphicRegion``, initials and text ``TextRegion`` elements. What was
    found and what is known of it are a region's user-defined attributes; coordinates are pixels.
    """
    root = _root("PcGts", _PAGE, _PAGE_SCHEMA)
    metadata = SubElement(root, "Metadata")
    SubElement(metadata, "Creator").text = "calque"
    now = datetime.now(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    SubElement(metadata, "Created").text = SubElement(metadata, "LastChange").text = now
    size = {"imageWidth": str(sheet.width), "imageHeight": str(sheet.height)}
    page = SubElement(root, "Page", {"imageFilename": _text(sheet.name), **size})
    for number, finding in enumerate(lying, start=1):
        element, attributes = _REGIONS[finding.kind]
        region = SubElement(page, element, {"id": f"found{number}", **attributes})
        SubElement(region, "Coords", points=_points(finding.outline))
        told = SubElement(region, "UserDefined")
        for name, value in {"found": finding.category, **finding.values}.items():
            SubElement(told, "UserAttribute", name=name, type="xsd:string", value=_text(str(value)))
    return root


FORMS: dict[str, Callable[[Sheet, Iterable[Finding]], Element]] = {"alto": alto, "page": page_xml}
"""The documents that `write_page_files` can write, by name."""


def write_page_files(folder: Path, form: str, found: Iterable[Finding], sheets: Iterable[Sheet] = ()) -> list[Path]:
    """Write a file for each image that findings lie on, and return their paths.

    Parameters
    ----------
    folder : Path
        Made if need be. Files are named after their image, in plain characters, with a mark that tells apart names of
        which the same is plain; one that is there already is replaced.
    form : {'alto', 'page'}
    found : iterable of Finding
    sheets : iterable of Sheet
        Images that have a file even if nothing was found on them.

    Raises
    ------
    InputError
        If the folder cannot be made.
    """
    make_folder(folder)
    written = []
    for sheet, lying in by_sheet(found, sheets):
        root = FORMS[form](sheet, lying)
        indent(root)
        path = folder / f"{file_stem(sheet.name, sheet.page)}.xml"
        if path in written:
            path = folder / f"{file_stem(sheet.name, sheet.page, sheet.path)}.xml"
        with replacing(path) as temporary:
            ElementTree(root).write(temporary, encoding="UTF-8", xml_declaration=True)
        written.append(path)
    return written


def _root(tag: str, namespace: str, schema: str) -> Element:
    location = f"{namespace} {schema}"
    return Element(tag, {"xmlns": namespace, "xmlns:xsi": _INSTANCE, "xsi:schemaLocation": location})


def _points(outline: NDArray[np.float64]) -> str:
    return " ".join(f"{round(x)},{round(y)}" for x, y in outline)


def _text(text: str) -> str:
    return without_controls(readable(text))

"""`report.html` of groups and of traces: pictures drawn in the frame of a reference, in a folder that opens offline."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from PIL import Image

from cli import report_groups_page, report_page
from cli.report_decisions import decidable
from index.annotations import Judgement
from index.durable import naming_full_disk, replacing
from index.exports import make_folder
from matcher.errors import CalqueError
from matcher.images import read_image
from matcher.registration import Frame, warp
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from index.answers import Answer, Hit
    from index.groups import Group

__all__ = ["GroupReport", "Print", "Sheaf", "sheaf_of_answer", "sheaf_of_group"]

_WORKING_SIDE = 1600
_SIDE = 360
"""Pixels of the longer side of a picture."""

_BEYOND = 226
"""Grey of what lies beyond the edges of an image."""

_AROUND = 0.04
"""Share of its longer side by which more than the evidence is shown."""


@dataclass(frozen=True, slots=True)
class Print:
    """One picture of a sheaf.

    Attributes
    ----------
    name, path, page : str, Path, int
        Its image.
    region : Region
        Where it lies, in pixels of the image.
    transform : Transform
        From pixels of the reference's image to pixels of this one.
    match : (str, float, float, float) or None
        Relation, rotation, scale and false alarms; None for the reference.
    metadata : mapping of str to str
    """

    name: str
    path: Path
    page: int
    region: Region
    transform: Transform
    match: tuple[str, float, float, float] | None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sheaf:
    """Pictures laid upon each other: their title, the prints in order, which of them is the reference."""

    title: str
    prints: Sequence[Print]
    reference: int


def sheaf_of_group(group: Group) -> Sheaf:
    """Return a group as it is drawn."""
    prints = [
        Print(
            member.image.name,
            Path(member.image.path),
            member.image.page,
            member.region,
            member.transform,
            None
            if number == group.reference
            else (member.relation, member.rotation, member.scale, member.false_alarms),
            member.metadata,
        )
        for number, member in enumerate(group.members)
    ]
    return Sheaf(f"Group {group.number}", prints, group.reference)


def sheaf_of_answer(answer: Answer) -> Sheaf:
    """Return a picture that was looked for, and what it was found on, as they are drawn."""
    region = answer.region
    if region is None:
        region = _whole(Path(answer.image), answer.page, answer.hits)
    asked = Print(answer.id, Path(answer.image), answer.page, region, Transform(np.eye(3)), None)
    found = [
        Print(
            hit.image,
            Path(hit.path),
            hit.page,
            hit.match.region,
            hit.match.transform,
            (hit.match.relation, hit.match.rotation, hit.match.scale, hit.false_alarms),
        )
        for hit in answer.hits
    ]
    return Sheaf(answer.id, [asked, *found], 0)


def _whole(path: Path, page: int, hits: Sequence[Hit]) -> Region:
    """Return the box of a whole image; of one that can no longer be read, what was found of it."""
    try:
        scan = read_image(path, page, long_side=_SIDE)
    except CalqueError:
        points = np.concatenate([hit.match.query_points for hit in hits])
        low, high = points.min(axis=0), points.max(axis=0)
        return Region(*low.tolist(), *np.maximum(high - low, 1).tolist())
    return Region(0, 0, scan.width, scan.height)


class GroupReport:
    """Write sheaves, one after the other, into a folder: ``report.html`` and ``pictures/``.

    Pictures are drawn as the sheaves come, and only a line for the contents is kept in memory. A picture that is there
    already, of the same file and place, is not drawn again. Use it in a ``with`` block: ``report.html`` appears,
    complete, at its end.

    Parameters
    ----------
    directory : Path
        Made if need be; `InputError` if it cannot be.
    title : str
        Of the page.
    noun : str
        What the sheaves are, in the plural.
    """

    def __init__(self, directory: Path, title: str = "Groups", noun: str = "groups") -> None:
        make_folder(directory / "pictures")
        self.path = directory / "report.html"
        self._pictures = directory / "pictures"
        self._title, self._noun = title, noun
        self._sections = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - lives until close
        self._contents: list[tuple[str, str, int]] = []

    def add(self, sheaf: Sheaf) -> None:
        """Draw one sheaf; a picture whose file has gone or cannot be read leaves a note in its place."""
        anchor = f"s{len(self._contents) + 1}"
        reference = sheaf.prints[sheaf.reference]
        frame = _frame(reference.region)
        under = self._drawn(reference, frame)
        pictures = []
        for one in sheaf.prints:
            own = under if one is reference else self._drawn(one, frame)
            if isinstance(own, CalqueError):
                shown = report_page.missing(str(own))
            else:
                below = own if isinstance(under, CalqueError) else under
                shown = report_groups_page.stack(own, below, one.name, (frame.width, frame.height))
            pictures.append(
                report_groups_page.picture(
                    f"{one.name}, page {one.page + 1}" if one.page else one.name,
                    shown,
                    report_groups_page.facts(one.region, one.metadata, one.match),
                    page=one.path.absolute().as_uri() if one.path.exists() else None,
                    decidable="" if one is reference else decidable(_pair(reference, one)),
                )
            )
        pages = len({(one.path, one.page) for one in sheaf.prints})
        told = f"{len(sheaf.prints)} pictures on {pages} pages"
        self._sections.write(report_groups_page.section(anchor, sheaf.title, told, pictures))
        self._contents.append((anchor, sheaf.title, len(sheaf.prints)))

    def close(self) -> None:
        """Write ``report.html``."""
        pictures = sum(count for _, _, count in self._contents)
        summary = f"{len(self._contents)} {self._noun}, {pictures} pictures."
        self._sections.seek(0)
        with self._sections, replacing(self.path) as temporary, temporary.open("w", encoding="utf-8") as page:
            page.write(report_groups_page.page_head(self._title, summary))
            page.write(report_groups_page.contents(self._contents))
            page.write("</header>\n<main>\n")
            shutil.copyfileobj(self._sections, page)
            page.write("</main>\n")
            page.write(report_groups_page.page_foot())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._sections.close()

    def _drawn(self, one: Print, frame: Frame) -> str | CalqueError:
        """Draw a picture in the frame of its reference, unless it is there; return its path, or why there is none."""
        try:
            changed = one.path.stat().st_mtime_ns
        except OSError:
            changed = 0
        what = (str(one.path), one.page, changed, one.transform.matrix.tolist(), frame)
        name = f"{hashlib.sha256(repr(what).encode('utf-8', 'surrogateescape')).hexdigest()[:20]}.jpg"
        file = self._pictures / name
        if not file.exists():
            try:
                scan = read_image(one.path, one.page, gray=False, long_side=_WORKING_SIDE)
            except CalqueError as error:
                return error
            pixels, valid = warp(scan, one.transform, frame)
            pixels[~valid] = _BEYOND
            with naming_full_disk(file), replacing(file) as temporary:
                Image.fromarray(pixels).save(temporary, "JPEG", quality=82, optimize=True)
        return f"pictures/{name}"


def _frame(region: Region) -> Frame:
    more = _AROUND * max(region.width, region.height)
    return Frame.over(
        Region(region.x - more, region.y - more, region.width + 2 * more, region.height + 2 * more), _SIDE
    )


def _pair(a: Print, b: Print) -> Judgement:
    return Judgement(a.name, a.page, a.region, b.name, b.page, b.region, "unsure")

"""`report.html`: every hit drawn beside its query, in a folder that opens offline and can be moved or zipped."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cli import report_decisions, report_page
from index.annotations import Judgement
from index.durable import naming_full_disk, replacing
from index.exports import make_folder, slug
from matcher.errors import CalqueError
from matcher.images import read_image
from matcher.registration import blink_gif, difference, overlay, register, side_by_side, tight_frame, warp
from matcher.types import Region, Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.answers import Answer, Hit
    from matcher.images import Scan

__all__ = ["ReportWriter"]

_WORKING_SIDE = 1600
_DETAIL = 600
"""A region is read so large that its longer side has this many pixels, where the original has them."""


class ReportWriter:
    """Write answers, one after the other, into a folder: ``report.html`` and ``pictures/``.

    Pictures are drawn and written as the answers come, and only a line for the contents is kept in memory, so that a
    batch may be as long as it likes. ``report.html`` appears complete, at `close`.

    Parameters
    ----------
    directory : Path
        Made if need be. A report that is already there is replaced.

    Raises
    ------
    InputError
        If the folder cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "report.html"
        self._pictures = directory / "pictures"
        make_folder(self._pictures)
        self._sections = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - lives until close
        self._contents: list[tuple[str, str, int, float | None]] = []
        self._failures: list[tuple[str, str]] = []
        self._queries = 0

    def add(self, answer: Answer) -> None:
        """Draw the hits of one answer, or note its error.

        A picture whose file has gone or cannot be read leaves a note in its place.

        Raises
        ------
        CalqueError
            If the disk is full.
        """
        self._queries += 1
        if answer.error is not None:
            self._failures.append((answer.id, answer.error))
            return
        anchor = f"q{self._queries}"
        stem = f"{self._queries:04d}-{slug(answer.id)}"
        with naming_full_disk(self._pictures):
            query: Scan | CalqueError
            try:
                query = _read(Path(answer.image), answer.page, answer.region)
                thumbnail = self._save(f"{stem}.jpg", _crop(query, answer.region), "", f"query {answer.id}")
            except CalqueError as error:
                query, thumbnail = error, report_page.missing(str(error))
            cards = [self._card(query, answer, hit, f"{stem}-{hit.rank:02d}") for hit in answer.hits]
            self._sections.write(
                report_page.query_section(
                    anchor, answer.id, str(answer.image), answer.region, answer.seconds, thumbnail, cards
                )
            )
        best = min((hit.false_alarms for hit in answer.hits), default=None)
        self._contents.append((anchor, answer.id, len(answer.hits), best))

    def close(self) -> Path:
        """Write ``report.html`` and return its path."""
        hits = [count for _, _, count, _ in self._contents]
        answered = sum(count > 0 for count in hits)
        self._sections.seek(0)
        with self._sections, replacing(self.path) as temporary, temporary.open("w", encoding="utf-8") as page:
            page.write(report_page.page_head(self._queries, answered, sum(hits), len(self._failures)))
            page.write(report_page.contents(self._contents))
            page.write("</header>\n<main>\n")
            shutil.copyfileobj(self._sections, page)
            page.write(report_page.failure(self._failures))
            page.write("</main>\n")
            page.write(report_page.page_foot())
        return self.path

    def _card(self, query: Scan | CalqueError, answer: Answer, hit: Hit, stem: str) -> str:
        details = report_page.facts(hit.match, hit.false_alarms, hit.score, hit.zone)
        decision = report_decisions.decidable(_pair(answer, hit))
        try:
            if isinstance(query, CalqueError):
                raise query
            found = _read(Path(hit.path), hit.page, hit.match.region)
        except CalqueError as error:
            gone = report_page.missing(str(error))
            return report_page.hit_card(hit.rank, hit.image, hit.page, details, gone, [], decision)
        proof = self._save(
            f"{stem}-proof.jpg",
            side_by_side(query, found, hit.match, answer.region, close_up=False),
            "The query and the page, with the details found on both",
            f"query and {hit.image}, side by side",
        )
        pair = register(query, found, hit.match, answer.region)
        collated = overlay(pair.query, pair.image, pair.valid)
        apart = 255 - difference(pair.query, pair.image, pair.valid)
        small = register(query, found, hit.match, answer.region, long_side=480)
        blink = f"{stem}-blink.gif"
        blink_gif(self._pictures / blink, small.query, small.image)
        size = (small.query.shape[1], small.query.shape[0])
        return report_page.hit_card(
            hit.rank,
            hit.image,
            hit.page,
            details,
            proof,
            [
                self._save(
                    f"{stem}-overlay.jpg",
                    collated,
                    "Overlay: the query in red ink, the find in cyan; black where they coincide",
                    f"overlay, {hit.image}",
                ),
                report_page.figure(
                    f"pictures/{blink}", "Blink: the query and the find in turn", f"blink, {hit.image}", size
                ),
                self._save(
                    f"{stem}-difference.jpg",
                    apart,
                    "Difference, with tones evened out: dark where they differ",
                    f"difference, {hit.image}",
                ),
            ],
            decision,
        )

    def _save(self, name: str, pixels: NDArray[np.uint8], caption: str, alt: str) -> str:
        """Write a picture and return the HTML that shows it."""
        # Full chroma, or the thin coloured lines of an overlay would run.
        Image.fromarray(pixels).save(self._pictures / name, "JPEG", quality=84, subsampling=0, optimize=True)
        return report_page.figure(f"pictures/{name}", caption, alt, (pixels.shape[1], pixels.shape[0]))


def _pair(answer: Answer, hit: Hit) -> Judgement:
    """Return query and hit as the two sides of a judgement, still unsure."""
    box = hit.match.region
    found = Region(*(round(edge, 1) for edge in box.as_list()))
    # The whole path: the decisions may be read in another folder.
    query = str(Path(answer.image).absolute())
    return Judgement(query, answer.page, answer.region, hit.image, hit.page, found, "unsure")


def _read(path: Path, page: int, region: Region | None) -> Scan:
    """Read a page for drawing, finer where `region` would otherwise have too few pixels to be judged."""
    scan = read_image(path, page, gray=False, long_side=_WORKING_SIDE)
    if region is None:
        return scan
    coarse = max(scan.scale_x, scan.scale_y)
    factor = min(coarse, _DETAIL * coarse / max(region.width, region.height))
    if factor < 1.1:
        return scan
    return read_image(path, page, gray=False, long_side=round(_WORKING_SIDE * factor))


def _crop(scan: Scan, region: Region | None) -> NDArray[np.uint8]:
    """Return `region` of the scan, small."""
    pixels, _ = warp(scan, Transform(np.eye(3)), tight_frame(scan, region, long_side=360, least=240))
    return pixels

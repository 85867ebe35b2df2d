"""Tesseract's analysis of a page as a segmenter, through its command line: its blocks of pictures and of text."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from matcher.errors import InputError, MissingDependency
from matcher.layout import LayoutRegion
from matcher.layout_regions import layout_of_regions
from matcher.types import Region

if TYPE_CHECKING:
    from matcher.images import Scan
    from matcher.layout import Layout

__all__ = ["Tesseract"]

_KINDS = {"ocr_photo": "illustration", "ocr_carea": "text"}
_BLOCK = re.compile(r"class='(ocr_\w+)'[^>]*title=\"bbox (\d+) (\d+) (\d+) (\d+)")


@dataclass(frozen=True, slots=True)
class Tesseract:
    """Runs ``tesseract PAGE - --psm 3 hocr``: pages are read, too, there is no way to have only their blocks.

    It tells no kinds of pictures and no scores: every picture is an illustration, of score 1.
    """

    @property
    def signature(self) -> str:
        """Name and version; `MissingDependency` if it is not installed."""
        program = shutil.which("tesseract")
        if program is None:
            raise MissingDependency("tesseract is not installed; install the package tesseract-ocr of your system")
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        return f"tesseract-1({told.stdout.split()[1]})"

    def segment(self, scan: Scan) -> Layout:
        """Return what lies where on `scan`."""
        environment = {**os.environ, "OMP_THREAD_LIMIT": str(cv2.getNumThreads())}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.bmp"
            cv2.imwrite(str(path), cv2.cvtColor(scan.pixels, cv2.COLOR_RGB2BGR))
            command = ["tesseract", str(path), "-", "--psm", "3", "hocr"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"tesseract failed: {done.stderr.strip()}; run it by hand")
        return layout_of_regions(self.regions(done.stdout, scan), scan.width, scan.height)

    @staticmethod
    def regions(hocr: str, scan: Scan) -> list[LayoutRegion]:
        """Return the blocks in what Tesseract says of a page."""
        regions = []
        for name, *edges in _BLOCK.findall(hocr):
            left, top, right, bottom = map(int, edges)
            if name in _KINDS and right > left and bottom > top:
                x, y = left * scan.scale_x, top * scan.scale_y
                box = Region(x, y, (right - left) * scan.scale_x, (bottom - top) * scan.scale_y)
                regions.append(LayoutRegion(_KINDS[name], box))
        return regions

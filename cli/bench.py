"""The bibliographer's bench: a folder with every picture of one collation and a page that shows them, offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from cli import bench_page
from index.durable import naming_full_disk, replacing
from matcher import collation_drawings
from matcher.errors import InputError
from matcher.registration import blink_gif

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from matcher.collation import Collation
    from matcher.verdict import Judgement

__all__ = ["write_bench"]

_PAGE = "bench.html"


def write_bench(folder: Path, names: Sequence[str], collation: Collation, judgement: Judgement) -> Path:
    """Write the pictures of a collation and ``bench.html``, which shows them with the evidence in words.

    Parameters
    ----------
    folder : Path
        Made if need be; pictures of an earlier bench there are replaced.
    names : (str, str)
        What A and B are called.
    collation : Collation
    judgement : Judgement

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    InputError
        If the folder cannot be made.
    CalqueError
        If the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: no bench can be laid there ({error.strerror}); give another folder") from error
    drawings = {
        "side-by-side": collation_drawings.side_by_side(collation),
        "two-colours": collation_drawings.two_colours(collation),
        "line-breaks": collation_drawings.break_map(collation),
        "ink-difference": collation_drawings.ink_difference(collation),
        "deformation": collation_drawings.deformation_field(collation),
    }
    sizes = {f"{name}.png": _size(pixels) for name, pixels in drawings.items()}
    sizes["blink.gif"] = _size(collation.a)
    with naming_full_disk(folder):
        for name, pixels in drawings.items():
            with replacing(folder / f"{name}.png") as temporary:
                Image.fromarray(pixels).save(temporary, "PNG")
        blink_gif(folder / "blink.gif", collation.a, collation.b)
    page = folder / _PAGE
    with replacing(page) as temporary:
        temporary.write_text(bench_page.page(names, collation, judgement, sizes), encoding="utf-8")
    return page


def _size(pixels: NDArray) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[0]

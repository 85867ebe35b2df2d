"""Images with painted masks: which pixels are damaged, as an editor's layer or a labelling tool leaves it."""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from index.annotated import document_of
from index.items import explained
from matcher.errors import InputError
from matcher.images import IMAGE_SUFFIXES, MAX_PIXELS, printable
from matcher.region_targets import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["PaintedImage", "find_painted", "read_mask"]

_ENDINGS = ("", ".mask", "_mask", "-mask")


@dataclass(frozen=True, slots=True)
class PaintedImage:
    """An image and the file of its mask.

    Attributes
    ----------
    path, mask : Path
    document : str
        What it belongs to.
    """

    path: Path
    mask: Path
    document: str

    @property
    def digest(self) -> str:
        """Hexadecimal digits that stand for the bytes of both."""
        sums = [hashlib.sha256(path.read_bytes()).digest() for path in (self.path, self.mask)]
        return hashlib.sha256(b"".join(sums)).hexdigest()[:16]


def find_painted(folder: Path, masks: Path | None = None) -> list[PaintedImage]:
    """Return the images of a folder that have a mask: a PNG or TIFF of the same name.

    Parameters
    ----------
    folder : Path
        Images; or a folder with ``images`` and ``masks`` in it.
    masks : Path, optional
        Where masks lie; by default in ``masks`` there or beside the images, as ``NAME.png``, ``NAME.mask.png`` or
        ``NAME_mask.png``.

    Raises
    ------
    InputError
        If there are none, or two images have one name.
    """
    if not folder.is_dir():
        raise InputError(f"{printable(folder)}: no folder; give one with images and their masks")
    if masks is not None and not masks.is_dir():
        raise InputError(f"{printable(masks)}: no folder; give the one that masks lie in")
    images = folder / "images" if (folder / "images").is_dir() else folder
    places = [masks] if masks is not None else [folder / "masks", images / "masks", images]
    known: dict[str, Path] = {}
    for place in reversed(places):
        for file in sorted(place.glob("*")) if place.is_dir() else ():
            if file.suffix.lower() in (".png", ".tif", ".tiff", ".gif", ".bmp"):
                known[file.stem] = file
    found: dict[str, list[PaintedImage]] = defaultdict(list)
    for file in sorted(images.glob("*")):
        if file.suffix.lower() not in IMAGE_SUFFIXES or file.stem.endswith(_ENDINGS[1:]):
            continue
        mask = next((known[file.stem + end] for end in _ENDINGS if known.get(file.stem + end, file) != file), None)
        if mask is not None:
            found[file.stem].append(PaintedImage(file, mask, document_of(file.name)))
    for stem, several in found.items():
        if len(several) > 1:
            raise InputError(f"{printable(images)}: {len(several)} images are called {stem}; leave one of them")
    if not found:
        raise InputError(
            f"{printable(folder)}: no image there has a mask; name masks as their images: images/p1.jpg, masks/p1.png"
        )
    return [several[0] for several in found.values()]


def read_mask(path: Path, size: tuple[int, int], classes: Sequence[str]) -> NDArray[np.uint8]:
    """Return the class of each pixel of a mask: 0 none, from 1 on `classes`, `IGNORED` unknown.

    Parameters
    ----------
    path : Path
        With one class: whatever is painted is of it: what is opaque where there is transparency, else what is light.
        With several: numbers of classes, as grey or as places in a palette, 0 none, 255 unknown.
    size : (int, int)
        Width and height of the image, as it is stored or as it is seen after its EXIF turn.
    classes : sequence of str

    Raises
    ------
    InputError
        If it cannot be read, is of another size, or has numbers that are none of a class.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InputError(f"{printable(path)}: larger than {MAX_PIXELS} pixels; reduce it")
                values = _values(image, len(classes) == 1)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{printable(path)}: {explained(error)}") from error
    except Exception as error:  # Pillow's decoders raise whatever they like on damaged files
        raise InputError(f"{printable(path)}: no mask that can be read ({error}); save it as PNG anew") from error
    if values.shape[::-1] != size:
        raise InputError(
            f"{printable(path)}: {values.shape[1]} × {values.shape[0]} pixels, its image {size[0]} × {size[1]}; "
            "paint it on the image itself"
        )
    strange = sorted(set(np.unique(values).tolist()) - {*range(len(classes) + 1), IGNORED})
    if strange:
        raise InputError(
            f"{printable(path)}: has the numbers {', '.join(map(str, strange[:5]))}, but there are {len(classes)} "
            "classes; name them all with --class, in the order of their numbers"
        )
    return values


def _values(image: Image.Image, single: bool) -> NDArray[np.uint8]:
    if not single:
        plain = image if image.mode in ("L", "P", "1") else image.convert("L")
        return np.asarray(plain, np.uint8).copy()
    if "A" in image.mode or "transparency" in image.info:
        painted = np.asarray(image.convert("RGBA"))[..., 3] > 127
        if not painted.all():
            return painted.astype(np.uint8)
    deep = np.asarray(image.convert("RGB")).max(axis=2) if image.mode in ("RGB", "RGBA", "P", "CMYK") else None
    grey = np.asarray(image).astype(np.float64) if deep is None else deep.astype(np.float64)
    # 0 and 1, 0 and 255, 0 and 65535 all mean no and yes.
    return (grey > grey.max() / 2).astype(np.uint8) if grey.max() > 0 else np.zeros(grey.shape, np.uint8)

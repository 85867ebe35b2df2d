"""Pictures from servers of the IIIF Image API, versions 1 to 3, at about the size at which they are indexed.

A server that makes any size is asked for just that one; one that has only certain sizes for the next larger; one that
has only tiles for those of a level of its pyramid, which are put together. https://iiif.io/api/image/3.0/
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from index.durable import replacing
from index.fetching import NotServed
from matcher.errors import InputError
from matcher.images import read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from index.fetching import Fetcher

__all__ = ["ImageInfo", "ImageResource", "fetch_image"]

_NEAR = 0.9
"""A picture of this part of the wanted long side is as good as the wanted one."""
_AMPLE = 1.3
"""A ready size up to so many times the wanted one is taken rather than have the server make another."""
_MOST_TILES = 400
_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class ImageResource:
    """A picture that a manifest names.

    Attributes
    ----------
    address : str
        Of the file, empty if there is only a service.
    service : str
        Id of its image service, empty if there is none.
    region, rotation : str
        What of the picture is meant, in the words of the Image API.
    long_side : int
        Of the file, in pixels; 0 if not told.
    """

    address: str
    service: str = ""
    region: str = "full"
    rotation: str = "0"
    long_side: int = 0


def fetch_image(resource: ImageResource, fetcher: Fetcher, work_size: int, path: Path) -> None:
    """Fetch a picture into the file `path`, its long side about `work_size` if it has that.

    Raises
    ------
    InputError
        If no way leads to it; the message is that of the first way tried.
    """
    problem: InputError | None = None
    for way in _ways(resource, fetcher, work_size):
        try:
            way(path)
        except NotServed as error:
            problem = problem or error
        else:
            return
    raise problem or InputError(f"{resource.service}: offers no picture that can be asked for; download it")


def _ways(resource: ImageResource, fetcher: Fetcher, work_size: int) -> Iterator[Callable[[Path], None]]:
    """Yield what may fetch the picture, the best first."""
    as_it_is = partial(fetcher.image, resource.address)
    if resource.service:
        try:
            info = ImageInfo.of(fetcher.document(f"{resource.service}/info.json"), resource)
        except InputError as error:
            if not resource.address:
                raise
            yield as_it_is
            raise error
        long_side = info.long_side(work_size)
        yield from (partial(fetcher.image, address) for address in info.addresses(work_size))
        if resource.address and resource.long_side >= _NEAR * long_side:
            yield as_it_is
        if info.tiled:
            yield partial(_put_together, info, fetcher, work_size)
        yield from (partial(fetcher.image, address) for address in info.last_resorts())
    if resource.address:
        yield as_it_is


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image service says that it can do.

    Attributes
    ----------
    base : str
        Its address.
    version : int
        Of the Image API: 1, 2 or 3.
    width, height : int
        Pixels of what is wanted of the picture.
    largest : (float, float, float)
        Largest width, height and area that it gives.
    any_size : bool
        Whether it makes every size.
    sizes : tuple of (int, int)
        Sizes of the whole that it has ready.
    tiles : tuple of (int, int, tuple of int)
        Width and height of tiles, and by how much they are reduced.
    region, rotation : str
        What of the picture is wanted.
    """

    base: str
    version: int
    width: int
    height: int
    largest: tuple[float, float, float]
    any_size: bool
    sizes: tuple[tuple[int, int], ...]
    tiles: tuple[tuple[int, int, tuple[int, ...]], ...]
    region: str = "full"
    rotation: str = "0"

    @classmethod
    def of(cls, document: Any, resource: ImageResource) -> ImageInfo:
        """Read an ``info.json``; `NotServed` if it is none."""
        try:
            return cls._of(document, resource)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise NotServed(f"{resource.service}/info.json: not as the Image API has it ({error})") from error

    @classmethod
    def _of(cls, document: Any, resource: ImageResource) -> ImageInfo:
        context = str(document.get("@context", "")) + str(document.get("type", ""))
        version = (
            3 if re.search(r"image/3|ImageService3", context) else 1 if re.search(r"image(-api)?/1", context) else 2
        )
        profile = document.get("profile", "")
        profile = profile if isinstance(profile, list) else [profile]
        told = {key: value for part in (document, *profile) if isinstance(part, dict) for key, value in part.items()}
        level = max((int(found[1]) for part in profile if (found := re.search(r"level(\d)", str(part)))), default=0)
        able = {*told.get("supports", ()), *told.get("extraFeatures", ())} & {"sizeByW", "sizeByWh"}
        widest = float(told.get("maxWidth") or math.inf)
        highest = float(told.get("maxHeight") or widest)
        width, height = int(document["width"]), int(document["height"])
        if width < 1 or height < 1:
            raise ValueError(f"{width} × {height} pixels")
        tiles = [tile for tile in told.get("tiles", ()) if int(tile["width"]) > 0]
        whole = cls(
            base=resource.service,
            version=version,
            width=width,
            height=height,
            largest=(widest, highest, float(told.get("maxArea") or math.inf)),
            any_size=level >= 1 or bool(able),
            sizes=tuple((int(size["width"]), int(size["height"])) for size in told.get("sizes", ())),
            tiles=tuple(
                (int(tile["width"]), int(tile.get("height") or tile["width"]), tuple(map(int, tile["scaleFactors"])))
                for tile in tiles
            ),
        )
        return whole._part(resource.region, resource.rotation)

    def _part(self, region: str, rotation: str) -> ImageInfo:
        """Return the info for a region, of which no sizes are ready."""
        if (region, rotation) == ("full", "0"):
            return self
        size = self.width, self.height
        if region == "square":
            size = (min(size), min(size))
        elif region != "full":
            *_, width, height = (float(part) for part in region.removeprefix("pct:").split(","))
            share = (size[0] / 100, size[1] / 100) if region.startswith("pct:") else (1.0, 1.0)
            size = (max(1, round(width * share[0])), max(1, round(height * share[1])))
        return replace(self, width=size[0], height=size[1], sizes=(), tiles=(), region=region, rotation=rotation)

    @property
    def tiled(self) -> bool:
        """Whether it can be put together from tiles."""
        return bool(self.tiles)

    def long_side(self, work_size: int) -> int:
        """Return the long side of what is asked for where any size can be had."""
        return max(self._wanted(work_size))

    def _wanted(self, work_size: int) -> tuple[int, int]:
        width, height, area = self.largest
        scale = min(
            1.0,
            work_size / max(self.width, self.height),
            width / self.width,
            height / self.height,
            math.sqrt(area / (self.width * self.height)),
        )
        if scale == 1.0:
            return self.width, self.height
        bounded = scale < work_size / max(self.width, self.height)
        whole = math.floor if bounded else round  # a pixel more than the server gives would be refused
        return max(1, whole(self.width * scale)), max(1, whole(self.height * scale))

    def addresses(self, work_size: int) -> Iterator[str]:
        """Yield the addresses of the picture at no less than about the wanted size, the best first."""
        wanted = self._wanted(work_size)
        ready = sorted((size for size in self.sizes if max(size) >= _NEAR * max(wanted)), key=max)
        if ready and max(ready[0]) <= _AMPLE * max(wanted):
            yield self._address(ready.pop(0))
        if self.any_size:
            yield self._address(wanted)
        yield from (self._address(size) for size in ready[:1])

    def last_resorts(self) -> Iterator[str]:
        """Yield the addresses of the picture as large as can be had in other ways."""
        full = "max" if self.version == 3 else "full"
        yield self._url(self.region, full)
        yield from (self._address(size) for size in sorted(self.sizes, key=max)[-1:])

    def _address(self, size: tuple[int, int]) -> str:
        if size == (self.width, self.height):
            return self._url(self.region, "max" if self.version == 3 else "full")
        return self._url(self.region, self._size(*size))

    def _size(self, width: int, height: int) -> str:
        return f"{width},{height}" if self.version == 3 else f"{width},"  # the canonical forms

    def _url(self, region: str, size: str) -> str:
        quality = "native" if self.version == 1 else "default"
        return f"{self.base}/{region}/{size}/{self.rotation}/{quality}.jpg"

    def level(self, work_size: int) -> tuple[int, int, int]:
        """Return width, height and reduction of the tiles that give no less than about the wanted size."""
        wanted = _NEAR * self.long_side(work_size)
        known = [(width, height, factor) for width, height, factors in self.tiles for factor in factors if factor > 0]
        ample = [tile for tile in known if max(self.width, self.height) / tile[2] >= wanted]
        if not known:
            raise NotServed(f"{self.base}/info.json: tiles without scale factors")
        return max(ample, key=lambda tile: tile[2]) if ample else min(known, key=lambda tile: tile[2])

    def tile_addresses(self, level: tuple[int, int, int]) -> Iterator[tuple[int, int, int, int, str]]:
        """Yield left, top, width and height of each tile on the reduced picture, and its address."""
        wide, high, factor = level
        for top in range(0, self.height, high * factor):
            for left in range(0, self.width, wide * factor):
                across, down = min(wide * factor, self.width - left), min(high * factor, self.height - top)
                whole = (across, down) == (self.width, self.height)
                region = "full" if whole else f"{left},{top},{across},{down}"
                width, height = math.ceil(across / factor), math.ceil(down / factor)
                size = "max" if self.version == 3 else "full"
                if not whole or factor > 1:
                    size = self._size(width, height)
                yield left // factor, top // factor, width, height, self._url(region, size)


def _put_together(info: ImageInfo, fetcher: Fetcher, work_size: int, path: Path) -> None:
    """Fetch the tiles of a level, each kept until all are there, and write the whole into the file `path`."""
    level = info.level(work_size)
    tiles = list(info.tile_addresses(level))
    if len(tiles) > _MOST_TILES:
        raise NotServed(f"{info.base}: in {len(tiles)} tiles; download it in another way, and add the file")
    factor = level[2]
    whole = np.zeros((math.ceil(info.height / factor), math.ceil(info.width / factor), 3), np.uint8)
    files = []
    for left, top, width, height, address in tiles:
        file = fetcher.kept(address, ".tile")
        if not file.exists():
            fetcher.image(address, file)
        files.append(file)
        pixels = read_image(file, gray=False).pixels
        if abs(pixels.shape[0] - height) > 1 or abs(pixels.shape[1] - width) > 1:
            found = f"{pixels.shape[1]} × {pixels.shape[0]}"
            raise NotServed(f"{address}: a tile of {found} pixels where {width} × {height} are expected")
        room = whole[top : top + height, left : left + width]
        room[:] = pixels if pixels.shape == room.shape else cv2.resize(pixels, (width, height))
    written, content = cv2.imencode(".jpg", whole[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not written:
        raise InputError(f"{info.base}: too large to put together from tiles; download it in another way")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content.tobytes())
    for file in files:
        file.unlink(missing_ok=True)

"""Pictures for the browser: IIIF Image API 3, level 2, out of a bounded cache of overviews and tiles."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import re
import shutil
import threading
import time
from collections import OrderedDict
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from webui.contract import Call, Operation
from webui.problems import Refusal
from webui.pyramids import OVERVIEW, TILE, Rendering, factors, make_overview, make_tiles, render, render_from_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from index.catalogue import ImageRecord
    from webui.decoders import Decoders
    from webui.work import Line

__all__ = [
    "OPERATIONS",
    "Folders",
    "Imaging",
    "Picture",
    "cached",
    "crop_address",
    "image_information",
    "image_part",
    "information",
    "parsed",
    "picture_response",
    "tag_of",
    "thumbnail_address",
    "upload_information",
    "upload_part",
]

THUMBNAIL = 320
_MARGIN = 0.12
"""Part of a place, on each side, that its crop shows besides it."""

_MOST_PIXELS = 24_000_000
"""Of one answer; whoever wants more takes tiles."""

_KINDS = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_KEPT = {"Cache-Control": "private, max-age=3600"}
_ALL_TILES = "tiles/complete"
_MAKING = "2"
"""Enters into ETags: pictures made by another version are others."""

_QUICK_PIXELS = 16_000_000
"""A picture of so many is read in no time, whatever its format: it needs no overview."""

_TOUCH_SECONDS = 60.0
_POLL_SECONDS = 0.03


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that can be shown.

    Attributes
    ----------
    address : str
        Of its IIIF service.
    source, page : Path, int
        Where its pixels are.
    width, height : int
    key : str
        What tells its contents from all others.
    folder : Path or None
        Where what is made of it is kept; None for a place in the cache.
    """

    address: str
    source: Path
    page: int
    width: int
    height: int
    key: str
    folder: Path | None = None

    @classmethod
    def of(cls, index: str, record: ImageRecord) -> Picture:
        """Return the picture of an image of an index."""
        key = f"{record.digest.hex()}-{record.page}"
        return cls(f"/iiif/{index}/{record.id}", Path(record.path), record.page, record.width, record.height, key)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


def thumbnail_address(iiif: str) -> str:
    """Return the address of the thumbnail of a picture."""
    return f"{iiif}/full/!{THUMBNAIL},{THUMBNAIL}/0/default.jpg"


def crop_address(iiif: str, box: tuple[float, ...] | list[float], width: int, height: int) -> str:
    """Return the address of a thumbnail of a place on a picture, with a margin."""
    x, y, wide, high = box
    margin = _MARGIN * max(wide, high)
    left, top = max(0, math.floor(x - margin)), max(0, math.floor(y - margin))
    right, bottom = min(width, math.ceil(x + wide + margin)), min(height, math.ceil(y + high + margin))
    if right <= left or bottom <= top:
        return thumbnail_address(iiif)
    return f"{iiif}/{left},{top},{right - left},{bottom - top}/!{THUMBNAIL},{THUMBNAIL}/0/default.jpg"


class Folders:
    """Folders of what can be made again, one for each picture, together no larger than a bound: the longest unused go.

    Their times of change tell when they were last used, also to the next server.
    """

    def __init__(self, path: Path, bound: int) -> None:
        self.path = path
        self._bound = bound
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()  # the longest unused first
        self._touched: dict[str, float] = {}
        self._used: dict[str, int] = {}
        path.mkdir(parents=True, exist_ok=True)
        found = [folder for folder in path.iterdir() if folder.is_dir()]
        for folder in sorted(found, key=lambda one: one.stat().st_mtime):
            self._sizes[folder.name] = _size(folder)
        self._total = sum(self._sizes.values())

    @contextmanager
    def using(self, key: str) -> Iterator[Path]:
        """Yield the folder of a picture, which stays as long as the block runs, and may grow in it."""
        folder = self.path / key
        with self._lock:
            self._used[key] = self._used.get(key, 0) + 1
            self._sizes.setdefault(key, 0)
            self._sizes.move_to_end(key)
            now = time.monotonic()
            if now - self._touched.get(key, -math.inf) > _TOUCH_SECONDS:
                self._touched[key] = now
                with suppress(FileNotFoundError):
                    os.utime(folder)
        try:
            yield folder
        finally:
            with self._lock:
                self._used[key] -= 1
                if not self._used[key]:
                    del self._used[key]

    def grew(self, key: str) -> None:
        """Note that something was written into a folder, and make room if that was too much."""
        size = _size(self.path / key)
        with self._lock:
            self._total += size - self._sizes.get(key, 0)
            self._sizes[key] = size
            gone = []
            for old in list(self._sizes):
                if self._total <= self._bound:
                    break
                if old not in self._used:
                    self._total -= self._sizes.pop(old)
                    self._touched.pop(old, None)
                    gone.append(self.path / old)
            for folder in gone:
                shutil.rmtree(folder, ignore_errors=True)


class Imaging:
    """Makes pictures, each only once, in decoding processes.

    Parameters
    ----------
    decoders : Decoders
    line : Line
        Whose threads wait for the decoders.
    folders : Folders
    seconds : float
        For one decoding.
    """

    def __init__(self, decoders: Decoders, line: Line, folders: Folders, seconds: float) -> None:
        self.folders = folders
        self._decoders = decoders
        self._line = line
        self._seconds = seconds
        self._making: dict[Path, asyncio.Future[Any]] = {}

    @contextmanager
    def folder(self, picture: Picture) -> Iterator[Path]:
        """Yield the folder of what is made of a picture."""
        if picture.folder is not None:
            yield picture.folder
        else:
            with self.folders.using(picture.key) as folder:
                yield folder

    async def rendered(self, picture: Picture, asked: Rendering, name: str) -> bytes:
        """Return a part of a picture as a file, from the cache if it has been asked for before."""
        with self.folder(picture) as folder:
            tile = self._tile(picture, asked)
            target = folder / "out" / name if tile is None else folder / tile
            with suppress(FileNotFoundError):
                return target.read_bytes()
            factor = self._level(picture, asked)
            if tile is not None and not _is_had_soon(picture, factor):
                await self._tiles(picture, folder, target)
            elif tile is None and await self._has_level(picture, folder, factor):
                await self.make(picture, target, render, folder, picture.size, asked, factor, target)
            else:
                of_file = picture.source, picture.page, picture.size
                await self.make(picture, target, render_from_file, *of_file, asked, target)
                if tile is not None:
                    self._begin_tiles(picture, folder)
            return target.read_bytes()

    async def make(self, picture: Picture, target: Path, function: Callable[..., Any], *arguments: object) -> Any:
        """Have a decoder make the file `target` of a picture, once however many ask for it; return what it returns."""
        begun = self._making.get(target)
        if begun is None:
            begun = asyncio.ensure_future(
                self._line.run(partial(self._decoders.do, self._seconds, function, *arguments))
            )
            self._making[target] = begun
            begun.add_done_callback(lambda done: self._made(picture, target, done))
        return await asyncio.shield(begun)

    def _made(self, picture: Picture, target: Path, done: asyncio.Future[Any]) -> None:
        self._making.pop(target, None)
        if not done.cancelled() and done.exception() is None and picture.folder is None:
            asyncio.get_running_loop().run_in_executor(None, self.folders.grew, picture.key)

    async def _has_level(self, picture: Picture, folder: Path, factor: int | None) -> bool:
        """Tell whether a level is there to cut parts out of: of a large picture the overview is made for that."""
        if factor is not None:
            return (folder / _ALL_TILES).exists()
        target = folder / "overview.jpg"
        if not target.exists() and _is_large(picture):
            await self.make(picture, target, make_overview, picture.source, picture.page, folder, picture.size)
        return target.exists()

    async def _tiles(self, picture: Picture, folder: Path, tile: Path) -> None:
        """Wait until a tile is there that was not."""
        making = self._begin_tiles(picture, folder)
        while not making.done() and not tile.exists():
            await asyncio.wait([making], timeout=_POLL_SECONDS)
        if making.done():
            making.result()

    def _begin_tiles(self, picture: Picture, folder: Path) -> asyncio.Future[Any]:
        """Have all tiles made."""
        of_file = picture.source, picture.page
        making = asyncio.ensure_future(
            self.make(picture, folder / _ALL_TILES, make_tiles, *of_file, folder, picture.size)
        )
        making.add_done_callback(lambda done: done.cancelled() or done.exception())  # told to whoever waits
        return making

    @staticmethod
    def _level(picture: Picture, asked: Rendering) -> int | None:
        """Return the level that a part is best made of, None for the overview."""
        if asked.reduction >= max(picture.size) / OVERVIEW or max(picture.size) <= OVERVIEW:
            return None
        return max((factor for factor in factors(*picture.size) if factor <= asked.reduction), default=1)

    @classmethod
    def _tile(cls, picture: Picture, asked: Rendering) -> str | None:
        """Return the file of the tile that a part is, if it is one."""
        plain = not asked.mirrored and asked.rotation == 0 and asked.quality == "default" and asked.form == "jpg"
        factor = cls._level(picture, asked)
        if not plain or factor is None:
            return None
        x, y, width, height = asked.box
        side = TILE * factor
        whole = (min(side, picture.width - x), min(side, picture.height - y))
        size = (math.ceil(whole[0] / factor), math.ceil(whole[1] / factor))
        if x % side or y % side or (width, height) != whole or asked.size != size:
            return None
        return f"tiles/{factor}/{x // side}-{y // side}.jpg"


def _is_large(picture: Picture) -> bool:
    return picture.width * picture.height > _QUICK_PIXELS


def _is_had_soon(picture: Picture, factor: int | None) -> bool:
    """Tell whether a level of a large picture is had long before all of it: decoders of JPEG reduce on the way."""
    coarse = factor is not None and factor >= 4
    return coarse and _is_large(picture) and picture.source.suffix.lower() in (".jpg", ".jpeg")


def information(picture: Picture) -> dict[str, Any]:
    """Return the ``info.json`` of a picture, its id still an address within the server."""
    levels = factors(*picture.size)
    return {
        "@context": "http://iiif.io/api/image/3/context.json",
        "id": picture.address,
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level2",
        "width": picture.width,
        "height": picture.height,
        "maxArea": _MOST_PIXELS,
        "tiles": [{"width": TILE, "height": TILE, "scaleFactors": levels}],
        "sizes": [
            {"width": math.ceil(picture.width / factor), "height": math.ceil(picture.height / factor)}
            for factor in reversed(levels)
            if math.ceil(picture.width / factor) * math.ceil(picture.height / factor) <= _MOST_PIXELS
        ],
        "preferredFormats": ["jpg"],
        "extraFormats": ["webp"],
        "extraQualities": ["color", "gray", "bitonal"],
        "extraFeatures": ["mirroring"],
    }


def parsed(picture: Picture, region: str, size: str, rotation: str, quality: str, form: str) -> Rendering:
    """Return what the parts of an address of the IIIF Image API 3 ask for.

    Raises
    ------
    Refusal
        400 or 501, as the API has it.
    """
    box = _region(picture, region)
    wanted = _size_of(box, size)
    if wanted[0] * wanted[1] > _MOST_PIXELS:
        raise Refusal(400, f"size {size}: more than {_MOST_PIXELS:,} pixels; ask for parts")
    found = re.fullmatch(r"(!?)(\d{1,3})(?:\.0*)?", rotation, re.ASCII)
    if not found or int(found[2]) > 360:
        raise Refusal(400, f"rotation {rotation!r} is none; give 0, 90, 180 or 270, with ! before it for mirrored")
    degrees = int(found[2]) % 360
    if degrees % 90:
        raise Refusal(501, "pictures are turned by quarters only")
    return Rendering(box, wanted, found[1] == "!", degrees, quality, form)


def _region(picture: Picture, text: str) -> tuple[int, int, int, int]:
    width, height = picture.size
    if text == "full":
        return 0, 0, width, height
    if text == "square":
        side = min(width, height)
        return (width - side) // 2, (height - side) // 2, side, side
    relative = text.startswith("pct:")
    numbers = text.removeprefix("pct:").split(",")
    pattern = r"\d{1,3}(\.\d{1,10})?" if relative else r"\d{1,9}"
    if len(numbers) != 4 or not all(re.fullmatch(pattern, number, re.ASCII) for number in numbers):
        raise Refusal(400, f"region {text!r} is none; give full, square, x,y,width,height or pct:x,y,width,height")
    x, y, wide, high = (float(number) for number in numbers)
    if relative:
        x, wide, y, high = x * width / 100, wide * width / 100, y * height / 100, high * height / 100
    left, top = round(x), round(y)
    right, bottom = min(width, round(x + wide)), min(height, round(y + high))
    if right <= left or bottom <= top:
        raise Refusal(400, f"region {text!r} lies outside the picture, which is {width} x {height}, or is empty")
    return left, top, right - left, bottom - top


def _size_of(box: tuple[int, int, int, int], text: str) -> tuple[int, int]:
    upscaled = text.startswith("^")
    told = text.removeprefix("^")
    width, height = box[2], box[3]
    if told == "max":
        factor = math.sqrt(_MOST_PIXELS / (width * height))
        return (width, height) if factor >= 1 else (max(1, int(width * factor)), max(1, int(height * factor)))
    if found := re.fullmatch(r"pct:(\d{1,4}(?:\.\d{1,10})?)", told, re.ASCII):
        share = float(found[1]) / 100
        wanted = round(width * share), round(height * share)
    elif found := re.fullmatch(r"(!?)(\d{0,6}),(\d{0,6})", told, re.ASCII):
        wide, high = (int(side) if side else None for side in found.groups()[1:])
        if (wide is None and high is None) or (found[1] and (wide is None or high is None)):
            raise Refusal(400, f"size {text!r} is none; give w,h")
        if found[1] and wide is not None and high is not None:
            factor = min(wide / width, high / height)
            if not upscaled:
                factor = min(factor, 1.0)
            wanted = max(1, round(width * factor)), max(1, round(height * factor))
            if wide == 0 or high == 0:
                wanted = 0, 0
        else:
            wanted = (
                wide if wide is not None else max(1, round(width * (high or 0) / height)) if high else 0,
                high if high is not None else max(1, round(height * (wide or 0) / width)) if wide else 0,
            )
    else:
        raise Refusal(400, f"size {text!r} is none; give max, w,h or !w,h, or pct:n; ^ before it enlarges")
    if min(wanted) < 1:
        raise Refusal(400, f"size {text!r} leaves no pixel")
    if not upscaled and (wanted[0] > width or wanted[1] > height):
        raise Refusal(400, f"size {text!r} is larger than the region, {width} x {height}; put ^ before it to enlarge")
    return wanted


def tag_of(*parts: object) -> str:
    """Return a short name of what `parts` tell: for file names and ETags."""
    return hashlib.blake2b(repr((_MAKING, *parts)).encode(), digest_size=12).hexdigest()


def picture_response(content: bytes, etag: str, kind: str = "image/jpeg") -> Response:
    """Return a picture that the client may keep for a while."""
    return Response(content, media_type=kind, headers={"ETag": f'"{etag}"', **_KEPT})


def cached(call: Call, etag: str) -> Response | None:
    """Return that nothing has changed, if the client has what `etag` tells already."""
    known = [tag.strip().removeprefix("W/") for tag in call.request.headers.get("if-none-match", "").split(",")]
    if f'"{etag}"' in known:
        return Response(status_code=304, headers={"ETag": f'"{etag}"', **_KEPT})
    return None


async def _picture(call: Call) -> Picture:
    """Return the picture in the path of a request: of an index, or an upload of this client."""
    if "upload" in call.path:
        return call.server.uploads.find(call.path["upload"], call.owner).picture
    snapshot = await call.server.reading.run(call.server.shelf[call.index].snapshot)
    return Picture.of(call.index, snapshot.record(call.path["image"]))


async def image_information(call: Call) -> Response:
    """Answer with ``info.json``."""
    picture = await _picture(call)
    told = information(picture)
    told["id"] = str(call.request.base_url).rstrip("/") + picture.address
    kind = 'application/ld+json;profile="http://iiif.io/api/image/3/context.json"'
    if "application/ld+json" not in call.request.headers.get("accept", ""):
        kind = "application/json"
    return Response(msgspec.json.encode(told), media_type=kind, headers=_KEPT)


async def image_part(call: Call) -> Response:
    """Answer with a part of a picture."""
    picture = await _picture(call)
    asked = parsed(picture, *(str(call.path[part]) for part in ("region", "size", "rotation", "quality", "format")))
    etag = tag_of(picture.key, asked)
    if (unchanged := cached(call, etag)) is not None:
        return unchanged
    content = await call.server.imaging.rendered(picture, asked, f"{etag}.{asked.form}")
    return picture_response(content, etag, _KINDS[asked.form])


async def upload_information(call: Call) -> Response:
    """Answer with ``info.json`` of an upload."""
    return await image_information(call)


async def upload_part(call: Call) -> Response:
    """Answer with a part of an upload."""
    return await image_part(call)


def _size(folder: Path) -> int:
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):
                total += (Path(place) / name).stat().st_size
    return total


_PART = "{region}/{size}/{rotation}/{quality}.{format}"
_ALL_KINDS = ",".join(_KINDS.values())
OPERATIONS = (
    Operation(
        "GET", "/iiif/uploads/{upload}/info.json", upload_information, "IIIF: what an upload is", "application/json"
    ),
    Operation(
        "GET", f"/iiif/uploads/{{upload}}/{_PART}", upload_part, "IIIF: a part of an upload", _ALL_KINDS,
        refusals=(422, 501),
    ),
    Operation("GET", "/iiif/{index}/{image}/info.json", image_information, "IIIF: an image", "application/json"),
    Operation(
        "GET", f"/iiif/{{index}}/{{image}}/{_PART}", image_part, "IIIF: a part of an image", _ALL_KINDS,
        refusals=(422, 501),
    ),
)  # fmt: skip
"""Routes of this module."""

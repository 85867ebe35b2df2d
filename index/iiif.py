"""IIIF manifests and collections, versions 2 and 3 of the Presentation API: every picture on every canvas.

https://iiif.io/api/presentation/3.0/ and https://iiif.io/api/presentation/2.1/. A picture is named by the id of its
canvas. Its metadata holds what the manifest says of it, and where it lies:

==============================  =======================================================================================
``iiif_manifest``               id of the manifest
``iiif_canvas``                 id of the canvas
``iiif_canvas_width, _height``  size of the canvas, in its own units
``iiif_canvas_part``            ``x,y,width,height`` of the part of the canvas that the picture fills, if not all of it
``iiif_service``                id of the image service, if there is one
``label``, ``canvas_label``     of the manifest, of the canvas
``collection``                  label of the collection
``date``                        ``navDate``, unless the metadata of the manifest has a date
``rights``, ``attribution``     of the manifest or the canvas
==============================  =======================================================================================

Pairs of the manifest's ``metadata`` keep their labels as keys; those of the canvas come before them.
"""

from __future__ import annotations

import html
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from index.image_api import ImageResource, fetch_image
from index.items import Pending, SourceFailure, SourceItem, explained, local_path
from matcher.errors import InputError
from matcher.images import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from index.annotations import Zone
    from index.fetching import Fetcher

__all__ = [
    "CANVAS",
    "CANVAS_HEIGHT",
    "CANVAS_PART",
    "CANVAS_WIDTH",
    "MANIFEST",
    "SERVICE",
    "Library",
    "is_address",
    "is_manifest",
]

MANIFEST = "iiif_manifest"
CANVAS = "iiif_canvas"
CANVAS_WIDTH = "iiif_canvas_width"
CANVAS_HEIGHT = "iiif_canvas_height"
CANVAS_PART = "iiif_canvas_part"
SERVICE = "iiif_service"

_DEEPEST = 20
"""Collections within collections; more is a mistake, or a trap."""

Json = dict[str, Any]


def is_address(name: str) -> bool:
    """Return whether a source is to be fetched rather than a file."""
    return re.match(r"https?:/", name, re.IGNORECASE) is not None


def is_manifest(document: Any) -> bool:
    """Return whether a JSON document is a manifest or a collection."""
    return _kind(document) in ("manifest", "collection")


class Library:
    """Reads manifests and fetches their pictures.

    Parameters
    ----------
    fetcher : Fetcher
    work_size : int
        Long side, in pixels, at which pictures are asked for.
    """

    def __init__(self, fetcher: Fetcher, work_size: int) -> None:
        self._fetcher = fetcher
        self._work_size = work_size
        self._read: set[str] = set()

    def expand(self, source: str) -> Iterator[SourceItem | Pending | SourceFailure]:
        """Yield the pictures of a manifest or collection at an address; what is kept already need not be fetched."""
        yield from self._addressed(source, "", 0)

    def expand_document(self, document: Json, source: str) -> Iterator[SourceItem | Pending | SourceFailure]:
        """Yield the pictures of a manifest or collection that was read from the file `source`."""
        yield from self._document(document, source, "", 0)

    def _addressed(self, address: str, collection: str, depth: int) -> Iterator[SourceItem | Pending | SourceFailure]:
        if address in self._read:
            return
        self._read.add(address)
        if depth > _DEEPEST:
            yield SourceFailure(address, f"in more than {_DEEPEST} collections within each other; name it by itself")
            return
        try:
            document = self._fetcher.document(address)
        except InputError as error:
            yield SourceFailure(address, str(error).removeprefix(f"{address}: "))
            return
        yield from self._document(document, address, collection, depth)

    def _document(
        self, document: Any, source: str, collection: str, depth: int
    ) -> Iterator[SourceItem | Pending | SourceFailure]:
        try:
            kind = _kind(document)
            if kind == "manifest":
                yield from self._manifest(document, source, collection)
            elif kind == "collection":
                label = _text(document.get("label"))
                for part in _parts(document):
                    if (address := _id(part)) and is_address(address):
                        yield from self._addressed(address, label, depth + 1)
                    else:
                        reason = f"a part of the collection, {address!r}, has no address; name its manifest by itself"
                        yield SourceFailure(source, reason)
            else:
                yield SourceFailure(source, "neither a IIIF manifest nor a collection; check the address")
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            reason = f"not as the IIIF Presentation API has it ({type(error).__name__}: {error}); tell its library"
            yield SourceFailure(source, reason)

    def _manifest(self, manifest: Json, source: str, collection: str) -> Iterator[SourceItem | Pending | SourceFailure]:
        about = {MANIFEST: _id(manifest) or source, "label": _text(manifest.get("label")), "collection": collection}
        about |= _described(manifest)
        names: set[str] = set()
        empty = True
        for canvas in _canvases(manifest):
            empty = False
            name = _id(canvas)
            if not name:
                yield SourceFailure(source, "a canvas without an id; tell its library")
                continue
            if name in names:
                continue
            found = 0
            for body, target in _paintings(canvas):
                resource = _resource(body)
                if resource is not None:
                    found += 1
                    part = _part(target)
                    own = name if found == 1 else f"{name}#{'xywh=' + part if part else found}"
                    names.add(own)
                    about_it = about | _described(canvas) | _placed(canvas, name, part) | {SERVICE: resource.service}
                    about_it["canvas_label"] = _text(canvas.get("label"))
                    yield self._painted(own, resource, source, {k: v for k, v in about_it.items() if v})
            if not found:
                yield SourceFailure(name, "a canvas without a picture; nothing to index")
        if empty:
            yield SourceFailure(source, "a manifest without canvases; nothing to index")

    def picture(
        self, address: str, metadata: Mapping[str, str], zones: Callable[[Path], tuple[Zone, ...]]
    ) -> SourceItem | Pending:
        """Return the picture at an address of its own, which is its name too."""
        return self._kept(address, ImageResource(address), metadata, zones)

    def text(self, address: str) -> Path:
        """Return the file that the XML document at an address was fetched into; `InputError` if it cannot be had."""
        return self._fetcher.text(address, ".xml")

    def _painted(
        self, name: str, resource: ImageResource, source: str, metadata: Mapping[str, str]
    ) -> SourceItem | Pending | SourceFailure:
        """Return a picture that a manifest names; addresses in it may be relative to its own."""
        if not resource.service and not is_address(resource.address):
            if not is_address(source) and (path := local_path(resource.address, Path(source).parent)) is not None:
                return _beside(name, path, metadata)
            resource = replace(resource, address=urljoin(source, resource.address))
        return self._kept(name, resource, metadata)

    def _kept(
        self,
        name: str,
        resource: ImageResource,
        metadata: Mapping[str, str],
        zones: Callable[[Path], tuple[Zone, ...]] = lambda _: (),
    ) -> SourceItem | Pending:
        if resource.service:
            wanted = f"{resource.service}/{resource.region}/{self._work_size}/{resource.rotation}"
            path = self._fetcher.kept(wanted, ".jpg")
        else:
            suffix = Path(urlsplit(resource.address).path).suffix.lower()
            path = self._fetcher.kept(resource.address, suffix if suffix in IMAGE_SUFFIXES else ".jpg")
        fetch = partial(fetch_image, resource, self._fetcher, self._work_size)
        pending = Pending(name, path.resolve(), fetch, metadata, zones)
        return pending.here() or pending


def _beside(name: str, path: Path, metadata: Mapping[str, str]) -> SourceItem | SourceFailure:
    """Return the picture that lies in a file beside the manifest's."""
    try:
        path = path.resolve(strict=True)
        status = path.stat()
    except (OSError, RuntimeError, ValueError) as error:
        return SourceFailure(name, f"{path}: {explained(error)}")
    return SourceItem(name, path, 0, status.st_size, status.st_mtime_ns, metadata)


def _kind(document: Any) -> str:
    """Return the type of a resource in lower case, without the prefix that version 2 gives it."""
    if not isinstance(document, dict):
        return ""
    return str(document.get("type") or document.get("@type") or "").rpartition(":")[2].lower()


def _id(resource: Any) -> str:
    return str(resource.get("id") or resource.get("@id") or "") if isinstance(resource, dict) else str(resource or "")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _parts(collection: Json) -> Iterator[Any]:
    for key in ("items", "members", "collections", "manifests"):
        yield from _list(collection.get(key))


def _canvases(manifest: Json) -> Iterator[Json]:
    for item in _list(manifest.get("items")):
        if _kind(item) == "canvas":
            yield item
    for sequence in _list(manifest.get("sequences")):
        yield from _list(sequence.get("canvases"))


def _paintings(canvas: Json) -> Iterator[tuple[Any, Any]]:
    """Yield what is painted on a canvas, and where."""
    for page in _list(canvas.get("items")):
        for annotation in _list(page.get("items")):
            if "painting" in _list(annotation.get("motivation")):
                for body in _list(annotation.get("body")):
                    yield body, annotation.get("target")
    for annotation in _list(canvas.get("images")):
        yield annotation.get("resource"), annotation.get("on")


def _resource(body: Any, region: str = "full", rotation: str = "0") -> ImageResource | None:
    """Return the picture that a body is: of several to choose from the first, which is what viewers show."""
    kind = _kind(body)
    if isinstance(body, str):
        return ImageResource(body)
    if kind == "choice":
        choices = [body.get("default"), *_list(body.get("items")), *_list(body.get("item"))]
        return next((found for choice in choices if choice and (found := _resource(choice))), None)
    if kind == "specificresource":
        selector = next((item for item in _list(body.get("selector")) if isinstance(item, dict)), {})
        told = selector.get("region") or "full", selector.get("rotation") or "0"
        return _resource(body.get("source") or body.get("full"), *map(str, told))
    if kind not in ("image", ""):
        return None
    address, service = _id(body), _service(body)
    if not address and not service:
        return None
    sides = [int(body[side]) for side in ("width", "height") if str(body.get(side, "")).isdecimal()]
    return ImageResource(address, service, region, rotation, max(sides, default=0))


def _service(body: Json) -> str:
    """Return the id of the image service of a picture, empty if it has none."""
    for service in _list(body.get("service")):
        if isinstance(service, dict):
            told = " ".join(str(service.get(key, "")) for key in ("@context", "context", "type", "@type", "profile"))
            if re.search(r"image-api|iiif\.io/api/image|ImageService", told, re.IGNORECASE):
                return _id(service).rstrip("/")
    return ""


def _part(target: Any) -> str:
    """Return the part of a canvas that a target is, as ``x,y,width,height``, empty for all of it."""
    if isinstance(target, list):
        target = target[0] if target else ""
    selectors = _list(target.get("selector")) if isinstance(target, dict) else []
    texts = [_id(target), *(str(item.get("value", "")) for item in selectors if isinstance(item, dict))]
    numbers = r"(\d+(?:\.\d+)?)"
    for text in texts:
        if found := re.search(rf"xywh=(?:pixel:)?{numbers},{numbers},{numbers},{numbers}", text):
            return ",".join(found.groups())
    return ""


def _placed(canvas: Json, name: str, part: str) -> dict[str, str]:
    """Return where a picture lies; a canvas without a size is none that anything could be placed on again."""
    sides = [canvas.get("width"), canvas.get("height")]
    if not all(isinstance(side, int | float) and side >= 1 for side in sides):
        return {}
    width, height = (str(int(side)) for side in sides if side)
    whole = ["0", "0", width, height]
    own_part = {CANVAS_PART: part} if part and part.split(",") != whole else {}
    return {CANVAS: name, CANVAS_WIDTH: width, CANVAS_HEIGHT: height, **own_part}


def _described(resource: Json) -> dict[str, str]:
    """Return what a manifest or a canvas says of itself."""
    pairs: dict[str, str] = {}
    for pair in _list(resource.get("metadata")):
        if isinstance(pair, dict) and (key := _text(pair.get("label"))):
            pairs[key] = "; ".join(filter(None, [pairs.get(key), _text(pair.get("value"))]))
    required = resource.get("requiredStatement")
    told = {
        "rights": _text(resource.get("rights") or resource.get("license")),
        "attribution": _text(required.get("value") if isinstance(required, dict) else resource.get("attribution")),
    }
    if "date" not in {key.casefold() for key in pairs}:
        told["date"] = str(resource.get("navDate") or "").removesuffix("T00:00:00Z")
    return {key: value for key, value in (told | pairs).items() if value}


def _text(value: Any) -> str:
    """Return a text of version 2 or 3 in one of its languages, without markup: English if there is, else the first."""
    by_language: dict[str, list[str]] = {}
    if isinstance(value, dict) and "@value" not in value:
        by_language = {
            str(language): [str(text) for text in _list(texts) if text is not None] for language, texts in value.items()
        }
    else:
        for text in _list(value):
            tagged = text if isinstance(text, dict) else {"@value": text}
            language = str(tagged.get("@language") or "none")
            by_language.setdefault(language, []).append(str(tagged.get("@value", "")))
    chosen = next((by_language[key] for key in ("en", "none", "@none") if key in by_language), None)
    if chosen is None:
        chosen = next(iter(by_language.values()), [])
    plain = (html.unescape(re.sub(r"<[^<>]*>", " ", text)) for text in chosen)
    return "; ".join(filter(None, (" ".join(text.split()) for text in plain)))

"""A library's IIIF server on this machine, for tests: generated pages, and the faults that real servers have."""

from __future__ import annotations

import http.server
import io
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from PIL import Image

from tests.conftest import picture

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = (900, 600)
TILE = 256
Json = dict[str, Any]


def generated() -> Image.Image:
    """Return the page that the server has, of which every part looks different."""
    return Image.fromarray(picture("coffee", 600)).convert("RGB").resize(SIZE)


def jpeg(image: Image.Image) -> bytes:
    """Return an image as a JPEG file."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


@dataclass
class LibraryServer:
    """A library's server.

    Attributes
    ----------
    documents : mapping of path to JSON
    texts : mapping of path to XML
    level : int
        What its image service ``/image/NAME`` can do (Image API 3).
    faults : mapping of path to list
        What it does instead of answering, the first first: a status (with headers), or "drop" after half of the body.
    asked : list of (str, dict)
        Paths asked for, with the headers of the request.
    """

    address: str = ""
    documents: dict[str, Json] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    level: int = 1
    faults: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    page: Image.Image = field(default_factory=generated)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def info(self, service: str) -> Json:
        told = {
            "@context": "http://iiif.io/api/image/3/context.json",
            "id": self.address + service,
            "type": "ImageService3",
            "protocol": "http://iiif.io/api/image",
            "profile": f"level{self.level}",
            "width": SIZE[0],
            "height": SIZE[1],
        }
        if self.level == 0:
            told["tiles"] = [{"width": TILE, "scaleFactors": [1, 2, 4]}]
        return told

    def body(self, path: str) -> tuple[str, bytes] | None:
        """Return media type and content of what lies at a path, None if there is nothing."""
        if path in self.documents:
            return "application/json", json.dumps(self.documents[path]).encode()
        if path in self.texts:
            return "text/xml", self.texts[path].encode()
        if path.endswith("/info.json"):
            return "application/json", json.dumps(self.info(path.removesuffix("/info.json"))).encode()
        if path.startswith("/plain/"):
            return "image/jpeg", jpeg(self.page)
        asked = re.fullmatch(r"/image/\w+/(full|[\d,]+)/(max|\d+,\d*)/0/default\.jpg", path)
        if not asked:
            return None
        region, size = asked.groups()
        box = (0, 0, *SIZE)
        if region != "full":
            x, y, width, height = map(int, region.split(","))
            box = (x, y, x + width, y + height)
        cut = self.page.crop(box)
        if self.level == 0 and region == "full" and size != "max":
            return None  # it has tiles only
        if self.level == 0 and size == "max":
            return None
        if size != "max":
            wide, high = size.split(",")
            if not high:
                return None  # the form of version 2
            cut = cut.resize((int(wide), int(high)))
        return "image/jpeg", jpeg(cut)


@contextmanager
def serving() -> Iterator[LibraryServer]:
    """Serve at a free port as long as the block lasts."""
    served = LibraryServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Be quiet."""

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            served.asked.append((path, dict(self.headers)))
            fault = served.faults.get(path, [])
            now = fault.pop(0) if fault else None
            if isinstance(now, tuple):
                self.send_response(now[0])
                for name, value in {**now[1], "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()
                return
            found = served.body(path)
            if found is None:
                self.send_error(404)
                return
            kind, content = found
            begun = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(begun[1]) if begun else 0
            self.send_response(206 if begun else 200)
            self.send_header("Content-Type", kind)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(content) - start))
            if begun:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            end = len(content) // 2 if now == "drop" else len(content)
            self.wfile.write(content[start:end])
            if now == "drop":
                self.close_connection = True

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        served.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield served
        server.shutdown()


def service(library: LibraryServer, name: str) -> Json:
    """Return what a manifest says of the image service of a picture."""
    return {"id": f"{library.address}/image/{name}", "type": "ImageService3", "profile": f"level{library.level}"}


def manifest3(library: LibraryServer, *bodies: Json | None, **more: Any) -> Json:
    """Return a manifest of version 3 with a canvas for each body, an empty one for None."""
    canvases = []
    for number, body in enumerate(bodies, start=1):
        canvas = {
            "id": f"https://library.org/book/canvas/{number}",
            "type": "Canvas",
            "label": {"none": [f"f. {number}"]},
            "width": 1800,
            "height": 1200,
            "items": [],
        }
        if body is not None:
            painting = {"type": "Annotation", "motivation": "painting", "body": body, "target": canvas["id"]}
            canvas["items"] = [{"type": "AnnotationPage", "items": [painting]}]
        canvases.append(canvas)
    return {
        "@context": "http://iiif.io/api/presentation/3/context.json",
        "id": "https://library.org/book/manifest",
        "type": "Manifest",
        "label": {"fr": ["Le livre"], "en": ["The book"]},
        "items": canvases,
        **more,
    }


def manifest2(library: LibraryServer, name: str) -> Json:
    """Return a manifest of version 2 of one picture."""
    resource = {
        "@id": f"{library.address}/image/{name}/full/full/0/default.jpg",
        "@type": "dctypes:Image",
        "service": {
            "@context": "http://iiif.io/api/image/2/context.json",
            "@id": f"{library.address}/image/{name}",
            "profile": "http://iiif.io/api/image/2/level1.json",
        },
    }
    canvas = {
        "@id": "https://library.org/old/canvas/1",
        "@type": "sc:Canvas",
        "label": "1r",
        "width": 900,
        "height": 600,
        "images": [{"@type": "oa:Annotation", "resource": resource, "on": "https://library.org/old/canvas/1"}],
    }
    return {
        "@context": "http://iiif.io/api/presentation/2/context.json",
        "@id": "https://library.org/old/manifest",
        "@type": "sc:Manifest",
        "label": "An old book",
        "metadata": [{"label": "Printer", "value": "<b>Aldus</b> &amp; heirs"}, {"label": "Date", "value": "1499"}],
        "sequences": [{"@type": "sc:Sequence", "canvases": [canvas]}],
    }


def image_body(library: LibraryServer, name: str, **more: Any) -> Json:
    """Return a picture as the body of a painting, by default without an image service."""
    return {"id": f"{library.address}/plain/{name}.jpg", "type": "Image", **more}

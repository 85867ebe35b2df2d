"""Pictures from IIIF servers: a server of generated pages on this machine, with the faults that real ones have."""

from __future__ import annotations

import http.server
import io
import json
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from index import iiif
from index.fetching import Fetcher
from index.iiif import Library
from index.items import Pending, SourceFailure, SourceItem
from index.sources import expand_all
from index.store import Index
from matcher.errors import InputError
from tests.conftest import picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Calque

WORK_SIZE = 400
SIZE = (900, 600)
TILE = 256
Json = dict[str, Any]


def generated() -> Image.Image:
    """Return the page that the server has, of which every part looks different."""
    return Image.fromarray(picture("coffee", 600)).convert("RGB").resize(SIZE)


def jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


@dataclass
class Library3:
    """A library's server.

    Attributes
    ----------
    documents : mapping of path to JSON
    level : int
        What its image service ``/image/NAME`` can do (Image API 3).
    faults : mapping of path to list
        What it does instead of answering, the first first: a status (with headers), or "drop" after half of the body.
    asked : list of (str, dict)
        Paths asked for, with the headers of the request.
    """

    address: str = ""
    documents: dict[str, Json] = field(default_factory=dict)
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


@pytest.fixture
def library() -> Iterator[Library3]:
    served = Library3()

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


@pytest.fixture
def waits() -> list[float]:
    """Seconds that were waited, or would have been."""
    return []


@pytest.fixture
def fetcher(tmp_path: Path, waits: list[float]) -> Iterator[Fetcher]:
    made = Fetcher(tmp_path / "cache", pause=0.0, allow_private=True, sleep=waits.append)
    yield made
    made.close()


def service(library: Library3, name: str) -> Json:
    return {"id": f"{library.address}/image/{name}", "type": "ImageService3", "profile": f"level{library.level}"}


def manifest3(library: Library3, *bodies: Json | None, **more: Any) -> Json:
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


def manifest2(library: Library3, name: str) -> Json:
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


def image_body(library: Library3, name: str, **more: Any) -> Json:
    return {"id": f"{library.address}/plain/{name}.jpg", "type": "Image", **more}


def fetched(fetcher: Fetcher, source: str | Path) -> list[SourceItem | SourceFailure]:
    """Return what a source comes down to when all of it has been fetched."""
    found = expand_all([source], library=Library(fetcher, WORK_SIZE))
    return [item.fetched() if isinstance(item, Pending) else item for item in found]


def one_picture(fetcher: Fetcher, source: str | Path) -> Image.Image:
    (item,) = fetched(fetcher, source)
    assert isinstance(item, SourceItem), item
    with Image.open(item.path) as image:
        return image.convert("RGB")


def close_to(image: Image.Image, page: Image.Image) -> bool:
    """Return whether an image shows the whole page, whatever its size."""
    first, second = (each.convert("L").resize((60, 40)).tobytes() for each in (image, page))
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) / len(first) < 6


@pytest.mark.parametrize("level", [1, 2])
def test_a_picture_is_asked_for_at_the_size_at_which_it_is_indexed(
    library: Library3, fetcher: Fetcher, level: int
) -> None:
    library.level = level
    library.documents["/m"] = manifest3(library, image_body(library, "a", service=[service(library, "a")]))
    image = one_picture(fetcher, f"{library.address}/m")
    assert image.size == (400, 267)
    assert close_to(image, library.page)
    assert not any(path.startswith("/plain") for path in library.paths())


def test_tiles_are_put_together_where_there_is_nothing_else(library: Library3, fetcher: Fetcher) -> None:
    library.level = 0
    body = {"id": f"{library.address}/gone.jpg", "type": "Image", "service": [service(library, "a")]}
    library.documents["/m"] = manifest3(library, body)
    image = one_picture(fetcher, f"{library.address}/m")
    assert image.size == (450, 300)  # the least reduction of at least the wanted size
    assert close_to(image, library.page)


def test_a_picture_without_a_service_is_taken_as_it_is(library: Library3, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a", format="image/jpeg"))
    assert one_picture(fetcher, f"{library.address}/m").size == SIZE
    agent = library.asked[0][1]["User-Agent"]
    assert agent.startswith("calque/")


def test_what_a_manifest_says_is_kept(library: Library3, fetcher: Fetcher) -> None:
    about = {
        "metadata": [{"label": {"en": ["Printer"]}, "value": {"en": ["Aldus", "heirs"]}}],
        "navDate": "1499-01-01T00:00:00Z",
        "rights": "http://creativecommons.org/publicdomain/mark/1.0/",
        "requiredStatement": {"label": {"en": ["From"]}, "value": {"en": ["The <i>library</i>"]}},
    }
    body = image_body(library, "a", service=[service(library, "a")])
    library.documents["/m"] = manifest3(library, body, **about)
    (item,) = fetched(fetcher, f"{library.address}/m")
    assert isinstance(item, SourceItem)
    assert item.name == "https://library.org/book/canvas/1"
    assert item.metadata == {
        iiif.MANIFEST: "https://library.org/book/manifest",
        iiif.CANVAS: "https://library.org/book/canvas/1",
        iiif.CANVAS_WIDTH: "1800",
        iiif.CANVAS_HEIGHT: "1200",
        iiif.SERVICE: f"{library.address}/image/a",
        "label": "The book",
        "canvas_label": "f. 1",
        "date": "1499-01-01",
        "rights": about["rights"],
        "attribution": "The library",
        "Printer": "Aldus; heirs",
    }


def test_a_manifest_of_version_2(library: Library3, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest2(library, "a")
    (item,) = fetched(fetcher, f"{library.address}/m")
    assert isinstance(item, SourceItem)
    known = {key: item.metadata[key] for key in ("label", "Printer", "Date", "canvas_label", iiif.MANIFEST)}
    assert known == {
        "label": "An old book",
        "Printer": "Aldus & heirs",
        "Date": "1499",
        "canvas_label": "1r",
        iiif.MANIFEST: "https://library.org/old/manifest",
    }


def test_a_collection_is_read_to_its_ends_and_once(library: Library3, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a"))
    library.documents["/old"] = manifest2(library, "b")
    parts = [{"id": f"{library.address}/{name}", "type": "Manifest"} for name in ("m", "old", "missing")]
    inner = {"id": f"{library.address}/inner", "type": "Collection", "label": {"en": ["Within"]}, "items": parts[1:]}
    outer = [
        *parts[:1],
        {"id": inner["id"], "type": "Collection"},
        {"id": f"{library.address}/c", "type": "Collection"},
    ]
    library.documents["/inner"] = inner
    library.documents["/c"] = {"id": "c", "type": "Collection", "label": {"en": ["All"]}, "items": outer}
    first, second, failed = fetched(fetcher, f"{library.address}/c")
    assert isinstance(first, SourceItem)
    assert isinstance(second, SourceItem)
    assert [first.metadata["collection"], second.metadata["collection"]] == ["All", "Within"]
    assert isinstance(failed, SourceFailure)
    assert failed.name == f"{library.address}/missing"
    assert "404" in failed.reason


def test_a_canvas_without_a_picture_is_told(library: Library3, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, None, image_body(library, "a"))
    failed, item = fetched(fetcher, f"{library.address}/m")
    assert isinstance(failed, SourceFailure)
    assert failed.name == "https://library.org/book/canvas/1"
    assert "without a picture" in failed.reason
    assert isinstance(item, SourceItem)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"type": "Manifest"},
        {"type": "Manifest", "items": [3]},
        {"type": "Manifest", "items": [{"type": "Canvas"}]},
        {"type": "Collection", "items": ["nowhere"]},
        {"@type": "sc:Manifest", "sequences": "many"},
        {"type": 4},
    ],
)
def test_what_is_no_manifest_is_a_failure(library: Library3, fetcher: Fetcher, document: Any) -> None:
    library.documents["/m"] = document
    found = fetched(fetcher, f"{library.address}/m")
    assert found
    assert all(isinstance(item, SourceFailure) for item in found)


def test_a_busy_server_is_left_alone_as_long_as_it_asks(
    library: Library3, fetcher: Fetcher, waits: list[float]
) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a"))
    library.faults["/plain/a.jpg"] = [(429, {"Retry-After": "7"}), (503, {})]
    assert one_picture(fetcher, f"{library.address}/m").size == SIZE
    assert 7.0 in waits
    assert library.paths().count("/plain/a.jpg") == 3


def test_a_server_that_stays_busy_is_given_up(library: Library3, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a"))
    library.faults["/plain/a.jpg"] = [(503, {})] * 20
    (failed,) = fetched(fetcher, f"{library.address}/m")
    assert isinstance(failed, SourceFailure)
    assert "503" in failed.reason
    assert "try again later" in failed.reason
    assert not list(fetcher.folder.rglob("*.partial"))


def test_a_dropped_connection_is_taken_up_where_it_broke(library: Library3, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a"))
    library.faults["/plain/a.jpg"] = ["drop"]
    assert close_to(one_picture(fetcher, f"{library.address}/m"), library.page)
    _, again = (headers for path, headers in library.asked if path == "/plain/a.jpg")
    assert int(again["Range"].removeprefix("bytes=").rstrip("-")) > 1000
    assert again["If-Range"] == '"one"'


def test_a_redirection_is_followed(library: Library3, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a"))
    library.faults["/moved"] = [(301, {"Location": "/m"})]
    library.faults["/plain/a.jpg"] = [(302, {"Location": f"{library.address}/plain/b.jpg"})]
    assert one_picture(fetcher, f"{library.address}/moved").size == SIZE


def test_redirections_in_a_circle_end(library: Library3, fetcher: Fetcher) -> None:
    library.faults["/m"] = [(302, {"Location": "/m"})] * 50
    (failed,) = fetched(fetcher, f"{library.address}/m")
    assert isinstance(failed, SourceFailure)
    assert "redirections" in failed.reason


@pytest.mark.parametrize("server", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.8", "169.254.1.1"])
def test_private_networks_are_not_asked(library: Library3, tmp_path: Path, server: str) -> None:
    port = urlsplit(library.address).port
    fetcher = Fetcher(tmp_path / "cache", pause=0.0, sleep=lambda _: None)
    with pytest.raises(InputError, match=r"--allow-private|no such server"):
        fetcher.document(f"http://{server}:{port}/m")
    assert library.asked == []


def test_nor_by_way_of_a_redirection(library: Library3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that counts as public sends on to one that does not."""
    port = urlsplit(library.address).port
    monkeypatch.setattr("index.fetching._is_public", lambda address: address == "127.0.0.1")
    library.faults["/m"] = [(302, {"Location": f"http://127.0.0.2:{port}/secret"})]
    fetcher = Fetcher(tmp_path / "cache", pause=0.0, sleep=lambda _: None)
    with pytest.raises(InputError, match=r"127\.0\.0\.2.*--allow-private"):
        fetcher.document(f"{library.address}/m")
    assert library.paths() == ["/m"]
    with pytest.raises(InputError, match="not an http or https address"):
        library.faults["/m"] = [(302, {"Location": "file:///etc/passwd"})]
        fetcher.document(f"{library.address}/m")


def test_a_page_instead_of_a_picture_is_no_picture(library: Library3, fetcher: Fetcher) -> None:
    library.documents["/login"] = {"please": "log in"}
    body = {"id": f"{library.address}/login", "type": "Image"}
    library.documents["/m"] = manifest3(library, body)
    (failed,) = fetched(fetcher, f"{library.address}/m")
    assert isinstance(failed, SourceFailure)
    assert "not with an image" in failed.reason


def test_pictures_lie_beside_a_manifest_that_is_a_file(fetcher: Fetcher, library: Library3, tmp_path: Path) -> None:
    generated().save(tmp_path / "page 1.png")
    source = tmp_path / "manifest.json"
    source.write_text(json.dumps(manifest3(library, {"id": "page 1.png", "type": "Image"})))
    (item,) = fetched(fetcher, source)
    assert isinstance(item, SourceItem)
    assert item.path == (tmp_path / "page 1.png").resolve()
    assert item.metadata["label"] == "The book"


def test_the_command_adds_a_manifest_and_does_not_fetch_it_twice(
    library: Library3, tmp_path: Path, calque: Calque
) -> None:
    bodies = [image_body(library, name, service=[service(library, name)]) for name in "ab"]
    source = tmp_path / "manifest.json"
    source.write_text(json.dumps(manifest3(library, *bodies, None, navDate="1499-01-01T00:00:00Z")))
    index = tmp_path / "book.calque"
    words = ("add", index, source, "--workers", "0", "--work-size", WORK_SIZE, "--format", "json")
    cache = {"CALQUE_CACHE": str(tmp_path / "cache")}
    refused = calque(*words, env=cache)
    assert (refused.returncode, json.loads(refused.stdout)["added"]) == (1, 0)
    assert "--allow-private" in refused.stderr
    assert library.asked == []

    done = calque(*words, "--allow-private", env=cache)
    assert (done.returncode, json.loads(done.stdout)["added"]) == (1, 2), done.stderr
    assert "canvas/3: a canvas without a picture" in done.stderr
    with Index.open(index) as opened:
        known = {image.name: opened.metadata(image.id) for image in opened.images()}
        assert opened.select("date=1499") == {1, 2}
    assert list(known) == ["https://library.org/book/canvas/1", "https://library.org/book/canvas/2"]
    assert {values[iiif.MANIFEST] for values in known.values()} == {"https://library.org/book/manifest"}

    count = len(library.asked)
    again = json.loads(calque(*words, "--allow-private", env=cache).stdout)
    assert (again["added"], again["unchanged"]) == (0, 2)
    assert len(library.asked) == count

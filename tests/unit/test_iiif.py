"""Pictures from IIIF servers: which are asked for, how politely, and what is known of them then."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from index import iiif
from index.fetching import Fetcher, NotServed
from index.iiif import Library
from index.image_api import ImageInfo, ImageResource
from index.items import Pending, SourceFailure, SourceItem
from index.sources import expand_all
from index.store import Index
from matcher.errors import InputError
from tests.iiif_server import SIZE, Json, generated, image_body, manifest2, manifest3, service, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Calque
    from tests.iiif_server import LibraryServer

WORK_SIZE = 400


@pytest.fixture
def library() -> Iterator[LibraryServer]:
    with serving() as served:
        yield served


@pytest.fixture
def waits() -> list[float]:
    """Seconds that were waited, or would have been."""
    return []


@pytest.fixture
def fetcher(tmp_path: Path, waits: list[float]) -> Iterator[Fetcher]:
    made = Fetcher(tmp_path / "cache", pause=0.0, allow_private=True, sleep=waits.append)
    yield made
    made.close()


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
    library: LibraryServer, fetcher: Fetcher, level: int
) -> None:
    library.level = level
    library.documents["/m"] = manifest3(library, image_body(library, "a", service=[service(library, "a")]))
    image = one_picture(fetcher, f"{library.address}/m")
    assert image.size == (400, 267)
    assert close_to(image, library.page)
    assert not any(path.startswith("/plain") for path in library.paths())


def test_tiles_are_put_together_where_there_is_nothing_else(library: LibraryServer, fetcher: Fetcher) -> None:
    library.level = 0
    body = {"id": f"{library.address}/gone.jpg", "type": "Image", "service": [service(library, "a")]}
    library.documents["/m"] = manifest3(library, body)
    image = one_picture(fetcher, f"{library.address}/m")
    assert image.size == (450, 300)  # the least reduction of at least the wanted size
    assert close_to(image, library.page)


def test_a_service_that_is_gone_leaves_the_file(library: LibraryServer, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a", service=[service(library, "a")]))
    library.faults["/image/a/info.json"] = [(404, {})]
    assert one_picture(fetcher, f"{library.address}/m").size == SIZE


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({"@context": "http://iiif.io/api/image/3/context.json", "profile": "level2"}, "full/400,300/0/default.jpg"),
        ({"@context": "http://iiif.io/api/image/3/context.json", "profile": "level2", "maxWidth": 200}, "200,150"),
        (
            {"@context": "http://iiif.io/api/image/2/context.json", "profile": ["level1.json"]},
            "full/400,/0/default.jpg",
        ),
        ({"@context": "http://library.stanford.edu/iiif/image-api/1.1/context.json", "profile": "#level1"}, "native"),
        ({"profile": ["level0.json"], "sizes": [{"width": w, "height": w * 3 // 4} for w in (100, 500, 900)]}, "500,"),
        ({"profile": ["level0.json", {"supports": ["sizeByW"]}]}, "full/400,/"),
        ({"profile": "level0"}, "full/full/0/default.jpg"),
    ],
)
def test_services_of_each_version_are_asked_in_its_words(told: Json, wanted: str) -> None:
    resource = ImageResource("", "https://library.org/a")
    info = ImageInfo.of({"width": 2000, "height": 1500, **told}, resource)
    first = next(iter([*info.addresses(WORK_SIZE), *info.last_resorts()]))
    assert first.startswith("https://library.org/a/full/")
    assert wanted in first


@pytest.mark.parametrize("told", [{}, [], 3, {"width": 0, "height": 5}, {"width": "wide", "height": 5}])
def test_a_service_that_says_nothing_of_use(told: Any) -> None:
    with pytest.raises(NotServed, match="not as the Image API has it"):
        ImageInfo.of(told, ImageResource("", "https://library.org/a"))


def test_a_mets_volume_whose_files_are_served(library: LibraryServer, fetcher: Fetcher, tmp_path: Path) -> None:
    """Images and texts are fetched, the zones brought to the pixels of what came."""
    links = ("IMAGE", "image/jpeg", "plain/a.jpg"), ("FULLTEXT", "text/xml", "alto/a.xml")
    groups = "".join(
        f"<fileGrp USE='{use}'><file ID='{use}' MIMETYPE='{kind}'>"
        f"<FLocat xlink:href='{library.address}/{path}'/></file></fileGrp>"
        for use, kind, path in links
    )
    division = "<div><fptr FILEID='IMAGE'/><fptr FILEID='FULLTEXT'/></div>"
    source = tmp_path / "mets.xml"
    source.write_text(
        "<mets xmlns='http://www.loc.gov/METS/' xmlns:xlink='http://www.w3.org/1999/xlink' LABEL='A book'>"
        f"<fileSec>{groups}</fileSec><structMap TYPE='PHYSICAL'>{division}</structMap></mets>"
    )
    library.texts["/alto/a.xml"] = (
        "<alto><Layout><Page WIDTH='1800' HEIGHT='1200'>"
        "<Illustration HPOS='200' VPOS='400' WIDTH='600' HEIGHT='100'/></Page></Layout></alto>"
    )
    (item,) = fetched(fetcher, source)
    assert isinstance(item, SourceItem)
    assert (item.name, item.metadata) == (f"{library.address}/plain/a.jpg", {"label": "A book"})
    assert [(zone.kind, zone.box.as_list()) for zone in item.zones] == [("illustration", [100, 200, 300, 50])]


def test_a_picture_without_a_service_is_taken_as_it_is(library: LibraryServer, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a", format="image/jpeg"))
    assert one_picture(fetcher, f"{library.address}/m").size == SIZE
    agent = library.asked[0][1]["User-Agent"]
    assert agent.startswith("calque/")


def test_what_a_manifest_says_is_kept(library: LibraryServer, fetcher: Fetcher) -> None:
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


def test_a_manifest_of_version_2(library: LibraryServer, fetcher: Fetcher) -> None:
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


def test_a_collection_is_read_to_its_ends_and_once(library: LibraryServer, fetcher: Fetcher) -> None:
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


def test_a_canvas_without_a_picture_is_told(library: LibraryServer, fetcher: Fetcher) -> None:
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
def test_what_is_no_manifest_is_a_failure(library: LibraryServer, fetcher: Fetcher, document: Any) -> None:
    library.documents["/m"] = document
    found = fetched(fetcher, f"{library.address}/m")
    assert found
    assert all(isinstance(item, SourceFailure) for item in found)


def test_a_busy_server_is_left_alone_as_long_as_it_asks(
    library: LibraryServer, fetcher: Fetcher, waits: list[float]
) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a"))
    library.faults["/plain/a.jpg"] = [(429, {"Retry-After": "7"}), (503, {})]
    assert one_picture(fetcher, f"{library.address}/m").size == SIZE
    assert 7.0 in waits
    assert library.paths().count("/plain/a.jpg") == 3


def test_a_server_that_stays_busy_is_given_up(library: LibraryServer, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a"))
    library.faults["/plain/a.jpg"] = [(503, {})] * 20
    (failed,) = fetched(fetcher, f"{library.address}/m")
    assert isinstance(failed, SourceFailure)
    assert "503" in failed.reason
    assert "try again later" in failed.reason
    assert not list(fetcher.folder.rglob("*.partial"))


def test_a_dropped_connection_is_taken_up_where_it_broke(library: LibraryServer, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a"))
    library.faults["/plain/a.jpg"] = ["drop"]
    assert close_to(one_picture(fetcher, f"{library.address}/m"), library.page)
    _, again = (headers for path, headers in library.asked if path == "/plain/a.jpg")
    assert int(again["Range"].removeprefix("bytes=").rstrip("-")) > 1000
    assert again["If-Range"] == '"one"'


def test_a_redirection_is_followed(library: LibraryServer, fetcher: Fetcher) -> None:
    library.documents["/m"] = manifest3(library, image_body(library, "a"))
    library.faults["/moved"] = [(301, {"Location": "/m"})]
    library.faults["/plain/a.jpg"] = [(302, {"Location": f"{library.address}/plain/b.jpg"})]
    assert one_picture(fetcher, f"{library.address}/moved").size == SIZE


def test_redirections_in_a_circle_end(library: LibraryServer, fetcher: Fetcher) -> None:
    library.faults["/m"] = [(302, {"Location": "/m"})] * 50
    (failed,) = fetched(fetcher, f"{library.address}/m")
    assert isinstance(failed, SourceFailure)
    assert "redirections" in failed.reason


@pytest.mark.parametrize("server", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.8", "169.254.1.1"])
def test_private_networks_are_not_asked(library: LibraryServer, tmp_path: Path, server: str) -> None:
    port = urlsplit(library.address).port
    fetcher = Fetcher(tmp_path / "cache", pause=0.0, sleep=lambda _: None)
    with pytest.raises(InputError, match=r"--allow-private|no such server"):
        fetcher.document(f"http://{server}:{port}/m")
    assert library.asked == []


def test_nor_by_way_of_a_redirection(library: LibraryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_page_instead_of_a_picture_is_no_picture(library: LibraryServer, fetcher: Fetcher) -> None:
    library.documents["/login"] = {"please": "log in"}
    body = {"id": f"{library.address}/login", "type": "Image"}
    library.documents["/m"] = manifest3(library, body)
    (failed,) = fetched(fetcher, f"{library.address}/m")
    assert isinstance(failed, SourceFailure)
    assert "not with an image" in failed.reason


@pytest.mark.parametrize("address", ["page 1.png", "page%201.png", "./page%201.png"])
def test_pictures_lie_beside_a_manifest_that_is_a_file(
    fetcher: Fetcher, library: LibraryServer, tmp_path: Path, address: str
) -> None:
    generated().save(tmp_path / "page 1.png")
    source = tmp_path / "manifest.json"
    source.write_text(json.dumps(manifest3(library, {"id": address, "type": "Image"})))
    (item,) = fetched(fetcher, source)
    assert isinstance(item, SourceItem)
    assert item.path == (tmp_path / "page 1.png").resolve()
    assert item.metadata["label"] == "The book"


def test_the_command_adds_a_manifest_and_does_not_fetch_it_twice(
    library: LibraryServer, tmp_path: Path, calque: Calque
) -> None:
    bodies = [image_body(library, name, service=[service(library, name)]) for name in "ab"]
    source = tmp_path / "manifest.json"
    source.write_text(json.dumps(manifest3(library, *bodies, None, navDate="1499-01-01T00:00:00Z")))
    index = tmp_path / "book.calque"
    words = ("add", index, source, "--workers", "1", "--work-size", WORK_SIZE, "--format", "json")
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

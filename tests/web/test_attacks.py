"""The attack table: what hostile clients, pages, pictures and manifests try, and the status they are refused with."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import struct
import time
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from matcher.errors import InputError
from tests.iiif_server import serving
from tests.web.conftest import Live, live
from webui.decoders import Decoders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

    from tests.web.conftest import Serve

pytestmark = pytest.mark.compiled
SCANS = "/api/indexes/scans"
UPLOADS = "/api/uploads"
JUDGED = {"image_a": 1, "image_b": 2, "verdict": "same"}


@pytest.fixture(scope="module")
def server(kept_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("attacked")
    static = folder / "static"
    static.mkdir()
    (static / "index.html").write_text("the page")
    (folder / "secret.txt").write_text("a secret")
    options = {"upload_seconds": 1.0, "upload_bytes": 100_000, "static": static, "read_only": True}
    with live(kept_index, folder, **options) as served:
        yield served


def answered(server: Live, target: str) -> tuple[int, bytes]:
    """Ask for an address exactly as it stands, which most clients would tidy up."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("GET", target, skip_accept_encoding=True)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


# No path outside the collections


@pytest.mark.parametrize(
    "target",
    [
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/..%2fsecret.txt",
        "/static/..%5csecret.txt",
        "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/static/%252e%252e/secret.txt",
        "/static/%c0%ae%c0%ae/secret.txt",
        "/static//etc/passwd",
        "/static/secret.txt%00.js",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/iiif/../../etc/passwd",
        "/iiif/scans/%2fetc%2fpasswd/full/max/0/default.jpg",
        "/iiif/scans/..%2f..%2fetc%2fpasswd/full/max/0/default.jpg",
        "/iiif/scans/1/..%2f..%2fetc/max/0/default.jpg",
        "/iiif/..%2fscans/1/info.json",
        "/iiif/uploads/..%2f..%2fsecret.txt/info.json",
        "/iiif/uploads/aaaaaaaaaaaaaaaaaaaaaaaa/info.json",
        "/api/indexes/..%2f..%2fetc/images",
        "/api/indexes/scans/images/..%2f..%2fsecret",
        "/api/indexes/scans/images/1%00",
        "/api/jobs/..%2f..%2fsecret",
    ],
)
def test_no_address_leads_out(server: Live, target: str) -> None:
    status, content = answered(server, target)
    assert status in (400, 404)
    assert b"secret" not in content.replace(target.encode(), b"").replace(b"secret.txt", b"").replace(b"/secret", b"")
    assert b"root:" not in content


@pytest.mark.parametrize(
    "source",
    ["/etc", "{allowed}/../other", "{allowed}/link", "{allowed}\0", "file:///etc", "~", "..", "{allowed}2", "//etc"],
)
def test_only_folders_that_are_allowed_are_added(writable: tuple[TestClient, Path], source: str) -> None:
    client, allowed = writable
    body = {"kind": "add", "index": "scans", "source": source.format(allowed=allowed)}
    assert client.post("/api/jobs", json=body).status_code == 403


def test_a_file_is_no_folder(writable: tuple[TestClient, Path]) -> None:
    client, allowed = writable
    body = {"kind": "add", "index": "scans", "source": str(allowed / "list.txt")}
    assert client.post("/api/jobs", json=body).status_code == 422


# Manifests do not make the server ask what a stranger could not


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("[::ffff:127.0.0.1]", "[fd00::1]", "[fe80::1]", "2130706433", "0x7f.1", "127.1", "[64:ff9b::7f00:1]"),
    ],
)
def test_private_addresses_are_not_asked(writable: tuple[TestClient, Path], host: str) -> None:
    client, _ = writable
    body = {"kind": "add", "index": "scans", "source": f"http://{host}:8/manifest.json"}
    assert client.post("/api/jobs", json=body).status_code in (403, 422)
    assert client.get("/api/jobs").json()["jobs"] == []


def test_nor_names_that_lead_there(writable: tuple[TestClient, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(host: str, port: int, *rest: Any, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", port))]

    client, _ = writable
    monkeypatch.setattr("index.fetching.socket.getaddrinfo", lookup)
    body = {"kind": "add", "index": "scans", "source": "https://library.example/manifest.json"}
    answer = client.post("/api/jobs", json=body)
    assert answer.status_code == 403
    assert "10.1.2.3" in answer.json()["detail"]


def test_nor_by_way_of_a_redirection(
    serve: Serve, own_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALQUE_CACHE", str(tmp_path / "fetched"))
    monkeypatch.setattr("index.fetching._is_public", lambda address: address == "127.0.0.1")
    with serving() as library:
        port = library.address.rpartition(":")[2]
        library.faults["/manifest.json"] = [(302, {"Location": f"http://127.0.0.2:{port}/other.json"})]
        client = serve(own_index)
        body = {"kind": "add", "index": "scans", "source": f"{library.address}/manifest.json"}
        job = client.post("/api/jobs", json=body).json()
        while (told := client.get(f"/api/jobs/{job['id']}").json())["ended"] is None:
            time.sleep(0.05)
        assert library.paths() == ["/manifest.json"]
        assert told["added"] == 0
        assert "127.0.0.2" in json.dumps(told)


def test_a_name_is_looked_up_once_and_then_held_to(
    serve: Serve, own_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads somewhere public when it is checked, and home when it is asked."""
    monkeypatch.setenv("CALQUE_CACHE", str(tmp_path / "fetched"))
    found = iter(["93.184.215.14"])

    def lookup(host: str, port: int, *rest: Any, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(found, "127.0.0.1"), port))]

    with serving() as library:
        client = serve(own_index)
        monkeypatch.setattr("index.fetching.socket.getaddrinfo", lookup)
        port = library.address.rpartition(":")[2]
        body = {"kind": "add", "index": "scans", "source": f"http://rebinding.example:{port}/manifest.json"}
        job = client.post("/api/jobs", json=body).json()
        while (told := client.get(f"/api/jobs/{job['id']}").json())["ended"] is None:
            time.sleep(0.05)
        assert library.paths() == []
        assert "127.0.0.1" in json.dumps(told)


# Pictures that are none, or too much


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """Return a grey PNG that says it has so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def deep_tiff() -> bytes:
    """Return a TIFF whose directories go round in a circle."""
    directory = struct.pack("<H", 1) + struct.pack("<HHII", 256, 4, 1, 10) + struct.pack("<I", 8)
    return b"II*\0" + struct.pack("<I", 8) + directory


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.png", b"\0" * 10_000_000)
    return content.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
HOSTILE = {
    "huge": png(100_000, 100_000),
    "too many pixels": png(20_000, 20_000),
    "bomb": png(13_000, 13_000, b"\0" * 13_001 * 13_000),
    "deep tiff": deep_tiff(),
    "zip": zipped(),
    "svg": SVG,
    "html": b"<!doctype html><script>alert(1)</script>",
    "pdf": b"%PDF-1.7\n%%EOF",
    "nothing": b"",
    "half": b"\xff\xd8\xff\xe0\0\x10JFIF",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["image/png", "form", "image/svg+xml", "application/zip", "text/html"])
def test_what_is_no_picture_is_refused(frugal: TestClient, name: str, kind: str) -> None:
    content = HOSTILE[name]
    if kind == "form":
        answer = frugal.post(UPLOADS, files={"file": ("picture.png", content, "image/png")})
    else:
        answer = frugal.post(UPLOADS, content=content, headers={"Content-Type": kind})
    assert answer.status_code == 415, answer.text
    assert "Traceback" not in answer.text


def test_the_server_lives_on(frugal: TestClient) -> None:
    good = io.BytesIO()
    Image.fromarray(np.full((60, 80), 90, np.uint8)).save(good, "PNG")
    assert frugal.post(UPLOADS, content=HOSTILE["bomb"], headers={"Content-Type": "image/png"}).status_code == 415
    answer = frugal.post(UPLOADS, content=good.getvalue(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 201
    assert frugal.get("/iiif/scans/1/full/!50,50/0/default.jpg").status_code == 200


def _die() -> None:
    os._exit(7)


def test_a_process_that_hangs_or_dies_is_replaced() -> None:
    decoders = Decoders(1, 1 << 30)
    assert decoders.do(60, max, 1, 2) == 2
    with pytest.raises(InputError, match="takes more than"):
        decoders.do(0.2, time.sleep, 60)
    with pytest.raises(InputError, match="status 7"):
        decoders.do(60, _die)
    with pytest.raises(InputError, match="Memory"):
        decoders.do(60, bytearray, 4 << 30)
    assert decoders.do(60, max, 3, 4) == 4
    decoders.close()


def test_pictures_are_served_as_pictures_only(frugal: TestClient) -> None:
    answer = frugal.get("/iiif/scans/1/full/!50,50/0/default.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    for form in ("svg", "html", "gif"):
        assert frugal.get(f"/iiif/scans/1/full/!50,50/0/default.{form}").status_code == 404


# Bodies


def test_uploads_are_bounded(server: Live) -> None:
    too_much = b"\0" * 300_000
    address = f"{server.address}{UPLOADS}"
    headers = {"Content-Type": "image/png"}
    assert httpx2.post(address, content=too_much, headers=headers).status_code == 413
    assert httpx2.post(address, content=iter([too_much]), headers=headers).status_code == 413  # its length not told
    assert httpx2.post(address, files={"file": ("a.png", too_much)}).status_code == 413
    form = {"file": "no file", "x": "1"}
    assert httpx2.post(address, files={"file": ("a.png", b"1"), "more": ("b.png", b"2")}).status_code == 400
    assert httpx2.post(address, data=form).status_code in (400, 415)
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert httpx2.post(address, content=b"--y\r\nnonsense", headers=broken).status_code == 400
    nameless = {"Content-Type": "multipart/form-data"}
    assert httpx2.post(address, content=b"--y\r\nnonsense", headers=nameless).status_code == 400


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=x"])
def test_who_sends_too_slowly_is_sent_away(server: Live, kind: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
        head = f"POST {UPLOADS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: 90000\r\n\r\n"
        wire.sendall(head.encode())
        begun = time.monotonic()
        wire.sendall(b"--x\r\n")
        answer = wire.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begun >= 0.9


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 60_000, 400),
        (b'{"image_a":' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400),
        (b"\xff\xfe{}", 400),
        (b'{"image_a": 1, "image_b": 2, "verdict": "maybe"}', 400),
        (b'{"image_a": NaN, "image_b": 2, "verdict": "same"}', 400),
        (b'{"image_a": 1, "image_b": 1e999, "verdict": "same"}', 400),
        (b'{"image_a": "1", "image_b": 2, "verdict": "same"}', 400),
        (b'{"image_a": 1, "image_b": 2, "verdict": "same", "admin": true}', 400),
        (b'{"image_a": 1, "image_b": 2, "verdict": "same", "region_a": [1, 2, 3]}', 400),
        (b'{"image_a": 1, "image_b": 2, "verdict": "same", "region_a": [0, 0, 0, 5]}', 422),
        (b'{"image_a": 1, "image_b": 99, "verdict": "same"}', 404),
        (b'{"note": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
def test_malformed_json(writable: tuple[TestClient, Path], content: bytes, status: int) -> None:
    client, _ = writable
    before = client.get(f"{SCANS}/judgements").json()
    headers = {"Content-Type": "application/json"}
    answer = client.post(f"{SCANS}/judgements", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert client.get(f"{SCANS}/judgements").json() == before

"""Who may ask, how often, and what pages of other sites try: the second half of the attack table."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from index.store import Index
from tests.web.conftest import HERE
from webui import guard
from webui.application import OPERATIONS, make_application
from webui.options import Options
from webui.problems import Refusal
from webui.work import Line

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Serve

pytestmark = pytest.mark.compiled
SCANS = "/api/indexes/scans"
UPLOADS = "/api/uploads"
JUDGED = {"image_a": 1, "image_b": 2, "verdict": "same"}


@dataclass
class Clock:
    """Time as the guard is told it; it stands still unless a test moves it."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(guard, "time", clock)
    return clock


# Pages of other sites


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": HERE, "Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": f"{HERE}:81"}, 403),
        ({"Origin": "https://127.0.0.1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "localhost:9"}, 201),
        ({"Host": "scans.library.example"}, 201),
    ],
)
def test_other_sites_change_nothing(writable: tuple[TestClient, Path], headers: dict[str, str], status: int) -> None:
    client, _ = writable
    content = json.dumps(JUDGED).encode()
    told = {"Content-Type": "application/json", **headers}
    assert client.post(f"{SCANS}/judgements", content=content, headers=told).status_code == status


@pytest.mark.parametrize("target", ["/api/indexes", f"{SCANS}/search?image=1", "/iiif/scans/1/full/!9,9/0/default.jpg"])
def test_other_sites_see_nothing(frugal: TestClient, target: str) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert frugal.get(target, headers=headers).status_code == 403
    assert frugal.get(target, headers={"Host": "rebinding.example"}).status_code == 421
    answer = frugal.get(target)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "target", ["/", "/api", "/api/nothing", f"{SCANS}/search", "/static/none", "/iiif/scans/1/info.json"]
)
def test_every_answer_tells_browsers_what_to_forbid(frugal: TestClient, target: str) -> None:
    headers = frugal.get(target).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_markup_in_metadata_and_names_stays_text(serve: Serve, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\"'=1+1.png"
    folder = tmp_path / "scans"
    folder.mkdir()
    random = np.random.default_rng(1).integers(0, 255, (40, 40), np.uint8)
    Image.fromarray(random).resize((400, 400)).save(folder / name)
    with Index.create(tmp_path / "marked.calque") as index:
        index.add([folder], workers=0)
        index.set_metadata({1: {"title": "</script><script>alert(1)</script>", "=cmd": "=HYPERLINK(1)"}})
    client = serve(tmp_path / "marked.calque")
    listed = client.get("/api/indexes/marked/images")
    assert listed.headers["content-type"] == "application/json"
    assert listed.json()["images"][0]["title"] == "</script><script>alert(1)</script>"
    for form in ("csv", "jsonl", "iiif", "coco"):
        answer = client.get("/api/indexes/marked/search/export", params={"image": 1, "form": form})
        assert answer.status_code == 200
        assert "html" not in answer.headers["content-type"]
        assert answer.headers["content-disposition"].startswith('attachment; filename="')
        assert "<" not in answer.headers["content-disposition"]


# Who may ask


def test_without_the_token_nothing_is_told(serve: Serve, own_index: Path) -> None:
    client = serve(own_index, token="right")
    assert client.get("/api").json()["authenticated"] is False
    for target in ("/api/indexes", SCANS, "/iiif/scans/1/info.json", "/api/openapi.json", "/api/jobs"):
        assert client.get(target).status_code == 401
    for told in ("Bearer wrong", "Bearer ", "Basic right", "right", "Bearer righ\u00ff"):
        headers = {"Authorization": told.encode("latin-1")}
        assert client.get("/api/indexes", headers=headers).status_code == 401
    for kept in ("right", "wrong", ""):
        assert client.get("/api/indexes", headers={"Cookie": f"calque_token={kept}"}).status_code == 401
    assert client.post(f"{SCANS}/judgements", json=JUDGED).status_code == 401
    assert client.post("/api/login", json={"token": "wrong"}).status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    assert client.get("/api/indexes").status_code == 401


def test_with_the_token_all_is_told(serve: Serve, own_index: Path) -> None:
    client = serve(own_index, token="right")
    assert client.get("/api/indexes", headers={"Authorization": "Bearer right"}).status_code == 200
    answer = client.get("/?token=right", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "right" not in cookie.replace("calque_token", "")
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict"))
    assert client.get("/api/indexes").status_code == 200
    client.cookies.clear()
    assert client.post("/api/login", json={"token": "right"}).status_code == 204
    assert client.get("/api").json()["authenticated"] is True


def test_a_user_is_believed_from_the_proxy_only(kept_index: Path, tmp_path: Path) -> None:
    options = Options(
        cache=tmp_path, workers=1, rate=0.0, warm=False, user_header="X-User", proxies=frozenset({"10.0.0.9"})
    )
    application = make_application([kept_index], options)
    with TestClient(application, HERE, client=("10.0.0.9", 1)) as proxy:
        assert proxy.get("/api", headers={"X-User": "ada"}).json()["user"] == "ada"
        assert proxy.get("/api/indexes").status_code == 401
        stranger = TestClient(application, HERE, client=("10.0.0.8", 1))
        assert stranger.get("/api/indexes", headers={"X-User": "ada"}).status_code == 401


def test_only_a_proxy_tells_how_it_was_reached(own_index: Path, tmp_path: Path, clock: Clock) -> None:
    options = Options(cache=tmp_path, workers=1, rate=1.0, warm=False, names=frozenset({"scans.library.example"}))
    application = make_application([own_index], options)
    headers = {"Host": "scans.library.example", "Origin": "https://scans.library.example", "X-Forwarded-Proto": "https"}
    with TestClient(application, HERE, client=("127.0.0.1", 1)) as proxy:
        assert proxy.post(f"{SCANS}/judgements", json=JUDGED, headers=headers).status_code == 201
        stranger = TestClient(application, HERE, client=("10.0.0.8", 1))
        assert stranger.post(f"{SCANS}/judgements", json=JUDGED, headers=headers).status_code == 403
        for number in range(30):  # who claims to be ever others is still one
            headers["X-Forwarded-For"] = f"10.1.1.{number}"
            status = stranger.get("/api", headers=headers | {"Origin": "http://scans.library.example"}).status_code
        assert status == 429
        assert proxy.get("/api", headers={"X-Forwarded-For": "10.1.1.1"}).status_code == 200


def test_nobody_reads_anothers_upload(serve: Serve, kept_index: Path, photograph: Path) -> None:
    client = serve(kept_index)
    upload = client.post(UPLOADS, files={"file": ("mine.png", photograph.read_bytes())}).json()["id"]
    theirs = dict(client.cookies)
    targets = [
        f"{UPLOADS}/{upload}",
        f"/iiif/uploads/{upload}/info.json",
        f"/iiif/uploads/{upload}/full/max/0/default.jpg",
        f"{SCANS}/search?upload={upload}",
        f"{SCANS}/search/export?upload={upload}",
        f"{SCANS}/comparison?upload={upload}&with=1",
        f"{SCANS}/comparison/a?upload={upload}&with=1",
    ]
    for target in targets:
        assert client.get(target).status_code in (200, 404 if "comparison/a" in target else 200)
    for cookies in ({}, {"calque_browser": "somebody-else"}, {"calque_browser": ""}):
        client.cookies.clear()
        client.cookies.update(cookies)
        for target in targets:
            assert client.get(target).status_code == 404
        assert client.delete(f"{UPLOADS}/{upload}").status_code == 404
    client.cookies.clear()
    client.cookies.update(theirs)
    assert client.get(f"{UPLOADS}/{upload}").status_code == 200


def test_uploads_are_forgotten(serve: Serve, kept_index: Path, photograph: Path) -> None:
    client = serve(kept_index, kept_seconds=0.0)
    upload = client.post(UPLOADS, files={"file": ("mine.png", photograph.read_bytes())}).json()["id"]
    assert client.get(f"{UPLOADS}/{upload}").status_code == 404


def test_read_only_means_it(serve: Serve, own_index: Path) -> None:
    client = serve(own_index, read_only=True)
    parts = {"index": "scans", "judgement": 1, "job": "abcdefgh"}
    changing = [operation for operation in OPERATIONS if operation.method != "GET"]
    harmless = {"/api/login", "/api/uploads", "/api/uploads/{upload}"}
    assert {operation.path for operation in changing if not operation.writes} == harmless
    for operation in changing:
        if operation.writes:
            assert client.request(operation.method, operation.path.format(**parts), json={}).status_code == 403


def test_who_asks_too_often_waits(serve: Serve, own_index: Path, clock: Clock) -> None:
    client = serve(own_index, rate=1.0)
    statuses = [client.get("/api").status_code for _ in range(30)]
    assert statuses == [200] * 20 + [429] * 10
    assert client.get("/api").headers["retry-after"] == "1"
    clock.now += 2.5
    assert [client.get("/api").status_code for _ in range(3)] == [200, 200, 429]


def test_tokens_cannot_be_guessed_quickly(serve: Serve, own_index: Path, clock: Clock) -> None:
    client = serve(own_index, rate=1.0, token="right")
    statuses = [client.post("/api/login", json={"token": str(guess)}).status_code for guess in range(5)]
    assert statuses == [401, 401, 429, 429, 429]


def test_a_crowd_is_sent_away_rather_than_kept() -> None:
    async def crowd() -> list[object]:
        line = Line("busy", 1, 2)
        asked = [line.run(time.sleep, 0.05) for _ in range(6)]
        done = await asyncio.gather(*asked, return_exceptions=True)
        line.close()
        return list(done)

    done = asyncio.run(crowd())
    assert done[:3] == [None] * 3
    assert all(isinstance(one, Refusal) and one.status == 503 and "Retry-After" in one.headers for one in done[3:])


def test_an_address_may_not_be_endless(frugal: TestClient) -> None:
    assert frugal.get(f"{SCANS}/images?text={'x' * 9000}").status_code == 414
    assert frugal.get(f"{SCANS}/images", params={"where": "(" * 1000}).status_code == 422

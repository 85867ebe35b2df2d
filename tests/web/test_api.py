"""The API as the page uses it, from outside."""

from __future__ import annotations

import csv
import io
import json
import time
import zipfile
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from index.store import Index
from tests.web.conftest import Serve, live

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

    from tests.conftest import Collection

pytestmark = pytest.mark.compiled
SCANS = "/api/indexes/scans"


def got(client: TestClient, address: str, status: int = 200, **options: Any) -> Any:
    answer = client.get(address, **options)
    assert answer.status_code == status, answer.text
    return answer.json()


def pixels(client: TestClient, address: str) -> np.ndarray:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def image_called(client: TestClient, name: str) -> dict[str, Any]:
    (found,) = got(client, f"{SCANS}/images", params={"text": name})["images"]
    return dict(found)


def asking(image: dict[str, Any], box: list[int]) -> dict[str, Any]:
    return {"image": image["id"], "region": ",".join(map(str, box))}


def test_the_server_says_what_it_is(client: TestClient) -> None:
    service = got(client, "/api")
    assert service["authenticated"]
    assert service["read_only"]
    (index,) = got(client, "/api/indexes")["indexes"]
    assert (index["name"], index["images"], index["fields"]) == ("scans", 8, ["date", "title"])
    assert index == got(client, SCANS) | {"ready": index["ready"]}


def test_images_are_sorted_filtered_and_paged(client: TestClient) -> None:
    dates = [image["metadata"]["date"] for image in got(client, f"{SCANS}/images?sort=-date")["images"]]
    assert dates == sorted(dates, reverse=True)
    part = got(client, f"{SCANS}/images?sort=date&offset=2&limit=3")
    assert part["total"] == 8
    assert [image["metadata"]["date"] for image in part["images"]] == ["1520", "1530", "1540"]
    assert got(client, f"{SCANS}/images", params={"where": "date >= 1550"})["total"] == 3
    assert image_called(client, "OF coffee")["name"] == "scans/b/coffee.jpg"
    assert "did you mean 'date'" in got(client, f"{SCANS}/images?where=dat=3", 422)["detail"]
    assert "nothing is sorted by" in got(client, f"{SCANS}/images?sort=colour", 422)["detail"]


def test_a_facet_chooses_what_it_counts(client: TestClient) -> None:
    told = got(client, f"{SCANS}/facets?field=date&limit=2&text=page")
    assert told["total"] == 8
    (facet,) = told["fields"]
    assert (facet["distinct"], facet["images"], len(facet["values"])) == (8, 8, 2)
    chosen = got(client, f"{SCANS}/images", params={"where": facet["values"][0]["where"]})
    assert [image["metadata"]["date"] for image in chosen["images"]] == [facet["values"][0]["value"]]


def test_an_image_has_zones_and_neighbours(client: TestClient) -> None:
    first, second, *_ = got(client, f"{SCANS}/images")["images"]
    detail = got(client, f"{SCANS}/images/{first['id']}")
    assert (detail["previous"], detail["next"]) == (None, second["id"])
    assert [zone["kind"] for zone in detail["regions"]] == ["illustration"]
    assert got(client, f"{SCANS}/images/999", 404)["status"] == 404


def test_what_is_seen_on_images_chooses_among_them(client: TestClient, collection: Collection) -> None:
    (things,) = [facet for facet in got(client, f"{SCANS}/facets")["fields"] if facet["of"] == "things"]
    assert (things["field"], things["distinct"], things["images"]) == ("object", 2, 2)
    assert got(client, f"{SCANS}/facets", params={"field": "object", "limit": 1})["fields"][0]["values"] == [
        {"value": "astronaut", "images": 1, "where": "object = 'astronaut'"}
    ]
    (chosen,) = got(client, f"{SCANS}/images", params={"where": things["values"][1]["where"]})["images"]
    assert chosen["name"] == "scans/a/chelsea.jpg"
    box = [float(edge) for edge in collection.boxes["a/chelsea.jpg"]]
    assert got(client, f"{SCANS}/images/{chosen['id']}")["things"] == [
        {"label": "chelsea", "box": box, "polygon": None, "score": 0.75, "origin": "eyes-1()"}
    ]
    only = {**asking(image_called(client, "camera"), box), "where": "object = 'chelsea' and score > 0.9"}
    assert got(client, f"{SCANS}/search", params=only)["total"] == 0


def test_a_picture_is_served_as_iiif_has_it(client: TestClient, collection: Collection) -> None:
    image = image_called(client, "coins")
    info = got(client, f"{image['iiif']}/info.json")
    assert info["id"] == f"http://127.0.0.1{image['iiif']}"
    assert (info["width"], info["height"], info["profile"]) == (image["width"], image["height"], "level2")
    page = np.asarray(Image.open(collection.page("b/coins.jpg")).convert("RGB")).astype(int)
    part = pixels(client, f"{image['iiif']}/100,200,300,150/300,/0/default.png").astype(int)
    assert part.shape == (150, 300, 3)
    assert np.abs(part - page[200:350, 100:400]).mean() < 3
    turned = pixels(client, f"{image['iiif']}/100,200,300,150/300,/!90/gray.png").astype(int)
    assert np.abs(turned - np.rot90(part[:, ::-1], -1)[..., 0]).mean() < 3
    thumbnail = client.get(image["thumbnail"])
    assert Image.open(io.BytesIO(thumbnail.content)).size == (240, 320)
    again = client.get(image["thumbnail"], headers={"If-None-Match": thumbnail.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ("full/max/0/default.jpg", 200),
        ("square/pct:50/270/bitonal.png", 200),
        ("pct:10,10,50,50/^!900,900/180/color.webp", 200),
        ("5000,0,10,10/max/0/default.jpg", 400),
        ("0,0,0,10/max/0/default.jpg", 400),
        ("full/9999,/0/default.jpg", 400),
        ("full/^99999,99999/0/default.jpg", 400),
        ("full/0,/0/default.jpg", 400),
        ("full/full/0/default.jpg", 400),
        ("full/max/45/default.jpg", 501),
        ("full/max/0/default.svg", 404),
        ("full/max/0/strange.jpg", 404),
    ],
)
def test_requests_of_the_image_api(client: TestClient, parts: str, status: int) -> None:
    assert client.get(f"/iiif/scans/1/{parts}").status_code == status


def test_tiles_put_together_are_the_page(serve: Serve, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    coarse = Image.fromarray(random.integers(0, 255, (24, 30, 3), np.uint8))
    coarse.resize((1500, 1200), Image.Resampling.BICUBIC).save(tmp_path / "large.png")
    with Index.create(tmp_path / "large.calque") as index:
        index.add([tmp_path / "large.png"], workers=0)
    client = serve(tmp_path / "large.calque")
    info = got(client, "/iiif/large/1/info.json")
    side, factors = info["tiles"][0]["width"], info["tiles"][0]["scaleFactors"]
    assert (side, factors) == (512, [1, 2, 4])
    large = Image.open(tmp_path / "large.png")
    for factor in factors:
        wide, high = -(-1500 // factor), -(-1200 // factor)
        whole = np.zeros((high, wide, 3), int)
        for top in range(0, high, side):
            for left in range(0, wide, side):
                x, y = left * factor, top * factor
                width, height = min(side * factor, 1500 - x), min(side * factor, 1200 - y)
                size = f"{-(-width // factor)},{-(-height // factor)}"
                tile = pixels(client, f"/iiif/large/1/{x},{y},{width},{height}/{size}/0/default.jpg")
                whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        expected = np.asarray(large.resize((wide, high), Image.Resampling.BOX)).astype(int)
        assert np.abs(whole - expected).mean() < 4
    part = pixels(client, "/iiif/large/1/300,300,800,600/800,600/0/default.png").astype(int)
    assert np.abs(part - np.asarray(large)[300:900, 300:1100]).mean() < 4


def test_a_box_is_found_where_it_was_drawn(client: TestClient, collection: Collection) -> None:
    image = image_called(client, "camera")
    box = collection.boxes["a/camera.jpg"]
    answer = got(client, f"{SCANS}/search", params=asking(image, box))
    hit = answer["hits"][0]
    assert hit["id"] == image["id"]
    assert hit["kind"] == "illustration"
    assert np.allclose(hit["region"], box, atol=3)
    assert answer["query"]["region"] == box
    told = {key: value for key, value in answer.items() if key != "address"}
    assert {key: value for key, value in got(client, answer["address"]).items() if key != "address"} == told
    assert pixels(client, hit["crop"]).ndim == 3


def test_a_polygon_hides_what_is_outside(client: TestClient, collection: Collection) -> None:
    image = image_called(client, "camera")
    x, y, width, height = collection.boxes["a/camera.jpg"]
    corners = [x, y, x + width, y, x + width // 2, y + height]
    answer = got(client, f"{SCANS}/search", params={"image": image["id"], "polygon": ",".join(map(str, corners))})
    assert answer["query"]["polygon"] == [[x, y], [x + width, y], [x + width // 2, y + height]]
    assert answer["hits"][0]["id"] == image["id"]
    outside = {"image": image["id"], "polygon": "0,0,9,0,9,9"}
    assert got(client, f"{SCANS}/search", params=outside)["total"] == 0


def test_where_narrows_a_search(client: TestClient, collection: Collection) -> None:
    image = image_called(client, "camera")
    asked = asking(image, collection.boxes["a/camera.jpg"])
    date = image["metadata"]["date"]
    assert got(client, f"{SCANS}/search", params={**asked, "where": f"date = {date}"})["total"] == 1
    assert got(client, f"{SCANS}/search", params={**asked, "where": f"date != {date}"})["total"] == 0


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("image=1&upload=abcdefghijklmnopqrstuvwxyz", 422),
        ("image=1&region=1,2,3", 400),
        ("image=1&region=1,2,0,5", 422),
        ("image=1&region=9000,9000,5,5", 422),
        ("image=1&polygon=1,1,2,2", 400),
        ("image=one", 400),
        ("image=1&image=2", 400),
        ("image=1&colour=red", 400),
        ("image=1&limit=0", 400),
        ("image=1&max_false_alarms=nan", 400),
        ("image=1&relations=same,same", 422),
        ("image=99", 404),
        ("upload=abcdefghijklmnopqrstuvwxyz", 404),
    ],
)
def test_searches_that_make_no_sense(client: TestClient, query: str, status: int) -> None:
    assert got(client, f"{SCANS}/search?{query}", status)["status"] == status


def test_what_is_found_is_exported(client: TestClient, collection: Collection) -> None:
    asked = asking(image_called(client, "camera"), collection.boxes["a/camera.jpg"])

    def exported(form: str) -> bytes:
        answer = client.get(f"{SCANS}/search/export", params={**asked, "form": form})
        assert answer.status_code == 200, answer.text
        assert "attachment" in answer.headers["content-disposition"]
        return answer.content

    (row,) = csv.DictReader(io.StringIO(exported("csv").decode()))
    assert row["image"] == "scans/a/camera.jpg"
    assert json.loads(exported("jsonl"))["hits"][0]["rank"] == 1
    assert json.loads(exported("iiif"))["type"] == "Manifest"
    assert len(json.loads(exported("coco"))["annotations"]) == 1
    with zipfile.ZipFile(io.BytesIO(exported("pictures"))) as archive:
        assert [name.rpartition(".")[2] for name in archive.namelist()] == ["png", "csv"]


def test_an_upload_is_found_and_compared(serve: Serve, kept_index: Path, photograph: Path) -> None:
    client = serve(kept_index)
    answer = client.post("/api/uploads", files={"file": ("C:\\pictures\\camera <b>.png", photograph.read_bytes())})
    assert answer.status_code == 201, answer.text
    upload = answer.json()
    assert (upload["name"], upload["width"]) == ("camera <b>.png", 500)
    assert client.get(upload["thumbnail"]).headers["content-type"] == "image/jpeg"
    found = got(client, f"{SCANS}/search", params={"upload": upload["id"]})
    assert [hit["image"] for hit in found["hits"]] == ["scans/a/camera.jpg"]
    comparison = got(client, found["hits"][0]["comparison"])
    assert comparison["found"]
    assert comparison["a"]["upload"] == upload["id"]
    assert client.delete(f"/api/uploads/{upload['id']}").status_code == 204
    assert got(client, f"{SCANS}/search", 404, params={"upload": upload["id"]})["status"] == 404


def test_an_upload_may_be_the_bare_bytes(serve: Serve, kept_index: Path, photograph: Path) -> None:
    client = serve(kept_index)
    answer = client.post("/api/uploads", content=photograph.read_bytes(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 201
    assert got(client, f"/api/uploads/{answer.json()['id']}")["height"] == 500


def test_a_pair_is_laid_in_one_frame(client: TestClient, collection: Collection) -> None:
    image = image_called(client, "chelsea")
    (hit,) = got(client, f"{SCANS}/search", params=asking(image, collection.boxes["a/chelsea.jpg"]))["hits"]
    comparison = got(client, hit["comparison"])
    frame = comparison["frame"]
    assert frame["region"] == collection.boxes["a/chelsea.jpg"]
    drawn = {name: pixels(client, comparison["pictures"][name]) for name in ("a", "b", "overlay", "difference")}
    assert {picture.shape[:2] for picture in drawn.values()} == {(frame["height"], frame["width"])}
    assert np.abs(drawn["a"].astype(int) - drawn["b"]).mean() < 4
    assert drawn["difference"].mean() > 230
    assert pixels(client, comparison["pictures"]["proof"]).shape[1] == 1400
    assert len(comparison["points"]["a"]) == len(comparison["points"]["b"]) > 20
    assert got(client, comparison["verdict"])["verdict"] in ("same", "copy", "unsure")


def test_a_pair_that_no_search_has_brought_together(client: TestClient, collection: Collection) -> None:
    rocket, gravel = image_called(client, "rocket"), image_called(client, "gravel")
    alike = {**asking(rocket, collection.boxes["a/rocket.jpg"]), "with": rocket["id"], "place": "100,200,400,400"}
    assert got(client, f"{SCANS}/comparison", params=alike)["found"]
    other = {**asking(rocket, collection.boxes["a/rocket.jpg"]), "with": gravel["id"]}
    told = got(client, f"{SCANS}/comparison", params=other)
    assert not told["found"]
    assert "transform" not in told
    assert got(client, f"{SCANS}/comparison/overlay", 404, params=other)["status"] == 404


def test_a_judgement_is_kept_shown_and_forgotten(serve: Serve, own_index: Path, collection: Collection) -> None:
    client = serve(own_index)
    image = image_called(client, "camera")
    asked = asking(image, collection.boxes["a/camera.jpg"])
    (hit,) = got(client, f"{SCANS}/search", params=asked)["hits"]
    body = {
        "image_a": image["id"],
        "region_a": collection.boxes["a/camera.jpg"],
        "image_b": hit["id"],
        "region_b": hit["region"],
        "verdict": "same",
        "author": "M. D.",
    }
    answer = client.post(f"{SCANS}/judgements", json=body)
    assert answer.status_code == 201, answer.text
    kept = answer.json()
    assert (kept["verdict"], kept["author"], kept["name_a"]) == ("same", "M. D.", "scans/a/camera.jpg")
    assert got(client, f"{SCANS}/search", params=asked)["hits"][0]["judgement"] == "same"
    assert got(client, f"{SCANS}/judgements?image={image['id']}")["judgements"] == [kept]
    assert got(client, SCANS)["judgements"] == 1
    with Index.open(own_index) as index:
        assert [judgement.verdict for judgement in index.judgements()] == ["same"]
    assert client.delete(f"{SCANS}/judgements/{kept['id']}").status_code == 204
    assert client.delete(f"{SCANS}/judgements/{kept['id']}").status_code == 404


def test_who_writes_elsewhere_is_waited_for(serve: Serve, own_index: Path) -> None:
    client = serve(own_index)
    with Index.open(own_index, writable=True):
        answer = client.post(f"{SCANS}/judgements", json={"image_a": 1, "image_b": 2, "verdict": "unsure"})
    assert answer.status_code == 409
    assert "retry-after" in answer.headers


def ended(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    for _ in range(600):
        told = got(client, f"/api/jobs/{job['id']}")
        if told["ended"] is not None:
            return dict(told)
        time.sleep(0.05)
    raise AssertionError(told)


def test_a_folder_is_added_and_grouped(serve: Serve, own_index: Path, collection: Collection, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    page = Image.open(collection.page("a/camera.jpg"))
    page.resize((600, 800)).save(folder / "again.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 not much of a picture")
    client = serve(own_index, folders=(tmp_path.resolve(),))
    answer = client.post("/api/jobs", json={"kind": "add", "index": "scans", "source": str(folder)})
    assert answer.status_code == 202, answer.text
    done = ended(client, answer.json())
    assert (done["state"], done["added"], done["failed"]) == ("done", 1, 1)
    assert done["failures"][0]["name"].endswith("broken.jpg")
    assert got(client, SCANS)["images"] == 9
    assert got(client, f"{SCANS}/failures")["failures"][0]["name"].endswith("broken.jpg")

    before = got(client, f"{SCANS}/groups")
    assert (before["asked"], before["total"]) == (0, 0)
    job = client.post("/api/jobs", json={"kind": "groups", "index": "scans"}).json()
    assert ended(client, job)["state"] == "done"
    told = got(client, f"{SCANS}/groups")
    assert (told["asked"], told["images"], told["total"]) == (9, 9, 1)
    group = got(client, f"{SCANS}/groups/1")
    assert len(group["members"]) == told["groups"][0]["size"] == 2
    assert {pixels(client, member["registered"]).shape for member in group["members"]} == {
        pixels(client, group["members"][0]["registered"]).shape
    }
    rows = list(csv.DictReader(io.StringIO(client.get(f"{SCANS}/groups/export?form=csv").text)))
    assert len(rows) == 2
    for form in ("jsonl", "iiif", "coco", "graphml"):
        assert client.get(f"{SCANS}/groups/export", params={"form": form, "group": 1}).status_code == 200
    assert got(client, f"{SCANS}/groups/2", 404)["status"] == 404
    assert [job["kind"] for job in got(client, "/api/jobs")["jobs"]] == ["groups", "add"]


def test_progress_comes_as_events_and_a_job_can_be_stopped(
    own_index: Path, collection: Collection, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    page = Image.open(collection.page("a/camera.jpg"))
    for number in range(40):
        page.crop((number, number, 700, 900)).save(folder / f"{number}.png")
    with live(own_index, tmp_path, folders=(tmp_path.resolve(),)) as server, httpx2.Client() as client:
        body = {"kind": "add", "index": "scans", "source": str(folder)}
        job = client.post(f"{server.address}/api/jobs", json=body).json()
        states = []
        with client.stream("GET", f"{server.address}/api/jobs/{job['id']}/events", timeout=60) as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            for line in events.iter_lines():
                if line.startswith("data: "):
                    told = json.loads(line.removeprefix("data: "))
                    states.append(told["state"])
                    if told["done"] >= 2 and "stopped" not in states:
                        states.append("stopped")
                        assert client.delete(f"{server.address}/api/jobs/{job['id']}").status_code == 202
        assert states[-1] == "cancelled"
        images = client.get(f"{server.address}{SCANS}").json()["images"]
        assert 8 < images < 48  # what had been encoded is in, the rest is not


def test_what_another_program_adds_is_seen(serve: Serve, own_index: Path, photograph: Path) -> None:
    client = serve(own_index)
    assert got(client, SCANS)["images"] == 8
    with Index.open(own_index, writable=True) as index:
        index.add([photograph], workers=0)
    assert got(client, SCANS)["images"] == 9
    assert got(client, f"{SCANS}/images/9")["width"] == 500


def test_indexes_of_one_name_are_told_apart(serve: Serve, kept_index: Path, own_index: Path) -> None:
    client = serve(kept_index, own_index)
    assert [index["name"] for index in got(client, "/api/indexes")["indexes"]] == ["scans", "scans-2"]
    assert got(client, "/api/indexes/scans-2/images")["images"][0]["iiif"] == "/iiif/scans-2/1"


def test_the_page_is_served_wherever_its_script_leads(serve: Serve, kept_index: Path, tmp_path: Path) -> None:
    static = tmp_path / "static"
    client = serve(kept_index, static=static)
    assert "make web" in client.get("/").text
    static.mkdir()
    (static / "index.html").write_text("<!doctype html><p>the page")
    (static / "app.js").write_text("1")
    assert client.get("/i/scans/image/12?region=1,2,3,4").text.endswith("the page")
    assert client.get("/static/app.js").headers["cache-control"] == "no-cache"
    assert client.get("/static/none.js").status_code == 404
    assert got(client, "/api/nothing", 404)["status"] == 404

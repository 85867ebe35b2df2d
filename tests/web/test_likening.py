"""What is alike over the API: pictures, words, colours, and what readers call right and wrong."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from matcher.embedding_classical import Palette
from tests.web.test_api import SCANS, got, image_called, pixels
from webui.likening import Embedders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from starlette.testclient import TestClient

    from tests.conftest import Collection

pytestmark = pytest.mark.compiled


def test_what_is_alike_and_what_readers_say_of_it(client: TestClient, collection: Collection) -> None:
    assert got(client, SCANS)["models"] == ["palette"]
    image = image_called(client, "coffee")
    asked = {"image": image["id"], "region": ",".join(map(str, collection.boxes["b/coffee.jpg"])), "among": "regions"}
    found = got(client, f"{SCANS}/similar", params=asked)
    assert (found["model"], found["asked"]["image"], len(found["alike"])) == ("palette", image["id"], 7)
    assert got(client, found["address"])["alike"] == found["alike"]
    first, *_, last = found["alike"]
    assert first["likeness"] >= last["likeness"] and first["kind"] == "illustration"
    assert first["region"] == [float(edge) for edge in collection.boxes[first["name"].removeprefix("scans/")]]
    assert pixels(client, first["crop"]).ndim == 3

    again = got(client, f"{SCANS}/similar", params={**asked, "right": last["example"], "wrong": first["example"]})
    assert {last["example"], first["example"]}.isdisjoint(one["example"] for one in again["alike"])
    assert [one["example"] for one in again["right"] + again["wrong"]] == [last["example"], first["example"]]
    assert [one["likeness"] for one in again["alike"]] != [one["likeness"] for one in found["alike"][1:-1]]
    assert got(client, again["address"])["alike"] == again["alike"]
    few = got(client, f"{SCANS}/similar", params={**asked, "where": "date < 1520", "limit": 1})
    assert [one["metadata"]["date"] < "1520" for one in few["alike"]] == [True]
    red = got(client, f"{SCANS}/similar", params={"colour": "ff0000", "among": "images"})
    assert len(red["alike"]) == 8 and red["asked"] is None

    rows = list(csv.DictReader(io.StringIO(client.get(f"{SCANS}/similar/export", params=asked).text)))
    assert [row["image"] for row in rows] == [one["name"] for one in found["alike"]]
    assert "path" not in rows[0]


@pytest.mark.parametrize(
    ("asked", "status"),
    [({}, 422), ({"text": "a ship"}, 422), ({"wrong": "1"}, 422), ({"image": 1, "model": "none"}, 422),
     ({"right": "99"}, 404), ({"right": "1:0,0,0,0"}, 422), ({"right": "../1"}, 400), ({"colour": "red"}, 400)],
)  # fmt: skip
def test_what_cannot_be_alike(client: TestClient, asked: dict[str, Any], status: int) -> None:
    assert got(client, f"{SCANS}/similar", status, params=asked)["status"] == status


def test_words_are_asked_of_who_understands_them(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reading(Palette):
        def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.tile(self.of_colours(np.array([[255, 0, 0]], np.uint8)), (len(texts), 1))

    made = []
    monkeypatch.setattr("webui.likening.embedder_named", lambda name: made.append(name) or Reading())
    client.app.state.server.embedders = Embedders()
    asked = {"text": "something red", "among": "images"}
    found = got(client, f"{SCANS}/similar", params=asked)
    assert found["text"] == "something red" and len(found["alike"]) == 8
    red = got(client, f"{SCANS}/similar", params={"colour": "ff0000", "among": "images"})
    assert [one["id"] for one in red["alike"]] == [one["id"] for one in found["alike"]]
    assert made == ["palette"]
    client.app.state.server.embedders = Embedders()

"""Maps beside their indexes: served as they are, to those who may see the index, and nothing else of the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matcher.errors import InputError
from webui.maps import named_maps

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Serve

pytestmark = pytest.mark.compiled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "map"
    path.mkdir()
    for name in ("index.html", "data.js", "map.js"):
        (path / name).write_text(f"the {name}")
    (tmp_path / "secret.txt").write_text("secret")
    (path / "link.txt").symlink_to(tmp_path / "secret.txt")
    return path


def test_a_map_is_told_of_and_served(serve: Serve, kept_index: Path, folder: Path) -> None:
    client = serve(kept_index, maps={"scans": folder})
    (index,) = client.get("/api/indexes").json()["indexes"]
    page = client.get(index["map"])
    assert (page.status_code, page.text) == (200, "the index.html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert client.get("/maps/scans/map.js").headers["content-type"].startswith("text/javascript")
    for beside in ("link.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "none.js"):
        assert client.get(f"/maps/scans/{beside}").status_code == 404
    assert client.get("/maps/other/index.html").status_code == 404
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/maps/scans/data.js", headers=foreign).status_code == 403


def test_a_map_wants_the_token_too(serve: Serve, kept_index: Path, folder: Path) -> None:
    client = serve(kept_index, maps={"scans": folder}, token="sesame")
    assert client.get("/maps/scans/data.js").status_code == 401
    assert client.get("/maps/scans/data.js", headers={"Authorization": "Bearer sesame"}).status_code == 200


def test_without_a_map_there_is_none(serve: Serve, kept_index: Path, folder: Path) -> None:
    client = serve(kept_index)
    assert client.get("/api/indexes/scans").json()["map"] is None
    assert client.get("/maps/scans/index.html").status_code == 404
    (folder / "data.js").unlink()
    with pytest.raises(InputError, match="is no map; make one: calque map"):
        serve(kept_index, maps={"scans": folder})
    with pytest.raises(InputError, match="not served"):
        serve(kept_index, maps={"prints": folder})


def test_whose_map_it_is() -> None:
    assert named_maps(["a=b/map"], ["scans"]) == {"scans": "a=b/map"}
    assert named_maps(["prints=one", "scans=two"], ["scans", "prints"]) == {"prints": "one", "scans": "two"}
    for given in (["map"], ["other=map"], ["scans=one", "scans=two"]):
        with pytest.raises(InputError):
            named_maps(given, ["scans", "prints"])

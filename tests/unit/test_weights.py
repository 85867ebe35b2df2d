"""Weights are found where they may lie, downloaded once and whole, and never taken for what they are not."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from matcher import weights
from matcher.errors import MissingDependency
from matcher.weights import WEIGHTS, WeightsFile, digest_of, find_weights
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = bytes(range(256)) * 3000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where calque keeps weights, empty; the file ``net.pth``, called ``net``, lies on a server of its own."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "net.pth").write_bytes(CONTENT)
    publish(monkeypatch, f"file://{tmp_path}/server/net.pth", DIGEST)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CALQUE_MODELS", raising=False)
    monkeypatch.delenv("TORCH_HOME", raising=False)
    return tmp_path / "cache" / "calque" / "models"


def publish(monkeypatch: pytest.MonkeyPatch, url: str, digest: str) -> None:
    monkeypatch.setattr(weights, "WEIGHTS", {"net": WeightsFile("net.pth", url, digest, len(CONTENT), "MIT")})


def test_a_file_is_downloaded_once(home: Path, tmp_path: Path) -> None:
    path = find_weights("net")
    assert path == home / "net.pth"
    assert path.read_bytes() == CONTENT
    (tmp_path / "server" / "net.pth").unlink()
    assert find_weights("net") == path
    assert [file.name for file in home.iterdir()] == ["net.pth"]


@pytest.mark.parametrize("where", ["CALQUE_MODELS", "CALQUE_MODELS/inner", "torch/hub/checkpoints"])
def test_a_file_that_is_there_is_taken(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    folder = tmp_path / ("cache" if where.startswith("torch") else "") / where
    folder.mkdir(parents=True)
    (folder / "net.pth").write_bytes(CONTENT)
    monkeypatch.setenv("CALQUE_MODELS", f"{tmp_path / 'nowhere'}:{tmp_path / 'CALQUE_MODELS'}")
    assert find_weights("net") == folder / "net.pth"
    assert not home.exists()


def test_another_file_of_that_name_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other" / "net.pth"
    other.parent.mkdir()
    other.write_bytes(b"something else")
    monkeypatch.setenv("CALQUE_MODELS", str(other.parent))
    with pytest.raises(MissingDependency, match=rf"{other} is not the file.*not {DIGEST}"):
        find_weights("net")
    assert not home.exists()


def test_a_download_of_something_else_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, weights.WEIGHTS["net"].url, "0" * 64)
    with pytest.raises(MissingDependency, match=f"SHA-256 {DIGEST}, not 000.*CALQUE_MODELS"):
        find_weights("net")
    assert list(home.iterdir()) == []


def test_without_a_network_the_remedy_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, "http://127.0.0.1:9/net.pth", DIGEST)
    with pytest.raises(MissingDependency, match=rf"net.pth could not be downloaded.*127.0.0.1:9/net.pth into {home}"):
        find_weights("net")
    assert list(home.iterdir()) == []


def test_a_file_of_unknown_hash_is_never_downloaded(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, weights.WEIGHTS["net"].url, "")
    with pytest.raises(MissingDependency, match="are not here; put the file from file://"):
        find_weights("net")
    monkeypatch.setenv("CALQUE_MODELS", str(tmp_path / "server"))
    assert digest_of(find_weights("net")) == DIGEST


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"one")
    first = digest_of(file)
    file.write_bytes(b"another")
    assert digest_of(file) != first


def test_the_table_says_where_each_file_is_from() -> None:
    assert len({entry.file for entry in WEIGHTS.values()}) == len(WEIGHTS)
    for entry in WEIGHTS.values():
        assert entry.url.startswith("https://")
        assert entry.licence in ("Apache-2.0", "BSD-3-Clause", "MIT")
        assert len(entry.sha256) in (0, 64)
        assert bool(entry.sha256) == bool(entry.size)


def test_the_guide_has_the_same_table() -> None:
    guide = (REPOSITORY / "docs" / "weights.md").read_text("utf-8")
    for entry in WEIGHTS.values():
        (row,) = [line for line in guide.splitlines() if f"[`{entry.file}`]" in line]
        assert f"({entry.url})" in row
        assert f"| {entry.licence} | {f'{entry.size:,}' if entry.size else '–'} |" in row
        assert f"`{entry.sha256}`" in row or not entry.sha256


def test_published_files_are_those_of_the_table(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALQUE_MODELS", str(shared_data / "weights"))
    for name, entry in WEIGHTS.items():
        if entry.sha256:
            path = find_weights(name)
            assert path.is_relative_to(shared_data)
            assert path.stat().st_size == entry.size

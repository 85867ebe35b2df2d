"""``calque serve`` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

from cli.main import main
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.compiled


@contextmanager
def serving(*words: object, cache: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run ``calque serve`` at a free port; yield the address that it prints, and the process."""
    command = [sys.executable, "-c", "from cli.main import main; main()", "serve", *map(str, words), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "CALQUE_CACHE": str(cache)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found is not None
        yield found[0], process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def test_it_serves_until_it_is_interrupted(kept_index: Path, tmp_path: Path) -> None:
    with serving(kept_index, "--read-only", cache=tmp_path) as (address, process):
        assert address.startswith("http://127.0.0.1:")
        assert httpx2.get(f"{address}api/indexes").json()["indexes"][0]["name"] == "scans"
        while not httpx2.get(f"{address}api/indexes/scans").json()["ready"]:
            time.sleep(0.1)
        assert httpx2.get(f"{address}iiif/scans/1/full/!90,90/0/default.jpg").status_code == 200
    assert process.returncode in (0, 130)


def test_any_other_host_needs_a_token(kept_index: Path, tmp_path: Path) -> None:
    with serving(kept_index, "--host", "0.0.0.0", cache=tmp_path) as (address, _):
        bare, _, token = address.partition("?token=")
        assert len(token) >= 20
        assert httpx2.get(f"{bare}api/indexes").status_code == 401
        with httpx2.Client(follow_redirects=True) as client:
            client.get(address)
            assert client.get(f"{bare}api/indexes").status_code == 200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{none}"], "none.calque"),
        (["{index}", "{index}"], "twice"),
        (["{index}", "--map", "{none}"], "is no map"),
        (["{index}", "--host", "192.0.2.1"], "--port"),
    ],
)
def test_what_cannot_be_served_is_said(
    kept_index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    monkeypatch.setenv("CALQUE_CACHE", str(tmp_path))
    places = {"index": kept_index, "none": tmp_path / "none.calque"}
    with pytest.raises(SystemExit) as ended:
        main(["serve", *(word.format_map(places) for word in words)])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert told in said.err


def test_what_is_not_installed_is_said(kept_index: Path) -> None:
    code = "import sys; sys.modules['starlette'] = None; from cli.main import main; main(['serve', sys.argv[1]])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(kept_index)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'calque[web]'" in done.stderr

"""Room for large images: one at a time on a machine, whatever becomes of who decodes them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from index.memory import room_to_decode
from matcher.images import read_image

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LARGE = 40_000_000


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def entering(pixels: int) -> tuple[threading.Thread, threading.Event]:
    """Return a thread that wants to decode, and what it sets when it does."""
    entered = threading.Event()

    def decode() -> None:
        with room_to_decode(pixels):
            entered.set()

    thread = threading.Thread(target=decode)
    thread.start()
    return thread, entered


def test_large_images_wait_for_each_other_and_small_ones_do_not() -> None:
    with room_to_decode(LARGE):
        waiting, entered = entering(LARGE)
        small, at_once = entering(2_000_000)
        small.join(timeout=60)
        assert at_once.is_set()
        assert not entered.wait(timeout=0.2)
    waiting.join(timeout=60)
    assert entered.is_set()


def test_who_is_killed_while_decoding_keeps_nobody_waiting() -> None:
    program = (
        "import os, signal; from index.memory import room_to_decode\n"
        f"with room_to_decode({LARGE}): print('in', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.stdout == "in\n"
    waiting, entered = entering(LARGE)
    waiting.join(timeout=60)
    assert entered.is_set()


@pytest.mark.parametrize(("suffix", "decoded"), [(".png", 1600 * 1200), (".tif", 1600 * 1200), (".jpg", 400 * 300)])
def test_room_is_asked_for_what_is_decoded(tmp_path: Path, suffix: str, decoded: int) -> None:
    """A JPEG that may be reduced by four as it is decoded needs a sixteenth."""
    asked = []

    @contextmanager
    def room(pixels: int) -> Iterator[None]:
        asked.append(pixels)
        yield

    path = tmp_path / f"scan{suffix}"
    Image.linear_gradient("L").resize((1600, 1200)).convert("RGB").save(path)
    assert read_image(path, long_side=300, room=room).pixels.shape == (225, 300)
    assert asked == [decoded]

"""What cannot be read is refused in one clear line that names the file."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from matcher.errors import InputError, MissingDependency
from matcher.images import page_count, read_image
from tests.scan_files import bomb, gray_tiff, luma, save, scanned_pdf, smooth

pytestmark = pytest.mark.filterwarnings("error")
REPOSITORY = Path(__file__).resolve().parents[2]


def refusal(path: Path | str, **options: Any) -> str:
    """Return the one line that says why `path` is not read."""
    with pytest.raises(InputError) as caught:
        read_image(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


# 40-bit RC4 with made-up check values, which no password, the empty one least of all, agrees with
ENCRYPTED = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    b"3 0 obj<</Filter/Standard/V 1/R 2/P -4/O<" + b"11" * 32 + b">/U<" + b"22" * 32 + b">>>endobj\n"
    b"trailer<</Root 1 0 R/Encrypt 3 0 R/ID[<00><00>]>>\n%%EOF\n"
)


def test_damaged_and_encrypted_pdf(tmp_path: Path) -> None:
    path = scanned_pdf(tmp_path / "scan.pdf", Image.fromarray(smooth()))
    damaged, locked = tmp_path / "damaged.pdf", tmp_path / "locked.pdf"
    damaged.write_bytes(b"%PDF-1.4\n" + path.read_bytes()[2000:2600])
    locked.write_bytes(ENCRYPTED)
    assert "damaged" in refusal(damaged)
    assert "encrypted" in refusal(locked)
    for bad in (damaged, locked):
        with pytest.raises(InputError):
            page_count(bad)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".jpg", {}),
        (".jpg", {"progressive": True}),
        (".png", {}),
        (".tif", {}),
        (".tif", {"compression": "tiff_lzw"}),
        (".tif", {"compression": "tiff_adobe_deflate"}),
        (".tif", {"compression": "jpeg"}),
        (".tif", {"compression": "group4"}),
        (".jp2", {}),
        (".webp", {}),
        (".avif", {}),
        (".gif", {}),
        (".bmp", {}),
        (".ppm", {}),
    ],
)
@pytest.mark.parametrize("long_side", [None, 60])
def test_truncated_files_are_refused(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    suffix: str,
    options: dict[str, Any],
    kept: float,
    long_side: int | None,
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (200, 160, 3), np.uint8)
    image = Image.fromarray(noise).convert("1" if options.get("compression") == "group4" else "RGB")
    path = save(tmp_path / f"cut{suffix}", image, **options)
    read_image(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    refusal(path, long_side=long_side)
    assert capfd.readouterr() == ("", "")


def test_files_that_are_no_images(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.touch()
    text.write_text("Dear reader, this is not a photograph.")
    assert "empty file" in refusal(empty)
    assert "not an image in a format that can be read" in refusal(text)
    assert "no such file" in refusal(tmp_path / "missing.png")
    assert "a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in refusal(tmp_path / "pipe.jpg")
    assert "cannot be opened" in refusal(tmp_path / ("x" * 300))
    for path in (empty, text, tmp_path, tmp_path / "missing.png"):
        with pytest.raises(InputError):
            page_count(path)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff.png"))
    assert read_image(save(path, smooth())).pixels.shape == (90, 130)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="caf") as caught:
        read_image(path)
    assert str(caught.value).encode()  # can be printed


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = save(tmp_path / "closed.png", smooth())
    path.chmod(0)
    if os.geteuid() != 0:
        assert "permission denied" in refusal(path)
        return
    # root may read everything: ask as somebody else, on a file opened up but for its own mode
    script = f"import os, sys; os.chdir({str(tmp_path)!r})\n" + (
        "from matcher.images import read_image\nos.setuid(65534)\n"
        "try: read_image('closed.png')\nexcept Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("InputError closed.png: permission denied")


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.png", 50_000)
    tracemalloc.start()
    message = refusal(path, long_side=1600)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "50000 x 50000" in message
    assert "500,000,000" in message
    assert peak < 10_000_000


def test_the_limit_is_the_callers(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".tif", ".jp2", ".gif"):
        path = save(tmp_path / f"picture{suffix}", luma(smooth()))
        assert "more than the limit of 11,699" in refusal(path, max_pixels=130 * 90 - 1)
        assert read_image(path, max_pixels=130 * 90).pixels.shape == (90, 130)


def test_a_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "scan.jp2", smooth())
    monkeypatch.delattr(Image.core, "jpeg2k_decoder")
    with pytest.raises(MissingDependency, match=r"scan\.jp2: decoder jpeg2k not available.*pip install"):
        read_image(path)
    pdf = scanned_pdf(tmp_path / "scan.pdf", Image.fromarray(smooth()))
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(MissingDependency, match=r"scan\.pdf: .*pip install pypdfium2"):
        read_image(pdf)


def test_a_tiff_of_an_unsupported_kind_is_refused(tmp_path: Path) -> None:
    path = gray_tiff(tmp_path / "double.tif", np.zeros((4, 5), np.float64), sample_format=3)
    assert "convert it" in refusal(path)


def test_pages_that_do_not_exist(tmp_path: Path) -> None:
    pictures = [Image.fromarray(smooth(seed=n)) for n in range(3)]
    pages = save(tmp_path / "pages.tif", pictures[0], save_all=True, append_images=pictures[1:])
    assert "no page 3; it has 3" in refusal(pages, page=3)
    assert "no page -1" in refusal(pages, page=-1)
    assert "no page 2; it has 2" in refusal(scanned_pdf(tmp_path / "scan.pdf", *pictures[1:]), page=2)
    assert "no page 1; it has 1" in refusal(save(tmp_path / "one.jpg", smooth()), page=1)
    moving = save(tmp_path / "moving.gif", pictures[0], save_all=True, append_images=pictures[1:])
    assert "no page 1; it has 1" in refusal(moving, page=1)

"""Pictures for the tutorials, made by calque itself each time the site is built: a hook of MkDocs.

A comment ``<!-- picture: NAME: what is to be seen -->`` in a page becomes the picture of that name. They show pages
that ``calque demo`` sets around photographs, so that none has to be kept, and none shows what calque no longer does.
Without MkDocs, ``python docs/tutorial_pictures.py FOLDER`` writes them there.
"""

from __future__ import annotations

import re
import sys
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from PIL import Image

from cli.demo_pages import build_pages, photograph
from cli.main import calque

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["made", "on_files", "on_page_markdown"]

_FOLDER = "pictures/made"
_MARK = re.compile(r"<!-- picture: ([\w-]+): (.*?) -->", re.DOTALL)
_WIDEST = 1200


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures to what the site is made of."""
    from mkdocs.structure.files import File

    folder = Path(config.config_file_path).parent / "build" / "pictures"
    for path in made(folder):
        files.append(File.generated(config, f"{_FOLDER}/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put pictures where a page says so."""
    above = "../" * page.file.src_uri.count("/")
    return _MARK.sub(lambda found: f"![{' '.join(found[2].split())}]({above}{_FOLDER}/{found[1]}.jpg)", markdown)


def made(folder: Path) -> list[Path]:
    """Make the pictures; return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as place:
        desk = Path(place)
        for page in islice(build_pages(), 3):
            path = desk / "scans" / page.name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(page.pixels).save(path, quality=page.quality)
        asked = desk / "pagoda.jpg"
        Image.fromarray(photograph("pagoda")).save(asked)
        index, front = desk / "scans.calque", desk / "scans" / "gazette" / "p01.jpg"
        _run("add", index, desk / "scans", "--quiet", "--workers", 0)
        _run("search", index, asked, "-o", desk / "proof")
        _run("compare", asked, front, "--bench", desk / "bench")
        _run("segment", front, "-o", desk / "found", "--overlay", "--quiet", "--workers", 0)
        sources = {
            "press-proof": next(iter(sorted(desk.glob("proof/**/*-proof.jpg")))),
            "woodblocks-two-colours": desk / "bench" / "two-colours.png",
            "library-layout": next(iter(sorted(desk.glob("found/overlays/*")))),
        }
        return [_kept(path, folder / f"{name}.jpg") for name, path in sources.items()]


def _run(*words: object) -> None:
    """Run ``calque WORDS…``; what it prints is not wanted."""
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()):
        status = calque.main([*map(str, words)], prog_name="calque", standalone_mode=False)
    if status:
        raise RuntimeError(f"calque {' '.join(map(str, words))} ended with status {status}")


def _kept(path: Path, target: Path) -> Path:
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_WIDEST, _WIDEST))
    small.save(target, quality=82, optimize=True)
    return target


if __name__ == "__main__":
    print(*made(Path(sys.argv[1])), sep="\n")

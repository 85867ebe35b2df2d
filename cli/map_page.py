"""The page of a map: its scripts and its look, put beside the data that `index.collection_map` writes."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LANGUAGES", "SCRIPTS", "write_page"]

LANGUAGES = ("en", "fr")
"""Languages of the page."""

SCRIPTS = ("words.js", "store.js", "sheets.js", "scene.js", "view.js", "panels.js", "main.js")
"""Parts of its script, in order. They become one: modules cannot be loaded from a disk."""


def write_page(folder: Path) -> None:
    """Write ``index.html``, ``map.css`` and ``map.js`` into a folder."""
    source = resources.files("cli") / "map_viewer"
    words = {tag: json.loads((source / f"words.{tag}.json").read_text("utf-8")) for tag in LANGUAGES}
    script = "".join((source / name).read_text("utf-8") for name in SCRIPTS)
    whole = f'(() => {{\n"use strict";\nconst WORDS = {json.dumps(words, indent=1)};\n{script}}})();\n'
    (folder / "map.js").write_text(whole, encoding="utf-8")
    for name in ("index.html", "map.css"):
        with (source / name).open("rb") as there, (folder / name).open("wb") as here:
            shutil.copyfileobj(there, here)

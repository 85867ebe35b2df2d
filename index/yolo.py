"""The names of the classes of a folder of YOLO's: ``data.yaml``, ``classes.txt`` and their like."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from matcher.errors import InputError
from matcher.images import printable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CLASS_FILES", "yolo_classes"]

CLASS_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.txt", "obj.names")
"""Files that name the classes, the first there is."""


def yolo_classes(folder: Path) -> list[str] | None:
    """Return the names of the classes in their order, None if no file there names them.

    Raises
    ------
    InputError
        If the file that should has none that can be read.
    """
    for name in CLASS_FILES:
        file = folder / name
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            if file.suffix in (".yaml", ".yml"):
                return _yaml_names(text, file)
            return [line.strip() for line in text.splitlines() if line.strip()]
    return None


def _yaml_names(text: str, file: Path) -> list[str]:
    """Return ``names`` of a data.yaml: ``[a, b]``, ``- a`` line by line, or ``0: a`` line by line."""
    lines = [re.sub(r"(^|\s)#.*", "", line).rstrip() for line in text.splitlines()]
    start = next((i for i, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        raise InputError(f"{printable(file)}: has no names of classes; add: names: [stamp, label]")
    rest = lines[start].partition(":")[2].strip()
    following = []
    for line in lines[start + 1 :]:
        if line and not line.startswith((" ", "\t", "-", "]", "}")):
            break
        following.append(line.strip())
    whole = " ".join([rest, *following]).strip()
    if whole.startswith(("[", "{")):
        items = [item.strip() for item in whole.strip("[]{} ").split(",") if item.strip()]
    else:
        items = [line.removeprefix("-").strip() for line in following if line]
    numbered = [re.match(r"[\"']?(\d+)[\"']?\s*:\s*(.*)", item) for item in items]
    if items and all(numbered):
        told = {int(match[1]): match[2] for match in numbered if match}
        items = [told.get(number, str(number)) for number in range(max(told) + 1)]
    names = [_unquoted(item.strip()) for item in items]
    if not names or not all(names):
        raise InputError(f"{printable(file)}: its names of classes cannot be read; write: names: [stamp, label]")
    return names


def _unquoted(text: str) -> str:
    """Return a text of YAML without its quotes; in double ones it is a text of JSON, too."""
    if text.startswith('"') and text.endswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text.strip('"')
    return text.strip("'")

"""The page in its languages: both catalogues say the same things, and every message that is there is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "webui" / "frontend" / "src"
CATALOGUES = {path.stem: json.loads(path.read_text("utf-8")) for path in (SOURCES / "words").glob("*.json")}


def test_both_languages_have_the_same_messages() -> None:
    assert set(CATALOGUES) == {"en", "fr"}
    assert list(CATALOGUES["en"]) == list(CATALOGUES["fr"])
    assert all(text.strip() for catalogue in CATALOGUES.values() for text in catalogue.values())


def test_messages_are_filled_in_alike() -> None:
    """The same places to fill in, and as many forms, or a number would be lost in one language."""
    filled = [
        {key: (set(re.findall(r"\{\w+\}", text)), text.count(" || ")) for key, text in catalogue.items()}
        for catalogue in CATALOGUES.values()
    ]
    assert filled[0] == filled[1]


def test_every_message_is_said() -> None:
    """A key stands in the sources as it is, or by its beginning: ``kind.${zone.kind}``."""
    code = "".join(path.read_text("utf-8") for path in SOURCES.rglob("*.ts*"))
    beginnings = re.findall(r"`([\w.]+\.)\$\{", code)
    said = [key for key in CATALOGUES["en"] if f'"{key}"' in code or any(key.startswith(one) for one in beginnings)]
    assert said == list(CATALOGUES["en"])

"""Words put the ways that people write them under pictures: models that see words were trained on such lines.

The mean over several is a better query than one (Radford et al., ICML 2021, section 3.1.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcher.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PROMPTS", "prompted"]

PROMPTS: Mapping[str, tuple[str, ...]] = {
    "en": (
        *("{}", "a picture of {}", "a photograph of {}", "a drawing of {}", "an engraving of {}"),
        *("a woodcut of {}", "an old print of {}"),
    ),
    "fr": (
        *("{}", "une image : {}", "une photographie : {}", "un dessin : {}", "une gravure : {}"),
        *("une gravure sur bois : {}", "une estampe ancienne : {}"),
    ),
    "de": (
        *("{}", "ein Bild: {}", "eine Fotografie: {}", "eine Zeichnung: {}", "ein Kupferstich: {}"),
        *("ein Holzschnitt: {}", "eine alte Druckgrafik: {}"),
    ),
    "it": (
        *("{}", "un’immagine: {}", "una fotografia: {}", "un disegno: {}", "un’incisione: {}"),
        *("una xilografia: {}", "una stampa antica: {}"),
    ),
    "es": (
        *("{}", "una imagen: {}", "una fotografía: {}", "un dibujo: {}", "un grabado: {}"),
        *("una xilografía: {}", "una estampa antigua: {}"),
    ),
    "none": ("{}",),
}
"""Lines with a gap for what is meant, by language; ``none`` takes words as they are."""


def prompted(texts: Sequence[str], language: str = "en") -> list[str]:
    """Return each text in each of the lines of a language.

    Raises
    ------
    InputError
        If there are no lines of that language, or a text is empty.
    """
    if language not in PROMPTS:
        raise InputError(f"there are no prompts in {language!r}; choose one of {', '.join(PROMPTS)}")
    if not all(text.strip() for text in texts):
        raise InputError("the words to look for are empty; say what is to be seen")
    return [line.format(text.strip()) for text in texts for line in PROMPTS[language]]

"""What other programs call the parts of a page, in the kinds that calque knows."""

from __future__ import annotations

import re

__all__ = ["kind_of_label"]

# English, French, or the words of SegmOnto (https://segmonto.github.io); the first that fits counts.
_KINDS = (
    ("text", r"caption|fig.?desc|textual|l[ée]gende"),  # before the pictures that they are captions of
    ("initial", r"initial|drop.?cap|lettrine"),
    ("ornament", r"ornament|decor|vignette|fleuron|(head|tail).?piece|bandeau|frame|border"),
    (
        "illustration",
        r"illustration|image|photo|picture|figure|graphic|drawing|engraving|woodcut|map|plate|cartoon|chart",
    ),
    (
        "text",
        r"text|paragraph|head|foot|title|column|list|main.?zone|numbering|quire|catch.?word|marginal|page.number",
    ),
)


def kind_of_label(label: str, otherwise: str = "other") -> str:
    """Return ``illustration``, ``ornament``, ``initial`` or ``text``, whichever `label` means, else `otherwise`."""
    return next((kind for kind, words in _KINDS if re.search(words, label, re.IGNORECASE)), otherwise)

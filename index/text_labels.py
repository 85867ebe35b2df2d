"""Classes described in words, for models that set words and pictures into one space: no example needed."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from index.classifiers import TrainedModel
from matcher.classification import zero_shot
from matcher.embedding import TextEmbedder
from matcher.errors import InputError
from matcher.images import printable
from matcher.registry import embedder_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matcher.classification import Kind

__all__ = ["TEMPLATES", "model_of_words", "read_text_labels"]

TEMPLATES = ("{}", "a {}", "an image of a {}", "a scan of a {} from a book")
"""What is said of a class of which only the name is given."""


def read_text_labels(text: str) -> dict[str, tuple[str, ...]]:
    """Return the descriptions of each class.

    Parameters
    ----------
    text : str
        Names parted by commas, ``map,wood engraving``; or the path of a text file: a line for each description,
        ``map = a map of a city``, several for a class if there are, or the name alone; ``#`` begins a comment.

    Raises
    ------
    InputError
        If there are fewer than two classes.
    """
    path = Path(text)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else text.split(",")
    except (OSError, ValueError) as error:
        raise InputError(f"{printable(path)}: cannot be read as lines of text ({error}); write it as UTF-8") from error
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, words = (part.strip() for part in line.partition("="))
        if name and not name.startswith("#"):
            found.setdefault(name, []).extend([words] if words else [])
    if len(found) < 2:
        raise InputError(f"{text!r} names fewer than two classes; part them by commas, or give a file of lines")
    return {name: tuple(told or (template.format(name) for template in TEMPLATES)) for name, told in found.items()}


def model_of_words(descriptions: Mapping[str, Sequence[str]], embedder: str, multilabel: bool = False) -> TrainedModel:
    """Return a classifier that has learned from words alone.

    Parameters
    ----------
    descriptions : mapping of str to sequences of str
        Of each class, from `read_text_labels`.
    embedder : str
        A name for `matcher.registry.embedder_named`.
    multilabel : bool
        Whether classes may hold together.

    Raises
    ------
    InputError
        If the embedder knows no words.
    """
    sees = embedder_named(embedder)
    if not isinstance(sees, TextEmbedder):
        raise InputError(f"{embedder} knows no words; name a model of images and text, such as clip or siglip")
    kind: Kind = "multilabel" if multilabel else "binary" if len(descriptions) == 2 else "multiclass"
    texts = [sees.embed_texts(list(told)) for told in descriptions.values()]
    made = zero_shot(sees.signature, texts, list(descriptions), kind)
    told = {"calque": version("calque"), "words": {name: list(words) for name, words in descriptions.items()}}
    return TrainedModel(made, embedder, told)

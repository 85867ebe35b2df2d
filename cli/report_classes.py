"""`report.html` of a classifier: confusions, classes, calibration, the surest errors; a folder that opens offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cli.report_classes_drawings import calibration_curve, confusion_matrix, confusion_of_labels
from cli.report_page import STYLE, escaped, figure, missing
from index.durable import naming_full_disk, replacing
from index.exports import make_folder, slug
from index.subjects import picture_of
from matcher.classification import decided
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from index.class_evaluation import Evaluation

__all__ = ["write_report"]

_ERRORS = 60
"""Errors that are shown."""

_SIDE = 300
"""Pixels of the longer side of a thumbnail."""

_STYLE = """
.figures { display: flex; flex-wrap: wrap; gap: 10px 44px; margin: 22px 0 8px; }
.figures div { min-width: 7em; }
.figures b { display: block; font-size: 27px; font-weight: 500; line-height: 1.2; font-variant-numeric: lining-nums; }
.figures span { color: var(--faint); font-style: italic; font-size: 14.5px; }
.told { color: var(--faint); font-size: 14.5px; max-width: 62em; }
.drawn { display: flex; flex-wrap: wrap; gap: 30px 56px; align-items: flex-start; }
.drawn figure { margin: 0; max-width: 100%; }
.drawn figcaption { max-width: 26em; }
.drawn img { max-width: 100%; height: auto; }
.errors { display: grid; grid-template-columns: repeat(auto-fill, minmax(215px, 1fr)); gap: 18px; align-items: start; }
.error { background: var(--card); border: 1px solid var(--line); padding: 12px; margin: 0; }
.error figure { margin: 0; }
.error img { display: block; max-width: 100%; max-height: 260px; height: auto; width: auto; margin: 0 auto; }
.error p { margin: 9px 0 0; font-size: 14.5px; line-height: 1.35; }
.error .name { color: var(--faint); font-size: 13.5px; margin-top: 4px; }
.error b { font-weight: 600; } .error .wrong { color: var(--rubric); } .error .true { color: var(--deep); }
section { margin: 34px 0 42px; } section > h2 { border-bottom: 1px solid var(--ink); padding-bottom: 6px; }
section > p { color: var(--faint); }
"""

_SHOWN = (
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "mean recall of classes"),
    ("macro_f1", "mean F1 of classes"),
    ("map", "mean average precision"),
    ("ece", "expected calibration error"),
    ("brier", "Brier score"),
)


def write_report(
    found: Evaluation, folder: Path, title: str, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write ``report.html`` and ``pictures/`` into a folder, and return the path of the page.

    Parameters
    ----------
    found : Evaluation
    folder : Path
        Made if need be. A report that is already there is replaced.
    title : str
    progress : callable, optional
        Called as ``progress(done, total)``, in pictures.

    Raises
    ------
    InputError
        If the folder cannot be made.
    CalqueError
        If the disk is full.
    """
    pictures = folder / "pictures"
    make_folder(pictures)
    figures = found.figures()
    if found.exclusive:
        matrix = confusion_matrix(found.classes, figures["confusion"])
    else:
        matrix = confusion_of_labels(found.classes, figures["confusion"])
    for name, drawing in (("confusion.svg", matrix), ("calibration.svg", calibration_curve(figures["reliability"]))):
        with replacing(pictures / name) as temporary:
            temporary.write_text(drawing, encoding="utf-8")
    wrong = _wrong(found)
    shown = wrong[:_ERRORS]
    cards = []
    with naming_full_disk(pictures):
        for number, place in enumerate(shown, start=1):
            cards.append(_card(found, place, pictures, number))
            if progress is not None:
                progress(number, len(shown))
    path = folder / "report.html"
    with replacing(path) as temporary:
        temporary.write_text(
            _page(found, figures, title, cards, len(wrong)), encoding="utf-8", errors="surrogateescape"
        )
    return path


def _wrong(found: Evaluation) -> list[int]:
    """Return the examples that were told wrongly, those it was surest of first."""
    said = decided(found.probabilities, found.exclusive)
    wrong = np.flatnonzero((said != found.truth).any(axis=1))
    off = np.abs(found.probabilities - found.truth).max(axis=1)
    return [int(place) for place in wrong[np.argsort(-off[wrong], kind="stable")]]


def _card(found: Evaluation, place: int, pictures: Path, number: int) -> str:
    example = found.examples[place]
    try:
        pixels = picture_of(example.path, example.page, example.region, _SIDE)
    except CalqueError as error:
        shown = missing(str(error))
    else:
        name = f"{number:04d}-{slug(example.name)}.jpg"
        Image.fromarray(pixels).save(pictures / name, "JPEG", quality=84, optimize=True)
        shown = figure(f"pictures/{name}", "", f"{example.name}", (pixels.shape[1], pixels.shape[0]))
    said = decided(found.probabilities[place : place + 1], found.exclusive)[0]
    row = dict(zip(found.classes, found.probabilities[place].tolist(), strict=True))
    told = _listed([c for c, yes in zip(found.classes, said.tolist(), strict=True) if yes], row)
    true = _listed([c for c, yes in zip(found.classes, found.truth[place].tolist(), strict=True) if yes], row)
    page = f", page {example.page + 1}" if example.page else ""
    box = "" if example.region is None else f" · {','.join(f'{edge:g}' for edge in example.region.as_list())}"
    return (
        f'<article class="error">{shown}<p>told <b class="wrong">{told}</b>,<br>is <b class="true">{true}</b></p>'
        f'<p class="name">{escaped(example.name)}{page}{box}</p></article>\n'
    )


def _listed(names: Sequence[str], probabilities: dict[str, float]) -> str:
    return ", ".join(f"{escaped(name)} ({probabilities[name]:.2f})" for name in names) or "none of them"


def _page(found: Evaluation, figures: dict[str, Any], title: str, cards: Iterable[str], errors: int) -> str:
    numbers = "".join(f"<div><b>{_number(figures[name])}</b><span>{words}</span></div>" for name, words in _SHOWN)
    told = " · ".join(f"{escaped(name)}: {escaped(words)}" for name, words in found.told.items())
    rows = "".join(
        f'<tr><td class="name">{escaped(row["class"])}</td><td class="number">{row["examples"]}</td>'
        + "".join(
            f'<td class="number">{_number(row[name])}</td>'
            for name in ("precision", "recall", "f1", "average_precision")
        )
        + "</tr>\n"
        for row in figures["classes"]
    )
    heads = "".join(f'<th class="number">{words}</th>' for words in ("examples", "precision", "recall", "F1", "AP"))
    shown = "".join(cards)
    of = f"The {_ERRORS} surest of {errors} errors" if errors > _ERRORS else f"All {errors} errors, the surest first"
    body = f'<p>{of}.</p><div class="errors">{shown}</div>' if errors else "<p>None.</p>"
    captions = {
        "confusion": "Each row is what pictures are, each column what they were told to be; blue is right, red wrong."
        if found.exclusive
        else "Of each class: right, missed, and told where it is not.",
        "calibration": "Of all answers of like confidence, the share that is right; on the dotted line probabilities "
        "mean what they say. Larger dots: more answers.",
    }
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="generator" content="calque">'
        f"<title>{escaped(title)}</title><style>{STYLE}{_STYLE}</style></head>\n"
        f'<body><header class="top"><p class="kicker">calque</p><h1>{escaped(title)}</h1>'
        f"<p>{figures['examples']} pictures of {len(found.classes)} classes.</p></header>\n<main>\n"
        f'<div class="figures">{numbers}</div><p class="told">{told}</p>\n'
        f'<section><h2>Confusions and calibration</h2><div class="drawn">'
        f'<figure><img src="pictures/confusion.svg" alt="Confusion matrix"><figcaption>{captions["confusion"]}'
        f'</figcaption></figure><figure><img src="pictures/calibration.svg" alt="Calibration curve"><figcaption>'
        f"{captions['calibration']}</figcaption></figure></div></section>\n"
        f"<section><h2>Classes</h2><table><thead><tr><th>class</th>{heads}</tr></thead>\n<tbody>{rows}</tbody></table>"
        f"</section>\n<section><h2>Errors</h2>{body}</section>\n</main>\n"
        "<footer><p>Precision: of what was told to be of a class, the share that is. Recall: of what is of a class, "
        "the share that was told. F1: their harmonic mean. AP: average precision of the ranking by probability. "
        "Expected calibration error: how far, on average, probabilities are from the share that is right. Brier "
        "score: mean squared error of probabilities.</p></footer></body></html>\n"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

"""``calque add``: bring an index up to date with folders of scans."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import device_option, format_option, index_argument, quiet_option
from cli.output import one_line, write_record
from cli.progress import Progress
from index.settings import Settings
from matcher.errors import SettingsMismatch
from matcher.registry import EXTRACTORS, extractor_of, name_in

if TYPE_CHECKING:
    from cli.output import Format
    from index.reports import AddReport
    from index.store import Index

__all__ = ["add"]

_DEFAULTS = {item.name: item.default for item in dataclasses.fields(Settings)}


@click.command()
@index_argument
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--workers", type=click.IntRange(min=0), metavar="N", help="Processes; one for each core by default, 0 uses none."
)
@click.option(
    "--work-size",
    type=click.IntRange(min=64),
    metavar="PX",
    help=f"Long side to which images are reduced; settled when the index is made.  [default: {_DEFAULTS['work_size']}]",
)
@click.option(
    "--max-features",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Features kept of an image; settled when the index is made.  [default: {_DEFAULTS['max_features']}]",
)
@click.option(
    "--vocabulary",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A vocabulary made by `calque train`; settled when the index is made.  [default: the one shipped]",
)
@click.option(
    "--features",
    type=click.Choice(list(EXTRACTORS)),
    metavar="NAME",
    help=f"What finds and describes features: {', '.join(EXTRACTORS)}; settled when the index is made, by its "
    "vocabulary, which must be of these features.  [default: those of the vocabulary]",
)
@device_option
@format_option
@quiet_option
def add(
    index: Path,
    sources: tuple[str, ...],
    workers: int | None,
    work_size: int | None,
    max_features: int | None,
    vocabulary: Path | None,
    features: str | None,
    form: Format,
    quiet: bool,
) -> int:
    """Add the images of each SOURCE to INDEX, which is made if there is none.

    SOURCE is an image, a folder (searched recursively), a PDF or multi-page TIFF, or a list file (.txt, one path a
    line). Files that are in already and have not changed are passed over, changed ones are replaced: after an
    interruption, run the same command again. What cannot be read is listed on stderr with the reason.

    Exit status: 0 done, 1 some inputs failed (the others are in), 2 wrong usage or failure.

    \b
    Examples:
      calque add scans.calque scans/
      calque add scans.calque volume1.pdf more/*.jpg --workers 4
      calque add scans.calque list.txt --quiet --format json
      calque add fine.calque scans/ --features xfeat --vocabulary fine.h5
    """
    given = {"work_size": work_size, "max_features": max_features}
    started = time.monotonic()
    settled = {name: value for name, value in given.items() if value is not None}
    with _opened(index, settled, vocabulary, features) as opened:
        with Progress("images", quiet=quiet) as progress:
            report = opened.add(sources, workers=workers, progress=lambda done, total, *_: progress.update(done, total))
        images = opened.info()["images"]
    for name, reason in report.failed:
        click.echo(one_line(f"calque: {name}: {reason}"), err=True)
    summary = _summary(index, report, images, time.monotonic() - started)
    if form == "table":
        del summary["failures"]
    write_record(summary, form)
    return 1 if report.failed else 0


def _opened(index: Path, given: dict[str, int], vocabulary: Path | None, features: str | None) -> Index:
    """Open `index` for writing, or make it, with the settings given."""
    from index.store import Index
    from index.vocabulary import Vocabulary, bundled_vocabulary

    if not (index / "catalogue.sqlite").exists():
        words = bundled_vocabulary() if vocabulary is None else Vocabulary.load(vocabulary)
        remedy = f"train one with: calque train FILE SOURCE... --features {features}, and name it with --vocabulary"
        _require_features(words.features, features, vocabulary or "the vocabulary that is shipped", remedy)
        return Index.create(index, given, vocabulary)
    wanted: dict[str, Any] = dict(given)
    if vocabulary is not None:
        words = Vocabulary.load(vocabulary)
        wanted |= {"vocabulary": words.name, "vocabulary_hash": words.hash}
    opened = Index.open(index, writable=True)
    try:
        _require_features(opened.settings.extractor, features, index, "leave --features out or make a new index")
        opened.settings.require(dataclasses.replace(opened.settings, **wanted), index)
    except BaseException:
        opened.close()
        raise
    return opened


def _require_features(signature: str, features: str | None, where: object, remedy: str) -> None:
    """Raise `SettingsMismatch` unless `features` (None: any) is what `where`, with this signature, was made with."""
    if features not in (None, name_in(signature)):
        raise SettingsMismatch(f"{where} is of {name_in(signature)} features, not of {features}; {remedy}")
    if name_in(signature) != "sift":
        extractor_of(signature)  # fetches weights once, before many processes want them


def _summary(index: Path, report: AddReport, images: int, seconds: float) -> dict[str, Any]:
    return {
        "index": str(index),
        "added": report.added,
        "replaced": report.replaced,
        "unchanged": report.unchanged,
        "failed": len(report.failed),
        "skipped": dict(sorted(report.skipped.items())),
        "images": images,
        "seconds": round(seconds, 3),
        "failures": [{"name": name, "reason": reason} for name, reason in report.failed],
    }

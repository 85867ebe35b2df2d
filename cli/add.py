"""``calque add``: bring an index up to date with folders of scans."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import (
    allow_private_option,
    device_option,
    format_option,
    index_argument,
    quiet_option,
    require_one_place,
    scheduler_option,
    workers_option,
)
from cli.output import one_line, write_record
from cli.progress import Progress
from index.settings import PROFILES, Settings
from matcher.errors import SettingsMismatch
from matcher.registry import EXTRACTORS, SEGMENTER, extractor_of, name_in

if TYPE_CHECKING:
    from cli.output import Format
    from index.reports import AddReport
    from index.store import Index
    from index.zones import ZoneFinder

__all__ = ["add"]

_FINEST = "fine"
"""Name of a profile, and of features: those of SIFT as that profile has them, which find more than any others."""

_DEFAULTS = {item.name: item.default for item in dataclasses.fields(Settings)}


@click.command()
@index_argument
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
@workers_option
@click.option(
    "--time-limit",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    default=600.0,
    show_default=True,
    help="What a process may take for one page before it is ended and the page listed as failed.",
)
@click.option(
    "--work-size",
    type=click.IntRange(min=64),
    metavar="PX",
    help="Long side to which images are reduced; settled when the index is made.  [default: as the profile says, else "
    f"{_DEFAULTS['work_size']}]",
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    help="What is stored of an image: few bytes, many, or all that could matter (docs/profiles.md); settled when the "
    "index is made.  [default: standard]",
)
@click.option(
    "--max-features",
    type=click.IntRange(min=1),
    metavar="N",
    help="Features kept of an image; settled when the index is made.  [default: as the profile says]",
)
@click.option(
    "--vocabulary",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A vocabulary made by `calque train`; settled when the index is made.  [default: the one shipped]",
)
@click.option(
    "--features",
    type=click.Choice([*EXTRACTORS, _FINEST]),
    metavar="NAME",
    help=f"What finds and describes features: {', '.join(EXTRACTORS)}; settled when the index is made, by its "
    f"vocabulary, which must be of these features. {_FINEST}: the best there are, sift's with --profile {_FINEST}.  "
    "[default: those of the vocabulary]",
)
@click.option(
    "--layout/--no-layout",
    default=None,
    help="Find the pictures of pages, keep what lies on them and leave type out; other images are kept as they are. "
    "Settled when the index is made.  [default: --layout]",
)
@click.option(
    "--metadata",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A table (CSV, TSV) with a heading line: each row's values are noted of the image that it names. Also of "
    "images that are in already, without any SOURCE.",
)
@click.option(
    "--metadata-key",
    metavar="COLUMN",
    help="Its column that names images: by path, the end of a path, or file name with or without suffix.  "
    "[default: the first of path, file, filename, image, name, identifier, id]",
)
@click.option(
    "--zones",
    "zone_files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="An ALTO, PAGE or COCO file, or a folder of such: what on the pages is a picture, what is text. Also of "
    "images that are in already. May be repeated.",
)
@allow_private_option
@device_option
@scheduler_option
@format_option
@quiet_option
def add(
    index: Path,
    sources: tuple[str, ...],
    workers: int | None,
    time_limit: float,
    work_size: int | None,
    profile: str | None,
    max_features: int | None,
    vocabulary: Path | None,
    features: str | None,
    layout: bool | None,
    table: Path | None,
    metadata_key: str | None,
    zone_files: tuple[Path, ...],
    allow_private: bool,
    scheduler: str | None,
    form: Format,
    quiet: bool,
) -> int:
    """Add the images of each SOURCE to INDEX, which is made if there is none.

    SOURCE is an image, a folder (searched recursively), a PDF or multi-page TIFF, or a list file (.txt, one path a
    line); a IIIF manifest or collection, as a file or an address, whose pictures are fetched at the size that is needed
    and kept in CALQUE_CACHE (by default ~/.cache/calque); a METS volume with its ALTO; an ALTO, PAGE or COCO file,
    whose images lie beside it. What these say of their pages is kept, for --where and for export.

    Files that are in already and have not changed are passed over, changed ones are replaced: after an interruption,
    run the same command again. What cannot be read, and what is said of images that are not in, is listed on stderr.

    Exit status: 0 done, 1 some inputs failed (the others are in), 2 wrong usage or failure.

    \b
    Examples:
      calque add scans.calque scans/
      calque add scans.calque volume1.pdf more/*.jpg --workers 4
      calque add scans.calque list.txt --quiet --format json
      calque add scans.calque https://example.org/iiif/book1/manifest.json
      calque add scans.calque volume/mets.xml
      calque add scans.calque scans/ --zones alto/ --metadata catalogue.csv
      calque add scans.calque --metadata catalogue.csv --metadata-key shelfmark
      calque add fine.calque scans/ --features fine
      calque add xfeat.calque scans/ --features xfeat --vocabulary xfeat.h5
      calque add scans.calque scans/ --scheduler tcp://host:8786
    """
    if not (sources or table or zone_files):
        raise click.UsageError("name a SOURCE, or give --metadata or --zones for the images that are in")
    if metadata_key is not None and table is None:
        raise click.UsageError("--metadata-key names a column of the table that --metadata gives")
    require_one_place(scheduler, "--workers", workers)
    if features == _FINEST:
        if profile not in (None, _FINEST):
            raise click.UsageError(f"--features {_FINEST} means --profile {_FINEST}; leave --profile {profile} out")
        features, profile = "sift", _FINEST
    from index.cluster import connected
    from index.fetching import Fetcher
    from index.metadata import match, read_table

    rows = None if table is None else read_table(table, metadata_key)
    zones, damaged = _zones(zone_files)
    given = {"work_size": work_size, "max_features": max_features}
    started = time.monotonic()
    settled = {
        **(PROFILES[profile] if profile else {}),
        **{n: value for n, value in given.items() if value is not None},
    }
    with (
        connected(scheduler) as cluster,
        _opened(index, settled, vocabulary, features, layout, make=bool(sources)) as opened,
    ):
        with Progress("images", quiet=quiet) as progress:
            report = opened.add(
                sources,
                workers=workers,
                progress=lambda done, total, *_: progress.update(done, total),
                zones=zones,
                fetcher=Fetcher(allow_private=allow_private),
                cluster=cluster,
                seconds=time_limit,
            )
        report.failed += damaged
        problems = [(str(told.source), f"{told.image!r} is no image of the index") for told in opened.add_zones(zones)]
        if rows is not None:
            matched = match(rows, opened.images())
            opened.set_metadata(matched.values)
            problems += [(str(table), problem) for problem in matched.problems]
        images = opened.n_images
    lacking = [(name, f"added without its layout ({reason})") for name, reason in report.unsegmented]
    for name, reason in [*report.failed, *lacking, *problems]:
        click.echo(one_line(f"calque: {name}: {reason}"), err=True)
    summary = _summary(index, report, images, time.monotonic() - started)
    summary["unmatched"] = len(problems)
    if form == "table":
        del summary["failures"]
    write_record(summary, form)
    return 1 if report.failed or problems else 0


def _zones(paths: tuple[Path, ...]) -> tuple[ZoneFinder, list[tuple[str, str]]]:
    """Return what files say of parts of pages, and the names of those that cannot be read, with the reasons."""
    from index.items import SourceFailure
    from index.zones import ZoneFinder, read_zones

    found = [item for path in paths for item in read_zones(path)]
    failed = [(item.name, item.reason) for item in found if isinstance(item, SourceFailure)]
    return ZoneFinder(item for item in found if not isinstance(item, SourceFailure)), failed


def _opened(
    index: Path,
    given: dict[str, int],
    vocabulary: Path | None,
    features: str | None,
    layout: bool | None,
    *,
    make: bool,
) -> Index:
    """Open `index` for writing, or `make` it, with the settings given."""
    from index.store import Index
    from index.vocabulary import Vocabulary, bundled_vocabulary

    if make and not (index / "catalogue.sqlite").exists():
        words = bundled_vocabulary() if vocabulary is None else Vocabulary.load(vocabulary)
        remedy = f"train one with: calque train FILE SOURCE... --features {features}, and name it with --vocabulary"
        _require_features(words.features, features, vocabulary or "the vocabulary that is shipped", remedy)
        return Index.create(index, {**given, "layout": "" if layout is False else SEGMENTER}, vocabulary)
    wanted: dict[str, Any] = dict(given)
    if vocabulary is not None:
        words = Vocabulary.load(vocabulary)
        wanted |= {"vocabulary": words.name, "vocabulary_hash": words.hash}
    opened = Index.open(index, writable=True)
    try:
        _require_features(opened.settings.extractor, features, index, "leave --features out or make a new index")
        opened.settings.require(dataclasses.replace(opened.settings, **wanted), index)
        if layout not in (None, bool(opened.settings.layout)):
            made, option = ("without", "--layout") if layout else ("with", "--no-layout")
            raise SettingsMismatch(f"{index} was made {made} layouts; leave {option} out or make a new index")
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
        "unsegmented": len(report.unsegmented),
        "skipped": dict(sorted(report.skipped.items())),
        "images": images,
        "seconds": round(seconds, 3),
        "failures": [{"name": name, "reason": reason} for name, reason in report.failed],
    }

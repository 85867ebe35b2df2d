"""``calque train``: a vocabulary of one's own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import device_option, format_option, quiet_option
from cli.output import write_record
from cli.progress import Progress
from matcher.registry import EXTRACTORS

if TYPE_CHECKING:
    from cli.output import Format

__all__ = ["train"]


@click.command()
@click.argument("vocabulary", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--words",
    type=click.IntRange(256, 65536),
    default=65536,
    show_default=True,
    metavar="N",
    help="Visual words; each needs some 30 features to be trained on.",
)
@click.option(
    "--features",
    type=click.Choice(list(EXTRACTORS)),
    default="sift",
    show_default=True,
    metavar="NAME",
    help=f"What finds and describes features: {', '.join(EXTRACTORS)}.",
)
@click.option(
    "--calibrate/--no-calibrate",
    default=True,
    show_default=True,
    help="Measure what chance alone gives with it, by which searches count false alarms; takes minutes more.",
)
@device_option
@format_option
@quiet_option
def train(
    vocabulary: Path, sources: tuple[str, ...], words: int, features: str, calibrate: bool, form: Format, quiet: bool
) -> int:
    """Train a VOCABULARY file on each SOURCE, for a collection unlike prints, pages and photographs.

    The vocabulary that is shipped serves most collections, and indexes made with it may be merged. An index is made
    with another by `calque add --vocabulary`. Features other than sift are described by networks (docs/features.md) and
    need the extra: pip install 'calque[learned]'.

    A third of the images, at most 250, are kept from training. They are looked for where they are not, to measure how
    much agrees by chance; the vocabulary keeps it, and searches count their false alarms by it (docs/significance.md).
    That takes some hundred images; with --no-calibrate all serve for training.

    \b
    Examples:
      calque train maps.h5 maps/ --words 32768
      calque add maps.calque maps/ --vocabulary maps.h5
      calque train fine.h5 scans/ --features xfeat --words 16384
    """
    from index.calibrating import calibrated, set_aside
    from index.training import train as train_vocabulary

    started = time.monotonic()
    learnt, kept = set_aside(sources) if calibrate else (list(sources), [])
    with Progress("images", quiet=quiet) as progress:
        trained = train_vocabulary(learnt, vocabulary, features=features, words=words, progress=progress.update)
    if calibrate:
        with Progress("images and searches", quiet=quiet) as progress:
            trained = calibrated(vocabulary, kept, progress=progress.update)
    if calibrate and trained.law is None:
        click.echo(
            "calque: too few images to measure what chance gives: expect more false alarms than claimed", err=True
        )
    record = {
        "vocabulary": str(vocabulary),
        "words": len(trained),
        "hash": trained.hash,
        "calibrated": trained.law is not None,
        "seconds": round(time.monotonic() - started, 1),
    }
    write_record(record, form)
    return 0

"""``calque detect INDEX|SOURCE``: look for things in pictures, and keep in the index where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.detect_output import DETECTION_FORMS, Tally, write_counts, write_seen
from cli.exports import base_url_option
from cli.options import allow_private_option, device_option, quiet_option, where_option, workers_option
from cli.output import FORMATS
from cli.progress import Progress
from matcher.detectors import DETECTOR, DETECTORS, PHRASE_DETECTOR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from index.detecting import Asked, ImageDetections
    from index.detection_files import SeenImage
    from index.detections import KnownDetection
    from index.store import Index
    from matcher.detection import Detector

__all__ = ["apply", "is_index", "model_option", "outline_option", "phrase_option"]

model_option = click.option(
    "--model",
    metavar="NAME[:PATH]",
    help=f"What looks: {', '.join(DETECTORS)}, some of them with the path of a model (docs/detection.md).  "
    f"[default: {DETECTOR}; with --phrase {PHRASE_DETECTOR}]",
)

phrase_option = click.option(
    "--phrase",
    "phrases",
    multiple=True,
    metavar="TEXT",
    help="What to look for, in words; may be given several times. For detectors that read.",
)


outline_option = click.option(
    "--outline",
    "outliner",
    metavar="NAME[:PATH]",
    help="Look only inside the outline of a thing, which this finds in its box: sam (docs/detection.md).",
)


@click.command(hidden=True)
@click.argument("sources", nargs=-1, required=True, metavar="INDEX|SOURCE...")
@model_option
@phrase_option
@click.option(
    "--outline",
    "outliner",
    metavar="NAME[:PATH]",
    help="Give each box the outline of what is in it, too: sam (docs/detection.md).",
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    metavar="S",
    help="Leave out what is less sure, 0 to 1.  [default: what suits the detector]",
)
@click.option("--counts", is_flag=True, help="Tell how many there would be at higher scores, from 0.1 to 0.9.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="File for what is found on SOURCEs; folder with --format yolo; without it, stdout.",
)
@click.option(
    "--overlays",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for a drawing of each image on which something was found.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(DETECTION_FORMS),
    metavar="|".join(DETECTION_FORMS),
    help="How results are written: for an INDEX its table of labels, for SOURCEs all that was found.  "
    "[default: table; for SOURCEs jsonl]",
)
@where_option
@workers_option
@device_option
@allow_private_option
@base_url_option
@quiet_option
def apply(
    sources: tuple[str, ...],
    model: str | None,
    phrases: tuple[str, ...],
    outliner: str | None,
    min_score: float | None,
    counts: bool,
    output: Path | None,
    overlays: Path | None,
    form: str | None,
    where: str | None,
    workers: int | None,
    allow_private: bool,
    base_url: str,
    quiet: bool,
) -> int:
    """Look for things on the images of INDEX, or of each SOURCE, such as `calque add` takes.

    In an INDEX boxes, labels and scores are kept, beside the layout of its pages, which stays as it is. Conditions ask
    for them: `calque search INDEX --where "object=umbrella and score>0.6"`. What the same detector has looked for
    before is not looked for again: after an interruption, run the same command again. The table tells what INDEX now
    has of this detector.

    yolox-nano finds the 80 classes of COCO, yunet finds faces, layout finds illustrations, ornaments, initials and
    text; owlv2, grounding-dino and clipseg find what --phrase says. onnx:PATH is a YOLO or DETR model of one's own.

    Exit status: 0 done, 1 nothing was found or some images failed, 2 wrong usage or failure.

    \b
    Examples:
      calque detect scans.calque
      calque detect scans.calque --model yunet --overlays faces/
      calque detect scans.calque --phrase umbrella --phrase "a dog" --min-score 0.2 --counts
      calque detect photographs/ --model onnx:stamps.onnx --format coco > stamps.json
    """
    from contextlib import ExitStack

    from index.detecting import ask, detect_in_index, detect_in_sources
    from index.detection_files import overlaid
    from index.fetching import Fetcher
    from index.store import Index

    indexes = [source for source in sources if is_index(source)]
    _check_usage(sources, indexes, form, output, where, counts)
    asked, detector = ask(model or (PHRASE_DETECTOR if phrases else DETECTOR), phrases, min_score, outliner or "")
    with ExitStack() as stack:
        tally = Tally(stack.enter_context(Progress("images", quiet=quiet)))
        if indexes:
            opened = stack.enter_context(Index.open(Path(indexes[0]), writable=True))
            only = None if where is None else opened.select(where)
            looked = detect_in_index(
                opened, asked, detector, only=only, workers=workers, progress=tally.progress.update
            )
            for record, found in tally.passed(looked):
                tally.things += len(found)
                if overlays is not None and found:
                    overlaid(overlays, record.path, record.page, record.name, found)
            known = list(_of_detector(opened, asked, detector, only))
            write_counts(known, form or "table", steps=counts)
            told = bool(known)
        else:
            fetcher = Fetcher(allow_private=allow_private)
            images = tally.passed(
                detect_in_sources(
                    sources, asked, detector, workers=workers, fetcher=fetcher, progress=tally.progress.update
                )
            )
            seen = _drawn(images, tally, detector, overlays)
            if counts:
                numbered = ((number, one) for number, image in enumerate(seen) for one in image.known)
                write_counts(numbered, form or "table", steps=True)
            else:
                write_seen(seen, form or "jsonl", output, base_url)
            told = tally.things > 0
    click.echo(tally.summary(), err=True)
    return 0 if told and not tally.failed else 1


def is_index(path: str) -> bool:
    """Return whether a path is that of an index."""
    from index.contents import CATALOGUE

    return (Path(path) / CATALOGUE).is_file()


def _check_usage(
    sources: tuple[str, ...], indexes: list[str], form: str | None, output: Path | None, where: str | None, counts: bool
) -> None:
    """Raise `click.UsageError` for what does not go together."""
    if indexes and len(sources) > 1:
        raise click.UsageError("name one INDEX, or SOURCEs that are none")
    if indexes and (output is not None or form not in (None, *FORMATS)):
        raise click.UsageError("what an INDEX holds is written by `calque detect export`; leave -o and --format out")
    if not indexes and where is not None:
        raise click.UsageError("--where asks for what an INDEX knows of its images; SOURCEs are looked at as they are")
    if counts and (output is not None or form not in (None, *FORMATS)):
        raise click.UsageError(f"--counts writes figures on stdout, as {', '.join(FORMATS)}")
    if form == "yolo" and output is None:
        raise click.UsageError("--format yolo writes a file for each image; give a folder with -o")


def _of_detector(
    index: Index, asked: Asked, detector: Detector, only: Collection[int] | None
) -> Iterator[tuple[int, KnownDetection]]:
    """Yield what an index has of what was asked for, with the ids of the images."""
    for image_id, known in index.all_detections():
        for one in known if only is None or image_id in only else ():
            right = one.origin == detector.signature and one.detection.score >= (asked.min_score or 0.0)
            if right and (not asked.phrases or one.detection.label in asked.phrases):
                yield image_id, one


def _drawn(
    images: Iterator[ImageDetections], tally: Tally, detector: Detector, overlays: Path | None
) -> Iterator[SeenImage]:
    """Pass images on as they are written, counted, and drawn where that is wanted."""
    from index.detection_files import SeenImage, overlaid
    from index.detections import KnownDetection
    from index.exports import Sheet

    for item, width, height, found in images:
        tally.things += len(found)
        if overlays is not None and found:
            overlaid(overlays, item.path, item.page, item.name, found)
        sheet = Sheet(item.name, item.page, width, height, item.metadata, str(item.path))
        yield SeenImage(sheet, [KnownDetection(one, detector.signature) for one in found])

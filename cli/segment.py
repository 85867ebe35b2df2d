"""``calque segment``: what lies where on pages, without an index; and how well that agrees with what is known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from cli.exports import base_url_option
from cli.options import allow_private_option, quiet_option, workers_option
from cli.output import FORMATS, one_line, write_json, write_record, write_rows
from cli.progress import Progress
from matcher.registry import SEGMENTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cli.output import Format
    from index.items import SourceFailure
    from index.layouts import PageLayout

__all__ = ["segment"]

_FORMS = ("jsonl", "coco", "alto", "page", "iiif")
_FOLDERS = ("alto", "page")
_COLUMNS = ["class", "true", "found", "ap50", "ap50_95", "pixel_iou"]
_PAGES = {
    "pages": "pages",
    "unscored": "pages not scored",
    "text_only": "pages without pictures",
    "with_false_pictures": "of these with pictures found",
    "share": "share of these",
    "per_page": "pictures found on such a page",
}
_T = TypeVar("_T")


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for what is written, and for a journal, so that an interrupted run goes on; without it, stdout.",
)
@click.option(
    "--model",
    default=SEGMENTER,
    show_default=True,
    metavar="NAME[:PATH]",
    help="What finds the regions: calque's own network; classical (morphology, no learning); onnx:PATH (a YOLO or DETR "
    "model); kraken or kraken:PATH; zones or zones:PATH (ALTO, PAGE or COCO files that are there).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([*_FORMS, *(form for form in FORMATS if form not in _FORMS)]),
    metavar="|".join(_FORMS),
    help="How regions are written; with --evaluate how figures are: table, json, jsonl, csv.  "
    "[default: jsonl; with --evaluate table]",
)
@click.option("--crops", is_flag=True, help="Cut every picture out into FOLDER/crops, with a crops.csv of them.")
@click.option("--overlay", is_flag=True, help="Draw every page with its regions into FOLDER/overlays.")
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    metavar="S",
    help="Leave out regions that are less sure, 0 to 1; average precision takes them all the same, to rank them.  "
    "[default: what suits the model]",
)
@workers_option
@click.option(
    "--evaluate",
    "truth",
    type=click.Path(path_type=Path),
    metavar="TRUTH",
    help="Measure against COCO, PAGE or ALTO, a file or a folder, or a list of pages (docs/layout.md); without any "
    "SOURCE, on the images that it names.",
)
@click.option("--part", metavar="NAME", help="Only pages of this part of a list of pages, such as dev or test.")
@allow_private_option
@base_url_option
@quiet_option
def segment(
    sources: tuple[str, ...],
    output: Path | None,
    model: str,
    form: str | None,
    crops: bool,
    overlay: bool,
    min_score: float | None,
    workers: int | None,
    truth: Path | None,
    part: str | None,
    allow_private: bool,
    base_url: str,
    quiet: bool,
) -> int:
    """Find illustrations, ornaments, initials and text on the pages of each SOURCE.

    SOURCE is whatever `calque add` takes. For each page: its regions, each with its kind, box, outline and how sure it
    is. With -o, what has been done of files that have not changed is not done again: after an interruption, run the
    same command again. What cannot be read is listed on stderr.

    With --evaluate: average precision of each kind of picture (boxes of IoU 0.5, and the mean of 0.5 to 0.95),
    intersection over union of the pixels of each class, and how many pages without pictures some are found on.

    Exit status: 0 done, 1 some inputs failed (the others are done), 2 wrong usage or failure.

    \b
    Examples:
      calque segment scans/ > regions.jsonl
      calque segment scans/ -o found/ --format coco --crops --overlay
      calque segment volume/mets.xml -o found/ --format page --model onnx:detector.onnx
      calque segment --evaluate truth.json --part test
      calque segment scans/ --model zones:alto/ --format coco > regions.json
    """
    _check_usage(sources, output, form, crops or overlay, truth, part)
    from contextlib import ExitStack

    from index.fetching import Fetcher
    from index.layout_evaluation import evaluate
    from index.layout_files import Drawings, tabled
    from index.layout_journal import LayoutJournal
    from index.layout_truth import images_of, read_layout_truth
    from index.layouts import is_worth_keeping, score_of, signature_of, surest
    from index.layouts import segment as segment_sources

    known = [] if truth is None else read_layout_truth(truth, part)
    signature = signature_of(model)
    least = score_of(model) if min_score is None else min_score
    with ExitStack() as stack:
        tally = _Tally(stack.enter_context(Progress("pages", quiet=quiet)), least)
        images = sources or [str(image) for image in tally.passed(images_of(known))]
        journal = None
        if output is not None and is_worth_keeping(model):
            journal = stack.enter_context(LayoutJournal(output, signature))
        drawings = None if output is None or not (overlay or crops) else Drawings(output, overlay, crops, least)
        found = segment_sources(
            images,
            model,
            journal=journal,
            drawings=drawings,
            workers=workers,
            fetcher=Fetcher(allow_private=allow_private),
            progress=tally.progress.update,
        )
        pages = tally.passed(found)
        if truth is not None:
            figures = evaluate(tally.counted(pages), known, tally.fail, least)
            _write_figures({"model": signature, "min_score": least, **figures}, cast("Format", form or "table"))
        else:
            pages = tally.counted(page._replace(layout=surest(page.layout, least)) for page in pages)
            pages = tabled(output / "crops", pages) if crops and output is not None else pages
            _write_layouts(pages, form or "jsonl", output, base_url)
    click.echo(tally.summary(), err=True)
    return 1 if tally.failed or not tally.pages else 0


def _check_usage(
    sources: tuple[str, ...], output: Path | None, form: str | None, drawn: bool, truth: Path | None, part: str | None
) -> None:
    """Raise `click.UsageError` for what does not go together."""
    if truth is None:
        if not sources:
            raise click.UsageError("name a SOURCE, or give --evaluate with a truth that names images")
        if part is not None:
            raise click.UsageError("--part is a part of the truth that --evaluate gives")
        if form is not None and form not in _FORMS:
            raise click.UsageError(f"--format {form} is for figures; regions are written as {', '.join(_FORMS)}")
        if output is None and form in _FOLDERS:
            raise click.UsageError(f"--format {form} writes a file for each page; give a folder with -o")
    elif form is not None and form not in FORMATS:
        raise click.UsageError(f"--format {form} is for regions; figures are written as {', '.join(FORMATS)}")
    if truth is not None and drawn:
        raise click.UsageError("--crops and --overlay draw regions, --evaluate measures them; run it once for each")
    if output is None and drawn:
        raise click.UsageError("--crops and --overlay draw into a folder; give one with -o")


class _Tally:
    """Counts what goes by, of regions those that are sure enough, and tells failures on stderr."""

    def __init__(self, progress: Progress, min_score: float) -> None:
        self.progress = progress
        self._min_score = min_score
        self.pages = self.failed = 0
        self.regions: Counter[str] = Counter()

    def fail(self, failure: SourceFailure) -> None:
        """Tell a failure."""
        self.failed += 1
        self.progress.message(one_line(f"calque: {failure.name}: {failure.reason}"))

    def passed(self, found: Iterable[_T | SourceFailure]) -> Iterator[_T]:
        """Pass on what is no failure."""
        from index.items import SourceFailure

        for item in found:
            if isinstance(item, SourceFailure):
                self.fail(item)
            else:
                yield item

    def counted(self, pages: Iterable[PageLayout]) -> Iterator[PageLayout]:
        """Pass on pages, and count them."""
        for page in pages:
            self.pages += 1
            self.regions.update(region.kind for region in page.layout.regions if region.score >= self._min_score)
            yield page

    def summary(self) -> str:
        """Return what was found."""
        regions = ", ".join(f"{kind} {count}" for kind, count in sorted(self.regions.items())) or "no regions"
        return f"calque: {self.pages} pages: {regions}; {self.failed} failed"


def _write_layouts(pages: Iterator[PageLayout], form: str, output: Path | None, base_url: str) -> None:
    """Write layouts into a folder, or on stdout."""
    from index.layout_files import document, plain_page, write_layouts

    if output is not None:
        click.echo(f"calque: regions in {write_layouts(output, form, pages, base_url)}", err=True)
    elif form == "jsonl":
        for page in pages:
            write_json(plain_page(page), line=True)
    else:
        write_json(document(form, pages, base_url))


def _write_figures(figures: dict[str, Any], form: Format) -> None:
    """Write all figures as JSON; as CSV those of each class; as a table both these and those of pages."""
    if form in ("json", "jsonl"):
        write_json(figures, line=form == "jsonl")
        return
    names = [name for name in figures["classes"] if name not in figures["pixel_iou"]]
    rows = [
        {"class": name, **figures["classes"].get(name, {}), "pixel_iou": figures["pixel_iou"].get(name)}
        for name in [*figures["pixel_iou"], *names]
    ]
    if form == "table":
        told = {"pages": figures["pages"], "unscored": figures["unscored"], **figures["text_only"]}
        write_record({title: told[name] for name, title in _PAGES.items()}, form)
        click.echo()
    write_rows(rows, _COLUMNS, form)

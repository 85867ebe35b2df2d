"""``calque similar``: what looks like a picture, or like what words or a colour say, on the images of an index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import device_option, format_option, index_argument, region_option, where_option
from cli.output import write_json, write_rows
from cli.search_things import asked_of_things

if TYPE_CHECKING:
    from cli.output import Format
    from index.similar import Example, Likeness, Wanted

__all__ = ["COLUMNS", "alike_rows", "similar"]

COLUMNS = ["rank", "image", "page", "region", "kind", "likeness"]
_FRAGMENT = re.compile(r"(.*)#xywh=([\d.]+,[\d.]+,[\d.]+,[\d.]+)", re.DOTALL)
_COLOUR = re.compile(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")


class _ColourType(click.ParamType):
    """A colour as the web writes it."""

    name = "colour"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return red, green and blue, 0 to 255."""
        found = _COLOUR.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no colour; give red, green and blue as in #a03020", param, ctx)
        return tuple(int(part, 16) for part in found.groups())


class _ExampleType(click.ParamType):
    """A picture, ``IMAGE`` or ``IMAGE#xywh=X,Y,WIDTH,HEIGHT``."""

    name = "example"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, and the region if one is named."""
        from matcher.types import Region

        found = _FRAGMENT.fullmatch(str(value))
        if found is None:
            return Path(value), None
        try:
            return Path(found[1]), Region(*map(float, found[2].split(",")))
        except ValueError:
            self.fail(f"{value!r} frames nothing; give IMAGE#xywh=X,Y,WIDTH,HEIGHT in pixels", param, ctx)


@click.command()
@index_argument
@click.argument("images", nargs=-1, type=click.Path(path_type=Path), metavar="[IMAGE...]")
@click.option("--page", type=click.IntRange(min=0), default=0, metavar="N", help="Page of IMAGE, from 0.")
@region_option
@click.option("--model", metavar="NAME", help="By which model; by default the only one that INDEX was embedded with.")
@click.option(
    "--positive",
    multiple=True,
    type=_ExampleType(),
    metavar="IMAGE[#xywh=X,Y,W,H]",
    help="Another picture that it is like, or a part of one; a file, or a name of an image in INDEX. Repeatable.",
)
@click.option(
    "--negative",
    multiple=True,
    type=_ExampleType(),
    metavar="IMAGE[#xywh=X,Y,W,H]",
    help="A picture that is not meant. Repeatable.",
)
@click.option("--text", multiple=True, metavar="WORDS", help="What is to be seen, for models that see words.")
@click.option(
    "--language",
    default="en",
    show_default=True,
    metavar="en|fr|de|it|es|none",
    help="Language of the lines that WORDS are put into; most models know English best. none: as they are.",
)
@click.option(
    "--colour", multiple=True, type=_ColourType(), metavar="#RRGGBB", help="A colour, for palette. Repeatable."
)
@click.option(
    "--detect", metavar="LABEL", help="Only the surest thing of this kind that is seen on IMAGE, such as person."
)
@click.option("--phrase", metavar="TEXT", help="Only the surest thing on IMAGE that this says, such as 'the dog'.")
@click.option(
    "--detector", metavar="NAME[:PATH]", help="What looks for it: see --model of calque detect.  [default: as there]"
)
@where_option
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Answers.")
@click.option(
    "--among",
    type=click.Choice(("all", "images", "regions")),
    default="all",
    show_default=True,
    help="Answer whole images, regions (embedded with --regions), or both.",
)
@click.option(
    "--one-per-document", is_flag=True, help="Only the best of each file with several pages, or else of each folder."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for a similar.html with the pictures.",
)
@device_option
@format_option
def similar(
    index: Path,
    images: tuple[Path, ...],
    page: int,
    region: Any,
    model: str | None,
    positive: tuple[tuple[Path, Any], ...],
    negative: tuple[tuple[Path, Any], ...],
    text: tuple[str, ...],
    language: str,
    colour: tuple[tuple[int, int, int], ...],
    detect: str | None,
    phrase: str | None,
    detector: str | None,
    where: str | None,
    top: int,
    among: Any,
    one_per_document: bool,
    output: Path | None,
    form: Format,
) -> int:
    """Find what looks like IMAGE on the images of INDEX, by the vectors that calque embed has made.

    This is likeness, not identity: the same kind of thing, drawn alike or in the same colours, nearest first. Whether
    it is the same picture is for calque search to say. Several IMAGEs together ask for what they have in common. Name
    answers that are right and wrong by --positive and --negative, and ask again: from 25 on, a classifier is trained.

    Likeness is the cosine between vectors, 1 for equal ones; it can be compared within one answer only. Exit status: 0
    something was found, 1 nothing, 2 wrong usage or failure.

    \b
    Examples:
      calque similar scans.calque scans/p12.jpg --region 310,420,500,640 --model structure
      calque similar scans.calque a.jpg b.jpg --negative scans/p90.jpg#xywh=10,10,300,200 -o alike/
      calque similar scans.calque --model clip --text "a ship in a storm" --where "date<1700"
      calque similar scans.calque p12.jpg --detect horse --among regions
      calque similar scans.calque --model palette --colour "#a03020" --one-per-document
    """
    if not (images or positive or text or colour):
        raise click.UsageError("give an IMAGE, or --positive, --text or --colour")
    if region is not None and len(images) != 1:
        raise click.UsageError("--region is of one IMAGE; name parts of others by --positive IMAGE#xywh=X,Y,W,H")
    thing = detect is not None or phrase is not None
    if thing and (region is not None or len(images) != 1):
        raise click.UsageError("--detect and --phrase choose a part of one IMAGE; leave --region out")
    if detector is not None and not thing:
        raise click.UsageError("--detector looks for what --detect or --phrase says; give one of them")
    from index.similar import Example, Wanted, likeness_as_dict
    from index.similar import similar as find_similar
    from index.store import Index

    with Index.open(index) as opened:
        if thing:
            asked = asked_of_things(opened, images[0], page, detect, [phrase] if phrase else [], detector, None, None)
            if not asked:
                return 1
            region = asked[0].region
        wanted = Wanted(
            right=(*(Example(image, region, page) for image in images), *(Example(*one) for one in positive)),
            wrong=tuple(Example(*one) for one in negative),
            texts=text,
            language=language,
            colours=colour,
        )
        only = None if where is None else opened.select(where)
        found = find_similar(
            opened, wanted, model=model, top=top, only=only, among=among, one_per_document=one_per_document
        )
        if output is not None:
            _report(opened, wanted, found, output)
    click.echo(f"calque: alike by {found.model}, not the same: calque search says what is", err=True)
    if form == "json":
        write_json({"asked": _asked(wanted), **likeness_as_dict(found)})
    elif found.alike or form == "csv":
        write_rows(alike_rows(found, form), COLUMNS if form == "table" else [*COLUMNS, "path"], form)
    return 0 if found.alike else 1


def alike_rows(found: Likeness, form: str) -> list[dict[str, Any]]:
    """Return answers as rows; in a table, boxes are of whole pixels."""
    from index.similar import likeness_as_dict

    rows: list[dict[str, Any]] = likeness_as_dict(found)["alike"]
    if form == "table":
        for row in rows:
            row["region"] = row["region"] and [round(edge) for edge in row["region"]]
    return rows


def _asked(wanted: Wanted) -> dict[str, Any]:
    def plain(example: Example) -> dict[str, Any]:
        box = None if example.region is None else example.region.as_list()
        return {"image": str(example.image), "page": example.page, "region": box}

    return {
        "positive": [plain(example) for example in wanted.right],
        "negative": [plain(example) for example in wanted.wrong],
        "texts": list(wanted.texts),
        "colours": [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in wanted.colours],
    }


def _report(index: Any, wanted: Wanted, found: Likeness, output: Path) -> None:
    from cli.report_similar import write_report

    click.echo(f"calque: report in {write_report(output, index, wanted, found)}", err=True)

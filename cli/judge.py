"""``calque judge``: what a person says of pairs of pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from cli.options import REGION, format_option, index_argument
from cli.output import one_line, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.output import Format
    from index.annotations import Judgement, Verdict
    from matcher.types import Region

__all__ = ["judge"]

_VERDICTS = ("same", "different", "unsure")
_COLUMNS = [
    *("id", "verdict", "image_a", "page_a", "region_a", "image_b", "page_b", "region_b"),
    *("note", "author", "time", "stands"),
]


@click.command()
@index_argument
@click.argument("a", required=False)
@click.argument("b", required=False)
@click.argument("verdict", type=click.Choice(_VERDICTS), required=False, metavar="[same|different|unsure]")
@click.option("--page-a", type=click.IntRange(min=0), default=0, metavar="N", help="Page of A, from 0.")
@click.option("--page-b", type=click.IntRange(min=0), default=0, metavar="N", help="Page of B, from 0.")
@click.option("--region-a", type=REGION, metavar="X,Y,W,H", help="The part of A that is judged; all of it by default.")
@click.option("--region-b", type=REGION, metavar="X,Y,W,H", help="The part of B that is judged; all of it by default.")
@click.option("--note", default="", metavar="TEXT", help="Why.")
@click.option("--author", default="", metavar="NAME", help="Who says so; also of imported decisions that do not say.")
@click.option(
    "--import", "imported", type=click.Path(path_type=Path), metavar="FILE", help="Store a file of decisions."
)
@click.option("--list", "listed", is_flag=True, help="List all judgements, and which of them stand.")
@click.option(
    "--export",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what stands as ground truth, JSON, for calque evaluate and other programs.",
)
@click.option("--remove", type=int, multiple=True, metavar="ID", help="Forget a judgement; may be given several times.")
@format_option
def judge(
    index: Path,
    a: str | None,
    b: str | None,
    verdict: str | None,
    page_a: int,
    page_b: int,
    region_a: Region | None,
    region_b: Region | None,
    note: str,
    author: str,
    imported: Path | None,
    listed: bool,
    export: Path | None,
    remove: tuple[int, ...],
    form: Format,
) -> int:
    """Say that pictures A and B are the same, different or unsure, and keep it in INDEX.

    A picture is an image of the index, by its name there or its path, or any other image file, by its path; or the
    part of it inside --region-a and --region-b. Groups join what is judged the same and keep apart what is judged
    different; calque evaluate measures a search by it. The last judgement of a pair stands, earlier ones are kept.

    --import takes what the report of a search saves: JSON Lines such as {"image_a": "photo.jpg", "region_a": null,
    "image_b": "scans/p12.jpg", "page_b": 0, "region_b": [310, 420, 500, 640], "verdict": "same"}. Lines that are
    stored already are passed over. Exit status: 0 done, 1 nothing to list or some ids unknown, 2 wrong usage or
    failure.

    \b
    Examples:
      calque judge scans.calque scans/p12.jpg scans/p90.jpg same --region-a 310,420,500,640 --region-b 55,60,480,610
      calque judge scans.calque --import decisions.jsonl --author "M. Dupont"
      calque judge scans.calque --list --format jsonl > decisions.jsonl
      calque judge scans.calque --export truth.json
      calque judge scans.calque --remove 12
    """
    from index.annotations import Judgement

    pair = (a, b, verdict)
    asked = [pair != (None, None, None), imported is not None, listed, export is not None, bool(remove)]
    if sum(asked) != 1 or (asked[0] and None in pair):
        raise click.UsageError("give A, B and a verdict, or one of --import, --list, --export, --remove")
    if imported is not None:
        return _import(index, imported, author)
    if listed:
        return _list(index, form)
    if export is not None:
        return _export(index, export)
    if remove:
        return _remove(index, remove)
    judgement = Judgement(str(a), page_a, region_a, str(b), page_b, region_b, cast("Verdict", verdict), note, author)
    return _store(index, [judgement], checked=True)


def _store(path: Path, judgements: Sequence[Judgement], *, checked: bool) -> int:
    """Store judgements under the names that the index has for their images; `checked`: refuse names of nothing."""
    from index.judgements import named_as_indexed, sides
    from index.store import Index
    from matcher.errors import InputError

    with Index.open(path, writable=True) as opened:
        stored = {replace(judgement, id=0) for judgement in opened.judgements()}
        named = [judgement for judgement in named_as_indexed(opened, judgements) if judgement not in stored]
        if checked:
            names = {record.name for record in opened.images()}
            for side in (side for judgement in named for side in sides(judgement)):
                if side.name not in names and not Path(side.name).is_file():
                    raise InputError(f"{side.name}: no image of {path} and no file; see calque info {path} --images")
        opened.add_judgements(named)
    passed = f", {len(judgements) - len(named)} stored already" if len(named) < len(judgements) else ""
    click.echo(f"calque: {len(named)} judgements stored{passed}", err=True)
    return 0


def _import(path: Path, file: Path, author: str) -> int:
    from index.judgements import read_decisions

    decisions = read_decisions(file)
    return _store(path, [replace(item, author=item.author or author) for item in decisions], checked=False)


def _list(path: Path, form: Format) -> int:
    from index.judgements import judgement_as_dict, standing
    from index.store import Index

    with Index.open(path) as opened:
        judgements = opened.judgements()
    stands = {judgement.id for judgement in standing(judgements)}
    rows = [{**judgement_as_dict(item), "stands": item.id in stands} for item in judgements]
    if rows or form != "table":
        write_rows(rows, _COLUMNS, form)
    return 0 if rows else 1


def _export(path: Path, file: Path) -> int:
    from index.durable import replacing
    from index.exports import make_folder
    from index.store import Index
    from index.truth import judged_truth

    with Index.open(path) as opened:
        truth = judged_truth(opened)
    make_folder(file.absolute().parent)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(truth, indent=1) + "\n", encoding="ascii")
    return 0


def _remove(path: Path, ids: Sequence[int]) -> int:
    from index.store import Index

    with Index.open(path, writable=True) as opened:
        known = {judgement.id for judgement in opened.judgements()}
        opened.remove_judgements(number for number in ids if number in known)
    unknown = [number for number in ids if number not in known]
    for number in unknown:
        click.echo(one_line(f"calque: no judgement {number} in {path}; see calque judge {path} --list"), err=True)
    return 1 if unknown else 0

"""``calque search``: one picture or a batch of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from cli.exports import DOCUMENTS, export_options, exported, write_document
from cli.options import (
    device_option,
    format_option_of,
    index_argument,
    matcher_option,
    quiet_option,
    region_option,
    require_one_place,
    scheduler_option,
    threads_option,
    where_option,
)
from cli.output import FORMATS, one_line, write_json, write_rows
from cli.progress import Progress
from cli.search_also import also_option, asker_of, write_alike
from cli.search_things import asked_at, asked_of_things, list_things, thing_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cli.output import Format
    from index.answers import Answer, Query
    from index.store import Index
    from matcher.types import Region

__all__ = ["read_queries", "search"]

_QUERY_KEYS = {"id", "image", "region", "page"}
_COLUMNS = ["rank", "image", "page", "region", "relation", "rotation", "inliers", "false_alarms", "score", "zone"]


@click.command()
@index_argument
@click.argument("image", type=click.Path(path_type=Path), required=False)
@click.option(
    "--page", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Page of IMAGE, from 0."
)
@region_option
@click.option(
    "--each-region",
    is_flag=True,
    help="Ask for each picture on IMAGE by itself: those that INDEX knows of the page, else those found on it.",
)
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="At most this many hits a query; all by default.")
@click.option(
    "--max-false-alarms",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="F",
    help="Leave out hits less sure than this: chance alone would give that many in one search. 1e-3 is safe.",
)
@click.option(
    "--relations",
    default="all",
    show_default=True,
    metavar="LIST",
    help="How the picture may reappear, such as same,mirrored; out of same, mirrored, inverted, mirrored+inverted.",
)
@click.option(
    "--queries",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='Many queries, one a line: {"id": "q1", "image": "a.jpg", "region": [x, y, w, h] or null, "page": 0}.',
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for a report.html with every hit drawn beside its query.",
)
@threads_option
@device_option
@scheduler_option
@where_option
@click.option(
    "--furniture",
    is_flag=True,
    help="Find whole pages by what is on every scan of a volume, too: bindings, rulers, stamps, running titles.",
)
@also_option
@thing_options
@matcher_option("--rematch", words="Look again at what is not found, with a network that sees query and image at once")
@click.option(
    "--rematch-top",
    "rematched",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="At so many images for each relation, those with most votes; each takes a second or so.",
)
@click.option(
    "--rematch-like",
    metavar="MODEL",
    help="And at as many that look like it by vectors of this model (calque embed): redrawn copies get few votes.",
)
@export_options
@format_option_of((*FORMATS, *DOCUMENTS))
@quiet_option
def search(
    index: Path,
    image: Path | None,
    page: int,
    region: Region | None,
    each_region: bool,
    top: int | None,
    max_false_alarms: float,
    relations: str,
    queries: Path | None,
    output: Path | None,
    threads: int | None,
    scheduler: str | None,
    where: str | None,
    furniture: bool,
    also: str | None,
    detect: str | None,
    phrases: tuple[str, ...],
    model: str | None,
    min_score: float | None,
    outliner: str | None,
    point: tuple[float, float] | None,
    rematch: str | None,
    rematched: int,
    rematch_like: str | None,
    crops: Path | None,
    alto: Path | None,
    page_xml: Path | None,
    base_url: str,
    form: str,
    quiet: bool,
) -> int:
    """Find IMAGE, or what is inside its --region, on the images of INDEX.

    With --queries a whole batch: image paths are taken from the current folder, else from the folder of the
    queries file. A query that cannot be used is answered with its error and holds up no other.

    In an index that knows the layout of its pages (`calque add --layout`), hits name the picture they lie on, and a
    whole page is asked for by its pictures, not by its type. With --each-region every picture has an answer of its own.

    With --detect or --phrase every such thing that is seen on IMAGE is asked for, inside its outline where that is
    known. With --where alone, without IMAGE, what `calque detect` has found on the images of INDEX is listed.
    With --rematch, images that the index does not find are read and looked at by a network, which finds redrawn
    outlines and pictures painted over that share no detail. It takes a second an image: name the --relations.

    With --also similar, what is like the query but was not found to be the same comes after that, in a table of its
    own; as JSON under "similar". It does not change the exit status.

    Hits are sorted by decreasing score; several may lie on one image. Exit status: 0 something was found,
    1 nothing was found or some queries failed, 2 wrong usage or failure.

    \b
    Examples:
      calque search scans.calque photo.jpg
      calque search scans.calque p12.jpg --region 310,420,500,640 -o proof/
      calque search scans.calque p12.jpg --each-region --format jsonl
      calque search scans.calque photo.jpg --max-false-alarms 1e-6 --format json
      calque search scans.calque --queries photos.jsonl --format jsonl > answers.jsonl
      calque search scans.calque --queries photos.jsonl --scheduler tcp://host:8786 --format jsonl > answers.jsonl
      calque search scans.calque photo.jpg --where "date<1920"
      calque search scans.calque photo.jpg --format iiif > manifest.json
      calque search scans.calque photo.jpg --also similar:structure
      calque search scans.calque photo.jpg --detect person
      calque search scans.calque photo.jpg --click 310,420
      calque search scans.calque --where "object=umbrella and score>0.6" --crops umbrellas/
      calque search scans.calque photo.jpg --rematch lighterglue --relations same
    """
    require_one_place(scheduler, "--threads", threads)
    from index.answers import Query
    from index.cluster import connected
    from index.exports import findings
    from index.regions import each_region as pictures_on
    from index.store import Index

    things = detect is not None or bool(phrases)
    if image is None and queries is None and where is not None and not things:
        if output is not None or alto is not None or page_xml is not None:
            raise click.UsageError("things are listed on stdout, and cut out with --crops; leave the other folders out")
        return list_things(index, where, crops, form, base_url)
    if (image is None) == (queries is None):
        raise click.UsageError("give either an IMAGE or --queries FILE; or --where alone to list things")
    if things and (queries is not None or region is not None or each_region):
        raise click.UsageError("--detect and --phrase ask for things on IMAGE; leave --queries and regions out")
    if point is not None and (things or region is not None):
        raise click.UsageError("--click says where the thing is; leave --region, --detect and --phrase out")
    if (point is not None or outliner is not None) and (queries is not None or each_region):
        raise click.UsageError(
            "--click and --outline ask for one thing on IMAGE; leave --queries and --each-region out"
        )
    if outliner is not None and not things and point is None and region is None:
        raise click.UsageError("--outline draws around a thing; say which: --region, --click, --detect or --phrase")
    if not things and (model is not None or min_score is not None):
        raise click.UsageError("--model and --min-score are of --detect and --phrase; give one of them")
    if queries is not None and (region is not None or page or each_region):
        raise click.UsageError("with --queries, every line has its own region and page")
    if each_region and region is not None:
        raise click.UsageError("--each-region asks for all pictures on IMAGE; leave --region out")
    if also is not None and form not in ("table", "json", "jsonl"):
        raise click.UsageError("--also similar tells two things at once; give --format table, json or jsonl")
    if rematch_like is not None and rematch is None:
        raise click.UsageError("--rematch-like says at what --rematch looks; give that, too")
    asked: list[Query | Answer] = [] if queries is None else list(read_queries(queries))
    if image is not None:
        asked = [Query(str(image), image, region, page)]
    batch = queries is not None or each_region or things
    options: dict[str, Any] = {
        "top": top,
        "max_false_alarms": max_false_alarms,
        "relations": _relations(relations),
        "threads": threads,
        "furniture": furniture,
        "rematch": rematch,
        "rematched": rematched,
        "rematch_like": rematch_like,
    }
    with Index.open(index) as opened, connected(scheduler) as options["cluster"]:
        if image is not None and each_region:
            asked = list(pictures_on(opened, image, page))
            if not asked:
                click.echo(one_line(f"calque: {image}: no pictures on it; ask for all of it"), err=True)
        if image is not None and things:
            asked = list(asked_of_things(opened, image, page, detect, phrases, model, min_score, outliner))
        elif image is not None and (point is not None or outliner is not None):
            asked = list(asked_at(image, page, region, point, outliner))
        if opened.caveat:
            click.echo(f"calque: {opened.caveat}", err=True)
        if where is not None:
            options["only"] = opened.select(where)
        with Progress("queries", total=len(asked), quiet=quiet or not batch) as progress:
            watched = _watched(_answers(opened, asked, options), progress, batch=batch)
            given = exported(_reported(watched, output), opened, crops, alto, page_xml)
            if form not in DOCUMENTS:
                alike = None if also is None else asker_of(opened, also)
                return _write(given, cast("Format", form), alike, batch=batch)
            answers = list(given)
            write_document(form, findings(opened, answers), base_url)
            return _status(any(answer.hits for answer in answers), any(answer.error for answer in answers))


def read_queries(path: Path) -> Iterator[Query | Answer]:
    """Read a queries file.

    Parameters
    ----------
    path : Path
        JSON Lines; blank lines are passed over.

    Yields
    ------
    Query or Answer
        What each line asks for, or, for a line that cannot be used, the answer that says why.

    Raises
    ------
    InputError
        If the file itself cannot be read.
    """
    from index.answers import Answer
    from matcher.errors import InputError

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the queries cannot be read ({error}); give a file of JSON lines in UTF-8") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        values: Any = None
        try:
            values = _parsed(line)
            yield _query(values, number, path.parent)
        except (ValueError, TypeError) as error:
            known = values if isinstance(values, dict) else {}
            name, image = str(known.get("id", number)), Path(str(known.get("image", "")))
            reason = f"{path}, line {number}: {error}"
            yield Answer(id=name, image=image, region=None, seconds=0.0, hits=(), error=reason)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f'no JSON ({error}); a query looks like {{"image": "a.jpg"}}') from error


def _query(values: Any, number: int, folder: Path) -> Query:
    from index.answers import Query
    from matcher.types import Region

    if not isinstance(values, dict) or not isinstance(values.get("image"), str):
        raise ValueError('a query is an object with at least an "image", such as {"image": "a.jpg"}')
    if unknown := sorted(set(values) - _QUERY_KEYS):
        raise ValueError(f"unknown key {unknown[0]!r}; a query has {', '.join(sorted(_QUERY_KEYS))}")
    image = Path(values["image"])
    if not image.exists() and (folder / image).exists():
        image = folder / image
    box, page = values.get("region"), values.get("page", 0)
    if box is not None and (not isinstance(box, list) or len(box) != 4):
        raise ValueError(f"region {box!r} is no [x, y, width, height]")
    if isinstance(page, bool) or not isinstance(page, int) or page < 0:
        raise ValueError(f"page {page!r} is no page number, counted from 0")
    region = None if box is None else Region(*(float(number) for number in box))
    return Query(str(values.get("id", number)), image, region, page)


def _relations(text: str) -> tuple[str, ...]:
    from matcher.types import Relation

    known = get_args(Relation)
    wanted = known if text == "all" else tuple(part.strip() for part in text.split(","))
    for name in wanted:
        if name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--relations")
    return wanted


def _answers(index: Index, asked: list[Query | Answer], options: dict[str, Any]) -> Iterator[Answer]:
    """Answer the queries in their order; those that came with an answer (an error) keep it."""
    from index.answers import Answer
    from index.search import search

    found = search(index, [item for item in asked if not isinstance(item, Answer)], **options)
    for item in asked:
        yield item if isinstance(item, Answer) else next(found)


def _watched(answers: Iterable[Answer], progress: Progress, *, batch: bool) -> Iterator[Answer]:
    """Pass answers on; tell progress and failures on stderr. A single query's failure ends the command."""
    from matcher.errors import InputError

    for done, answer in enumerate(answers, start=1):
        if answer.error is not None:
            if not batch:
                raise InputError(answer.error)
            progress.message(one_line(f"calque: query {answer.id}: {answer.error}"))
        yield answer
        progress.update(done)


def _reported(answers: Iterable[Answer], output: Path | None) -> Iterator[Answer]:
    """Pass answers on, and draw them into the report if there is to be one."""
    if output is None:
        yield from answers
        return
    from cli.report import ReportWriter

    writer = ReportWriter(output)
    try:
        for answer in answers:
            writer.add(answer)
            yield answer
    finally:
        click.echo(f"calque: report in {writer.close()}", err=True)


def _write(
    answers: Iterable[Answer], form: Format, alike: Callable[[Answer], dict[str, Any]] | None, *, batch: bool
) -> int:
    """Write the answers, with what is `alike` if that is asked for, return the exit status."""
    from index.answers import answer_as_dict

    found = failed = False
    plain: list[dict[str, Any]] = []
    for answer in answers:
        found |= bool(answer.hits)
        failed |= answer.error is not None
        values = answer_as_dict(answer)
        if alike is not None:
            values["similar"] = alike(answer)
        if form == "jsonl":
            write_json(values, line=True)
        else:
            plain.append(values)
    if form == "json":
        write_json(plain if batch else plain[0])
    elif form != "jsonl":
        rows = [{"query": values["id"], **hit} for values in plain for hit in values["hits"]]
        rows = [{**row, "zone": row["zone"] and f"{row['zone']['kind']} {row['zone']['id']}"} for row in rows]
        if form == "table":
            rows = [{**row, "region": [round(edge) for edge in row["region"]]} for row in rows]
        if rows or form == "csv":
            write_rows(rows, ["query", *_COLUMNS] if batch or form == "csv" else _COLUMNS, form)
        for values in plain if alike is not None else ():
            write_alike(values["id"], values["similar"])
    return _status(found, failed)


def _status(found: bool, failed: bool) -> int:
    if not found and not failed:
        click.echo("calque: nothing found", err=True)
    return 0 if found and not failed else 1

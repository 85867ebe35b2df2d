"""``calque demo``: the whole job on real images, offline, judged against what is known to be there."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import write_rows
from cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.demo_pages import Page
    from cli.demo_truth import Expected, Finding
    from index.answers import Query
    from index.store import Index
    from matcher.types import Region

__all__ = ["demo"]

_MAX_FALSE_ALARMS = 1e-3
_COLUMNS = ["query", "page", "printed as", "placed at", "found as", "found at", "overlap", "false alarms", "verdict"]


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("calque-demo"),
    show_default=True,
    metavar="FOLDER",
    help="Folder for report.html.",
)
@click.option("--keep", is_flag=True, help="Keep the scans, the photographs and the index there, too.")
def demo(output: Path, keep: bool) -> int:
    """Make a small collection, index it, search it, and judge the answers.

    Thirty-two pages of a newspaper, a magazine and a book are set in type around photographs, printed (cropped,
    screened, mirrored, as negatives) and scanned (skew, bleed-through, noise, JPEG). The photographs are then looked
    for with the very code of `calque add` and `calque search`, and what is found is held against what was placed.
    Needs neither network nor data; takes less than a minute.

    Exit status: 0 every picture was found and nothing else, 1 not so, 2 failure.

    \b
    Examples:
      calque demo
      calque demo -o /tmp/demo --keep
    """
    from cli.demo_pages import build_pages

    output.mkdir(parents=True, exist_ok=True)
    with nullcontext(str(output)) if keep else tempfile.TemporaryDirectory(prefix="calque-demo-") as folder:
        work = Path(folder).resolve()
        pages = []
        with Progress("pages made", total=32) as progress:
            for page in build_pages():
                _write_scan(work / "scans", page)
                pages.append(page)
                progress.update(len(pages))
        queries = list(_queries(work, pages))
        with _filled(work) as index:
            findings = _searched(index, queries, work / "scans", output)
    write_rows([_row(query, finding) for query, finding in findings], _COLUMNS, "table")
    return _concluded(findings)


def _write_scan(folder: Path, page: Page) -> None:
    from cli.demo_print import jpeg

    path = folder / page.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(page.pixels, page.quality))


def _queries(work: Path, pages: list[Page]) -> Iterator[tuple[Query, list[Expected]]]:
    """Write the photographs; yield what is asked and what should be answered."""
    from cli.demo_pages import photograph
    from cli.demo_print import jpeg
    from cli.demo_truth import ASKED, CUT, NOWHERE, expected_for_photograph, expected_for_region
    from index.answers import Query

    folder = work / "photographs"
    folder.mkdir(exist_ok=True)
    for name in (*ASKED, *NOWHERE):
        path = folder / f"{name}.jpg"
        path.write_bytes(jpeg(photograph(name), 90))
        yield Query(name, path, None), expected_for_photograph(pages, name)
    page, picture = CUT
    region, expected = expected_for_region(pages, page, picture)
    yield Query(f"{picture}, cut from {page}", work / "scans" / page, region), expected


def _filled(work: Path) -> Index:
    from index.store import Index

    path = work / "demo.calque"
    index = Index.open(path, writable=True) if path.exists() else Index.create(path)
    try:
        with Progress("images added") as progress:
            index.add([work / "scans"], progress=lambda done, total, *_: progress.update(done, total))
    except BaseException:
        index.close()
        raise
    return index


def _searched(
    index: Index, queries: list[tuple[Query, list[Expected]]], scans: Path, output: Path
) -> list[tuple[str, Finding | None]]:
    """Ask the queries, write the report; return the findings of each, None where there rightly are none."""
    from cli.demo_truth import judge
    from cli.report import ReportWriter
    from index.search import search
    from matcher.errors import CalqueError

    findings: list[tuple[str, Finding | None]] = []
    writer = ReportWriter(output)
    with Progress("queries", total=len(queries)) as progress:
        answers = search(index, [query for query, _ in queries], max_false_alarms=_MAX_FALSE_ALARMS)
        for done, (answer, (query, expected)) in enumerate(zip(answers, queries, strict=True), start=1):
            if answer.error is not None:
                raise CalqueError(answer.error)
            writer.add(answer)
            judged = judge(
                expected,
                ((Path(hit.path).relative_to(scans).as_posix(), hit.match, hit.false_alarms) for hit in answer.hits),
            )
            findings += [(query.id, finding) for finding in judged] or [(query.id, None)]
            progress.update(done)
    click.echo(f"calque: report in {writer.close()}", err=True)
    return findings


def _row(query: str, finding: Finding | None) -> dict[str, Any]:
    if finding is None:
        return {"query": query, "verdict": "right: it is nowhere"}
    place, match = finding.expected, finding.match
    return {
        "query": query,
        "page": finding.page,
        "printed as": None if place is None else _way(place.relation, place.rotation),
        "placed at": None if place is None else _box(place.region),
        "found as": None if match is None else _way(match.relation, match.rotation),
        "found at": None if match is None else _box(match.region),
        "overlap": None if match is None else round(finding.overlap, 2),
        "false alarms": finding.false_alarms,
        "verdict": finding.verdict,
    }


def _way(relation: str, rotation: float) -> str:
    return f"{relation}, {rotation:+.0f}°" if abs(rotation) > 45 else relation


def _box(region: Region) -> list[int]:
    return [round(edge) for edge in region.as_list()]


def _concluded(findings: list[tuple[str, Finding | None]]) -> int:
    """Say how many answers were right, return the exit status."""
    verdicts = ["right" if finding is None else finding.verdict for _, finding in findings]
    nowhere = sum(finding is None for _, finding in findings)
    click.echo(
        f"calque: {verdicts.count('right') - nowhere} right, {verdicts.count('missed')} missed, "
        f"{verdicts.count('wrong')} wrong; {nowhere} pictures that are nowhere were found nowhere",
        err=True,
    )
    return 1 if {"missed", "wrong"} & set(verdicts) else 0

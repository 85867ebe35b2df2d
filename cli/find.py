"""``calque find``: the images of an index by words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument, where_option
from cli.output import write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output import Format

__all__ = ["find"]

_COLUMNS = ["rank", "score", "id", "image", "page", "told"]


@click.command()
@index_argument
@click.argument("words", nargs=-1, required=True)
@where_option
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="At most so many; all by default.")
@format_option
def find(index: Path, words: tuple[str, ...], where: str | None, top: int | None, form: Format) -> int:
    """Find the images of INDEX that have all WORDS in their name or in what is known of them, captions too.

    Case and accents do not count. A word stands for all that begin with it (ship: shipwreck), those that are it first;
    "words in quotes" stand for themselves, one after the other; -word must not be there (put -- before it). The best
    come first, by how rare the words are and how much else is said (BM25). As JSON each image has its metadata.

    Exit status: 0 found, 1 nothing found, 2 wrong usage or failure.

    \b
    Examples:
      calque find scans.calque ship storm
      calque find scans.calque '"women reading"' --where "date<1920"
      calque find scans.calque --format jsonl -- lace -curtain
    """
    from itertools import islice

    from index.store import Index
    from index.words import find_words

    with Index.open(index) as opened:
        chosen = None if where is None else opened.select(where)
        hits = (hit for hit in find_words(index, " ".join(words)) if chosen is None or hit.image in chosen)
        records = {record.id: record for record in opened.images()}
        rows = [
            {
                "rank": rank,
                "score": round(hit.score, 6),
                "id": hit.image,
                "image": records[hit.image].name,
                "page": records[hit.image].page,
                "told": hit.told,
                "metadata": opened.metadata(hit.image),
            }
            for rank, hit in enumerate(islice((hit for hit in hits if hit.image in records), top), start=1)
        ]
    if rows or form != "table":
        write_rows(rows, _COLUMNS, form)
    return 0 if rows else 1

"""``calque push``: the vectors of an index on a server of vectors, too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from cli.options import format_option, index_argument, quiet_option
from cli.output import write_record
from cli.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output import Format

__all__ = ["push"]


@click.command()
@index_argument
@click.option(
    "--server",
    required=True,
    metavar="URL|FOLDER",
    help="A Qdrant server, such as http://127.0.0.1:6333 (its key, if it asks for one, in CALQUE_QDRANT_KEY), or a "
    "folder for Qdrant's local mode.",
)
@click.option("--model", metavar="NAME", help="Whose vectors.  [default: the only one of which there are vectors]")
@click.option("--collection", metavar="NAME", help="Of the server.  [default: the index's name and the model's]")
@format_option
@quiet_option
def push(index: Path, server: str, model: str | None, collection: str | None, form: Format, quiet: bool) -> int:
    """Keep the vectors of INDEX on a Qdrant server in step with the index, with the metadata of the images.

    What is missing there is added, what has changed is changed, what has gone from the index is deleted; what is right
    is not sent again, so that an interrupted push goes on. The index stays the truth. Other programs can search the
    server with filters by metadata; calque does so from Python (docs/vector-server.md).

    Exit status: 0 done, 2 wrong usage or failure.

    \b
    Examples:
      calque push scans.calque --server http://127.0.0.1:6333
      calque push scans.calque --server https://vectors.example.org --model dinov2 --collection scans
    """
    from index.exports import slug
    from index.store import Index
    from index.vector_server import ServerVectors
    from index.vectors import vectors_of

    started = time.monotonic()
    with Index.open(index) as opened, Progress("vectors", quiet=quiet) as progress:
        vectors = vectors_of(opened, model)
        name = collection or f"{slug(opened.path.resolve().stem)}-{slug(vectors.model.name)}"
        with ServerVectors(server, name, vectors.model) as there:
            done = there.synchronise(opened, vectors, progress.update)
    record = {
        "index": str(index),
        "server": server,
        "collection": name,
        "model": vectors.model.name,
        "entered": done.entered,
        "deleted": done.deleted,
        "known": done.known,
        "seconds": round(time.monotonic() - started, 3),
    }
    write_record(record, form)
    return 0

"""``calque embed``: the images of an index turned into vectors, for ``calque similar`` and others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from cli.options import device_option, format_option, index_argument, quiet_option, where_option, workers_option
from cli.output import one_line, write_record
from cli.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from cli.output import Format

__all__ = ["embed"]


@click.command()
@index_argument
@click.option(
    "--model",
    metavar="NAME[:PATH]",
    help="What turns pictures into vectors (docs/similarity.md): palette, structure, vlad need nothing; mobilenet; "
    "dinov2, vit, convnext, resnet; clip, siglip, openclip see words, too; hf:PATH, sscd:PATH.",
)
@click.option("--regions", is_flag=True, help="The pictures found on pages, too, not only whole images.")
@where_option
@click.option("--forget", metavar="NAME", help="Delete the vectors of this model instead.")
@workers_option
@device_option
@format_option
@quiet_option
def embed(
    index: Path,
    model: str | None,
    regions: bool,
    where: str | None,
    forget: str | None,
    workers: int | None,
    form: Format,
    quiet: bool,
) -> int:
    """Turn the images of INDEX into vectors by a model: what looks alike, or means alike, then lies near.

    Vectors are kept in the index's folder, those of several models beside each other. What has one is passed over:
    after an addition, or an interruption, run the same command again. What is removed from the index is out of its
    vectors, too. Other commands, even calque add, may run meanwhile.

    Exit status: 0 done, 1 some images could not be embedded (the others are), 2 wrong usage or failure.

    \b
    Examples:
      calque embed scans.calque --model palette
      calque embed scans.calque --model dinov2 --regions --device cuda
      calque embed scans.calque --model hf:models/my-clip --where "date<1920"
      calque embed scans.calque --forget palette
    """
    if (model is None) == (forget is None):
        raise click.UsageError("give either --model or --forget")
    from index.embedding import embed as embed_images
    from index.store import Index
    from index.vector_writing import VectorWriter

    started = time.monotonic()
    with Index.open(index) as opened:
        if model is None:
            with VectorWriter(opened.path) as writer:
                writer.forget(str(forget))
            return 0
        only = None if where is None else opened.select(where)
        with Progress("images", quiet=quiet) as progress:
            done = embed_images(opened, model, regions=regions, only=only, workers=workers, progress=progress.update)
    for name, reason in done.failed:
        click.echo(one_line(f"calque: {name}: {reason}"), err=True)
    record: dict[str, object] = {
        "index": str(index),
        "model": model,
        "signature": done.signature,
        "images": done.images,
        "vectors": done.vectors,
        "known": done.known,
        "failed": len(done.failed),
        "seconds": round(time.monotonic() - started, 3),
    }
    if form != "table":
        record["failures"] = [{"name": name, "reason": reason} for name, reason in done.failed]
    write_record(record, form)
    return 1 if done.failed else 0

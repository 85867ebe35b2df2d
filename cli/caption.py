"""``calque caption``: what images show, told in words by a network, into their metadata."""

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

__all__ = ["caption"]


@click.command()
@index_argument
@click.option(
    "--model",
    required=True,
    metavar="NAME|PATH",
    help="blip, blip-large, git; or the folder of a checkpoint of these kinds, or of an encoder of pictures with a "
    "decoder of words (docs/captions.md).",
)
@click.option("--regions", is_flag=True, help="Caption the pictures found on each page, one after the other, instead.")
@click.option("--key", default="caption", show_default=True, metavar="KEY", help="Of the metadata that is written to.")
@click.option("--prompt", default="", metavar="WORDS", help="What captions begin with (blip, git).")
@click.option(
    "--length", type=click.IntRange(1, 400), default=40, show_default=True, metavar="N", help="Tokens at most."
)
@click.option("--replace", is_flag=True, help="Write over captions that no model has written, too.")
@where_option
@workers_option
@device_option
@format_option
@quiet_option
def caption(
    index: Path,
    model: str,
    regions: bool,
    key: str,
    prompt: str,
    length: int,
    replace: bool,
    where: str | None,
    workers: int | None,
    form: Format,
    quiet: bool,
) -> int:
    """Tell in words what the images of INDEX show, by a network of others, into the metadata "caption".

    "caption_by" beside it says which model and weights wrote it. calque find and the page's search look into captions;
    --where knows them: "caption~ship". They are guesses: of old prints, often wrong ones. After an interruption or an
    addition run the same command again: what this very model has captioned is passed over, what another has is
    captioned anew, what a person or a table gave stays.

    Exit status: 0 done, 1 some images could not be read (the others are done), 2 wrong usage or failure.

    \b
    Examples:
      calque caption scans.calque --model blip
      calque caption scans.calque --model blip --regions --prompt "an engraving of"
      calque caption scans.calque --model models/my-blip --where "date<1920" --device cuda
      calque find scans.calque ship storm
    """
    from index.captions import caption_images, told_by
    from index.store import Index
    from matcher.registry import Backend

    started = time.monotonic()
    maker = Backend("matcher.captioning:Captioner", "models")
    with Index.open(index, writable=True) as opened:
        only = None if where is None else opened.select(where)
        writer = maker.make(model=model, longest=length, prompt=prompt)
        with Progress("images", quiet=quiet) as progress:
            done = caption_images(
                opened,
                writer,
                key=key,
                regions=regions,
                only=only,
                replace=replace,
                workers=workers,
                progress=progress.update,
            )
    for name, reason in done.failed:
        click.echo(one_line(f"calque: {name}: {reason}"), err=True)
    record = {
        "index": str(index),
        "model": model,
        told_by(key): writer.signature,
        "captioned": done.captioned,
        "known": done.known,
        "kept": done.kept,
        "without_pictures_or_words": done.bare,
        "failed": len(done.failed),
        "seconds": round(time.monotonic() - started, 3),
    }
    write_record(record, form)
    return 1 if done.failed else 0

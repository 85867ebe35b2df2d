"""``calque map``: a collection as a cloud of thumbnails, on a page that opens offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.exports import base_url_option
from cli.options import index_argument, quiet_option, where_option, workers_option
from cli.output import one_line
from cli.progress import Progress

if TYPE_CHECKING:
    from index.collection_map import Links
    from matcher.projection import Projection

__all__ = ["map"]


@click.command()
@index_argument
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Folder for the page and its thumbnails, some 6 MB for a thousand pictures. An earlier map there is replaced.",
)
@click.option(
    "--model",
    metavar="NAME",
    help="Whose vectors say what is alike (calque embed).  [default: the only one of which there are vectors]",
)
@click.option("--regions", is_flag=True, help="Show the pictures found on pages instead of whole images.")
@where_option
@click.option("--colour-by", default="", metavar="KEY", help="Metadata that colours tell first.  [default: clusters]")
@click.option(
    "--time",
    "time_key",
    default="",
    metavar="KEY",
    help="Metadata with the date of each image, for timeline and slider.  [default: date, year or issued]",
)
@click.option(
    "--projection",
    type=click.Choice(["umap", "pca"]),
    default="umap",
    show_default=True,
    help="UMAP keeps neighbourhoods (it needs the extra: pip install 'calque[map]'); pca, principal components, keeps "
    "great differences, needs nothing and takes seconds.",
)
@click.option(
    "--neighbours",
    type=click.IntRange(min=2),
    default=15,
    show_default=True,
    metavar="N",
    help="How many UMAP lets a picture see: few show the finer grain, many the coarser shape.",
)
@click.option(
    "--clusters",
    type=click.IntRange(min=0),
    metavar="N",
    help="So many clusters by k-means, 0 for none.  [default: those that lie densely on the map; with pca by k-means]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another gives another map.")
@base_url_option
@click.option(
    "--server",
    metavar="URL",
    help="Lead to the pages of this index on a `calque serve`, such as http://127.0.0.1:8090/i/scans.",
)
@workers_option
@quiet_option
@click.pass_context
def map(
    context: click.Context,
    index: Path,
    output: Path,
    model: str | None,
    regions: bool,
    where: str | None,
    colour_by: str,
    time_key: str,
    projection: Projection,
    neighbours: int,
    clusters: int | None,
    seed: int,
    base_url: str,
    server: str | None,
    workers: int | None,
    quiet: bool,
) -> int:
    """Show the images of INDEX as a map: what is alike lies together, as thumbnails that one zooms into.

    FOLDER/index.html opens from the disk in any browser with WebGL 2, no server, no network: a cloud, a grid without
    overlaps, a timeline; clusters with examples, colours and filters by metadata, search, a slider of time, the
    keyboard, a list; English and French, light and dark. A picture leads to its file, to an address below --base-url
    (for images on the web), or to its page on a server. The folder appears when it is whole (docs/map.md).

    Exit status: 0 done, 1 some images could not be read (they are grey patches), 2 wrong usage or failure.

    \b
    Examples:
      calque embed scans.calque --model dinov2 && calque map scans.calque -o map/
      calque map scans.calque -o map/ --model palette --regions --colour-by publisher --time issued
      calque map scans.calque -o map/ --where "date<1920" --projection pca --clusters 8
      calque map scans.calque -o map/ --server http://127.0.0.1:8090/i/scans
    """
    given = context.get_parameter_source("base_url") is click.core.ParameterSource.COMMANDLINE
    links = _links(base_url if given else None, server)

    from cli.map_page import write_page
    from index.collection_map import DATA_FILE, MapSettings, make_map, write_map
    from index.durable import replacing_folder
    from index.store import Index

    settings = MapSettings(projection, neighbours, clusters, seed, colour_by, time_key)
    with (
        replacing_folder(output, DATA_FILE) as folder,
        Index.open(index) as opened,
        Progress("pictures", quiet=quiet) as progress,
    ):

        def tell(step: str) -> None:
            if not quiet:
                progress.message(f"calque: {step}")

        only = None if where is None else opened.select(where)
        made = make_map(opened, model, settings, regions=regions, only=only, told=tell)
        tell("thumbnails")
        sprites = write_map(
            made, folder, links, output, workers=workers, progress=lambda done: progress.update(done, len(made))
        )
        write_page(folder)
        for number, reason in sprites.failed:
            progress.message(one_line(f"calque: {made.records[number].name}: {reason}"))
    failed = len(sprites.failed)
    told = f"{len(made)} pictures, {len(made.examples)} clusters, {failed} failed; open {output / 'index.html'}"
    click.echo(one_line(f"calque: {told}"), err=True)
    return 1 if failed else 0


def _links(base_url: str | None, server: str | None) -> Links:
    """Return where pictures lead to."""
    from urllib.parse import unquote, urlsplit

    from index.collection_map import Links

    if base_url is not None and server is not None:
        raise click.UsageError("give either --base-url or --server")
    if base_url is not None:
        return Links("images", base_url)
    if server is None:
        return Links()
    address, found, name = server.rstrip("/").rpartition("/i/")
    if not found or not name or "/" in name or urlsplit(address).scheme not in ("http", "https"):
        raise click.BadParameter(
            f"{server!r} is no address of an index on a calque serve, such as http://127.0.0.1:8090/i/scans",
            param_hint="--server",
        )
    return Links("server", f"{address}/", unquote(name))

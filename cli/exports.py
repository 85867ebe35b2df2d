"""What a search gives out besides its results on stdout: crops and page files; and its results as one document."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from index.answers import Answer
    from index.exports import Finding
    from index.store import Index

__all__ = ["DOCUMENTS", "base_url_option", "export_options", "exported", "write_document"]

DOCUMENTS = ("iiif", "coco")
"""Formats in which everything found is one document, written at the end."""

_FOLDERS = {
    "crops": "Folder for every hit cut out and squared to its query, as PNG, with a crops.csv that names them.",
    "alto": "Folder for an ALTO file of each page on which something was found, hits as illustrations.",
    "page_xml": "Folder for the same as PAGE XML.",
}


def _address(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise click.BadParameter(f"{value!r} is no http or https address, which IIIF wants")
    return value


base_url_option = click.option(
    "--base-url",
    callback=_address,
    default="http://localhost:8000/",
    show_default=True,
    metavar="URL",
    help="Where the scans are served, for --format iiif: image names are appended to it.",
)


def export_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--crops``, ``--alto``, ``--page-xml`` and ``--base-url`` to a command."""
    for name, words in reversed(_FOLDERS.items()):
        option = f"--{name.replace('_', '-')}"
        kind = click.Path(path_type=Path, file_okay=False)
        function = click.option(option, name, type=kind, metavar="FOLDER", help=words)(function)
    return base_url_option(function)


def exported(
    answers: Iterable[Answer], index: Index, crops: Path | None, alto: Path | None, page_xml: Path | None
) -> Iterator[Answer]:
    """Pass answers on, and write them into the folders that are given."""
    from index.crops import CropWriter
    from index.exports import findings
    from index.page_files import write_page_files

    kept: list[Answer] = []
    with ExitStack() as stack:
        writer = None if crops is None else stack.enter_context(CropWriter(crops))
        for answer in answers:
            if writer is not None:
                writer.add(answer)
            if alto is not None or page_xml is not None:
                kept.append(answer)
            yield answer
    for folder, form in ((alto, "alto"), (page_xml, "page")):
        if folder is not None:
            write_page_files(folder, form, findings(index, kept))


def write_document(form: str, found: Iterable[Finding], base_url: str) -> None:
    """Write findings as one document, of one of `DOCUMENTS`, on stdout."""
    from index.exports import coco
    from index.web_annotations import manifest

    write_json(manifest(found, base_url) if form == "iiif" else coco(found))

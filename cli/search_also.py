"""``--also similar`` of ``calque search``: what is like a query, beside what it is found on; never mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.output import write_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from index.answers import Answer
    from index.store import Index

__all__ = ["also_option", "asker_of", "write_alike"]

_TOP = 10
_COLUMNS = ["rank", "image", "page", "region", "kind", "likeness"]


def _model_of(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the name of the model, empty for the only one there is; None if nothing more is wanted."""
    if value is None:
        return None
    what, _, model = value.partition(":")
    if what != "similar":
        raise click.BadParameter(f"{value!r} is none of similar, similar:MODEL")
    return model


also_option = click.option(
    "--also",
    callback=_model_of,
    metavar="similar[:MODEL]",
    help="After what is found, what is like it, by vectors of calque embed: likeness, not identity.",
)


def asker_of(index: Index, model: str) -> Callable[[Answer], dict[str, Any]]:
    """Return what tells what is like the query of an answer, of the images that it was not found on."""
    from index.similar import Example, Similar, Wanted, likeness_as_dict
    from matcher.errors import InputError

    asking = Similar(index, model or None)
    ids = {(record.path, record.page): record.id for record in index.images()}

    def ask(answer: Answer) -> dict[str, Any]:
        if answer.error is not None:
            return {"model": asking.vectors.model.name, "alike": []}
        found = frozenset(ids[hit.path, hit.page] for hit in answer.hits)
        wanted = Wanted((Example(answer.image, answer.region, answer.page),))
        try:
            return likeness_as_dict(asking.ask(wanted, top=_TOP, without=found))
        except InputError as error:
            return {"model": asking.vectors.model.name, "alike": [], "error": str(error)}

    return ask


def write_alike(query: str, found: dict[str, Any]) -> None:
    """Write what is like a query as a table of its own, under a heading that says what it is."""
    click.echo(f"\nalike by {found['model']}, not the same, as {query}:")
    rows = [{**one, "region": one["region"] and [round(edge) for edge in one["region"]]} for one in found["alike"]]
    write_rows(rows, _COLUMNS, "table")

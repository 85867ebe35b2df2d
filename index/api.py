"""The Python interface: everything that the commands do, in a dozen names. ``docs/api.md`` is its guide.

What these names return is described where it is defined: `Answer` and `Hit` in `index.answers`, `Match` in
`matcher.types`, `Group` in `index.groups`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from index.annotations import Judgement
from index.answers import Answer, Query, answer_as_dict, flattened
from index.class_training import label_vectors, train_classifier
from index.classifiers import TrainedModel, load_model
from index.classifying import classify as classify_targets
from index.classifying import (
    embedder_of,
    targets_of_index,
    targets_of_sources,
)
from index.comparison import compare
from index.crops import CropWriter
from index.durable import replacing
from index.embedding import EmbedReport
from index.embedding import embed as embed_images
from index.exports import coco, findings, graphml, make_folder
from index.groups import FURNITURE, Group, group_as_dict, group_findings, group_graph
from index.groups import groups as grouped
from index.items import SourceFailure
from index.labels import read_labels
from index.links import Links, find_links
from index.page_files import write_page_files
from index.search import search
from index.similar import Example, Likeness, Wanted
from index.similar import similar as find_similar
from index.store import Index
from index.tracing import Journal, photos_of
from index.tracing import trace as trace_photos
from index.training import train
from index.truth import evaluate_index, judged_truth, read_truth
from index.web_annotations import DEFAULT_ADDRESS, manifest
from matcher.errors import InputError
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from index.classifying import Classified, Target

__all__ = [
    "Index",
    "Judgement",
    "Query",
    "Region",
    "classify",
    "compare",
    "embed",
    "evaluate",
    "export",
    "groups",
    "learn_classes",
    "rows",
    "search",
    "similar",
    "trace",
    "train",
]

Form = Literal["iiif", "coco", "alto", "page", "crops", "graphml"]


def groups(
    index: Index,
    *,
    max_false_alarms: float = 1e-3,
    furniture: int | None = FURNITURE,
    where: str | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Group]:
    """Group everything that an index has more than once, the largest group first.

    Images that have not been asked before are asked, and what they are found on is kept in the index's folder: the
    next call asks only for what has been added since.

    Parameters
    ----------
    index : Index
    max_false_alarms, furniture
        As of `index.groups.groups`.
    where : str, optional
        Only images whose metadata fits this condition, as of `Index.select`.
    threads : int, optional
        By default one per core.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Raises
    ------
    CalqueError
        If an image cannot be read any more.
    """
    only = None if where is None else index.select(where)
    with Links(index.path) as links:
        asked = find_links(index, links, threads=threads, progress=progress)
        if asked.failed:
            name, reason = asked.failed[0]
            raise InputError(f"{name}: {reason} (and {len(asked.failed) - 1} more); take it out with Index.remove")
        return grouped(index, links, max_false_alarms=max_false_alarms, furniture=furniture, only=only).groups


def trace(
    photos: Path | str,
    index: Index,
    *,
    journal: Path | str | None = None,
    max_false_alarms: float = 1e-3,
    top: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Answer]:
    """Look for every picture of one collection on the images of an index.

    Parameters
    ----------
    photos : path
        An index, or whatever can be added to one: a folder, a list, a file.
    index : Index
        Where to look.
    journal : path, optional
        A folder that keeps what has been answered: the same call, again, asks only for what is missing.
    max_false_alarms, top, threads
        As of `search`.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Yields
    ------
    Answer
        One for each picture, those that cannot be read with an ``error``.
    """
    asked, unusable = photos_of(Path(photos))
    for failure in unusable:
        yield Answer(failure.name, Path(failure.name), None, 0.0, (), error=failure.reason)
    options: dict[str, Any] = {"max_false_alarms": max_false_alarms, "top": top}
    if journal is None:
        yield from trace_photos(index, asked, threads=threads, progress=progress, **options)
        return
    with Journal(Path(journal), index, **options) as kept:
        yield from trace_photos(index, asked, kept, threads=threads, progress=progress, **options)


def evaluate(
    index: Index,
    truth: Path | str | None = None,
    *,
    part: str | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure searches of an index by a file of ground truth, or without one by its judgements.

    The form of the file is described in `index.truth`, parameters and the figures returned in
    `index.truth.evaluate_index`.
    """
    if truth is None:
        return evaluate_index(index, judged_truth(index), part=part, threads=threads, progress=progress)
    path = Path(truth)
    known = read_truth(path)
    return evaluate_index(index, known, path.parent, part=part, threads=threads, progress=progress)


def embed(
    index: Index,
    model: str,
    *,
    regions: bool = False,
    where: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EmbedReport:
    """Turn the images of an index, and the pictures on its pages if `regions`, into vectors, which are kept with it.

    What has a vector by this model already is passed over. See `index.embedding.embed`; `where` is a condition as of
    `Index.select`.
    """
    only = None if where is None else index.select(where)
    return embed_images(index, model, regions=regions, only=only, workers=workers, progress=progress)


def similar(
    index: Index,
    wanted: Wanted | Path | str,
    *,
    model: str | None = None,
    top: int = 20,
    where: str | None = None,
    among: Literal["all", "images", "regions"] = "all",
    one_per_document: bool = False,
) -> Likeness:
    """Return what of an index is most like a picture, examples, words or colours: likeness, not identity.

    Parameters
    ----------
    index : Index
        With vectors: see `embed`.
    wanted : path, or index.similar.Wanted
        A picture that it is like; or examples, right and wrong ones, words, colours.
    model, top, among, one_per_document
        As of `index.similar.Similar`.
    where : str, optional
        Only images whose metadata fits this condition, as of `Index.select`.
    """
    asked = wanted if isinstance(wanted, Wanted) else Wanted((Example(Path(wanted)),))
    only = None if where is None else index.select(where)
    return find_similar(index, asked, model=model, top=top, only=only, among=among, one_per_document=one_per_document)


def learn_classes(
    labels: Path | str | Sequence[Path | str],
    model: Path | str | None = None,
    *,
    embedder: str = "palette",
    label: str | None = None,
    group: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainedModel:
    """Learn classes of pictures from labelled ones.

    Parameters
    ----------
    labels : path, or sequence of paths
        A table, folders called as their classes, or an index, as of `index.labels.read_labels`; lines and pictures that
        cannot be used are left out.
    model : path, optional
        A file to keep it in; `index.classifiers.load_model` reads it.
    embedder : str
        What turns pictures into vectors, a name for `matcher.registry.embedder_named`.
    label, group
        As of `index.labels.read_labels`.
    workers, progress
        As of `index.subjects.see`.

    Returns
    -------
    TrainedModel
        `index.class_training.figures_of` tells how well its classes were told in cross-validation.

    Raises
    ------
    InputError
        If there are fewer than five examples of a class, or all of one document.
    """
    sources = [labels] if isinstance(labels, str | Path) else labels
    known = read_labels([Path(source) for source in sources], label=label, group=group)
    trained = train_classifier(known, label_vectors(known, embedder, workers=workers, progress=progress))
    if model is not None:
        trained.save(Path(model))
    return trained


def classify(
    what: Index | Path | str | Sequence[Path | str],
    model: TrainedModel | Path | str,
    *,
    regions: bool = False,
    where: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Classified | SourceFailure]:
    """Say the class of every picture.

    Parameters
    ----------
    what : Index, path, or sequence of paths
        An open index, or scans: whatever can be added to one.
    model : TrainedModel or path
        From `learn_classes`.
    regions : bool
        Pictures on pages rather than whole images.
    where : str, optional
        Only images of the index whose metadata fits this condition.
    workers, progress
        As of `index.subjects.see`.

    Yields
    ------
    Classified or SourceFailure
        `index.classifying.noted` turns the former into metadata for `Index.set_metadata`.

    Raises
    ------
    SettingsMismatch
        If the model was trained with another embedder than there is here, or with other weights of it.
    """
    trained = model if isinstance(model, TrainedModel) else load_model(Path(model))
    embedder = embedder_of(trained)
    index = None
    targets: list[Target] = []
    if isinstance(what, Index):
        index = what
        targets = targets_of_index(index, regions=regions, where=where)
    else:
        sources = [what] if isinstance(what, str | Path) else what
        for target in targets_of_sources(sources, regions=regions, workers=workers):
            if isinstance(target, SourceFailure):
                yield target
            else:
                targets.append(target)
    yield from classify_targets(trained, targets, embedder, index=index, workers=workers, progress=progress)


def rows(found: Iterable[Answer] | Iterable[Group]) -> Iterator[dict[str, Any]]:
    """Yield what was found as flat rows of plain values, one for each hit or member: for a table, or pandas."""
    for item in found:
        if isinstance(item, Group):
            yield from ({"group": item.number, **member} for member in group_as_dict(item)["members"])
        else:
            known = {"query": item.id, "query_image": str(item.image), "query_page": item.page}
            yield from ({**known, **flattened(hit)} for hit in answer_as_dict(item)["hits"])


def export(
    index: Index,
    found: Sequence[Answer] | Sequence[Group],
    form: Form,
    path: Path | str,
    *,
    base_url: str = DEFAULT_ADDRESS,
) -> None:
    """Write what was found in a form that other programs read.

    Parameters
    ----------
    index : Index
        Where it was found.
    found : sequence of Answer, or of Group
    form : str
        ``iiif``: a manifest with Web Annotations; ``coco``: a COCO data set; ``graphml``: a graph, of groups only.
        ``alto``, ``page``: a folder with an XML file for each image; ``crops``: a folder with a picture of each hit, of
        answers only.
    path : path
        The file or folder to write.
    base_url : str
        For ``iiif``, where the scans are served.

    Raises
    ------
    InputError
        If the form is unknown, or not one of what was found, or nothing can be written there.
    """
    target = Path(path)
    answers = [item for item in found if isinstance(item, Answer)]
    grouped = [item for item in found if isinstance(item, Group)]
    if form == "crops" and not grouped:
        with CropWriter(target) as writer:
            for answer in answers:
                writer.add(answer)
    elif form == "graphml" and not answers:
        _write(target, "".join(graphml(*group_graph(grouped))))
    elif form in ("iiif", "coco", "alto", "page"):
        placed = [*findings(index, answers), *group_findings(grouped)]
        if form == "iiif":
            _write(target, json.dumps(manifest(placed, base_url), indent=2))
        elif form == "coco":
            _write(target, json.dumps(coco(placed), indent=2))
        else:
            write_page_files(target, form, placed)
    else:
        raise InputError(
            f"no form {form!r} of what was found; there are iiif, coco, alto, page, of answers crops, of groups graphml"
        )


def _write(path: Path, text: str) -> None:
    make_folder(path.absolute().parent)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

"""What is asked of an index and what it answers: plain records, and how an answer is printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from index.annotations import Zone
    from matcher.types import Match, Region

__all__ = ["Answer", "Hit", "Query", "answer_as_dict", "flattened", "zone_as_dict"]


@dataclass(frozen=True, slots=True)
class Query:
    """A question: which images show what is on page `page` of the file `image`, inside `region` (None: all of it).

    Where there are `outlines`, in pixels of the image, only what lies inside an odd number of them counts.
    """

    id: str
    image: Path
    region: Region | None = None
    page: int = 0
    outlines: tuple[tuple[tuple[float, float], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A place where a query is found.

    Attributes
    ----------
    rank : int
        From 1.
    image : str
        Name of the image: its path as found under the source it was added from.
    path : str
        Absolute path.
    page : int
    score : float
        Minus log10 of the share of unrelated images, of those that are weighed, that would agree as well by chance.
    false_alarms : float
        Answers as sure as this one that a search of this index is expected to give by chance.
    match : Match
    zone : Zone or None
        The picture of the image that it lies on, where its layout is known.
    """

    rank: int
    image: str
    path: str
    page: int
    score: float
    false_alarms: float
    match: Match
    zone: Zone | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query found: `hits` by decreasing score, or the `error` for which it could not be asked.

    `seconds` is the time that it took, of which `extraction` went into reading the query and its features.
    """

    id: str
    image: Path
    region: Region | None
    seconds: float
    hits: tuple[Hit, ...]
    error: str | None = None
    page: int = 0
    extraction: float = 0.0


def answer_as_dict(answer: Answer) -> dict[str, Any]:
    """Return an answer in the form the command line prints."""
    printed: dict[str, Any] = {
        "id": answer.id,
        "image": str(answer.image),
        "region": None if answer.region is None else answer.region.as_list(),
        "seconds": round(answer.seconds, 4),
        "hits": [_hit_as_dict(hit) for hit in answer.hits],
    }
    if answer.error is not None:
        printed["error"] = answer.error
    return printed


def flattened(hit: dict[str, Any]) -> dict[str, Any]:
    """Return a hit of `answer_as_dict` with its zone, if it has one, as values beside the others: ``zone``, its number,
    ``zone_kind``, ``zone_box``, …"""
    zone = hit["zone"] or {}
    rest = {name: value for name, value in hit.items() if name != "zone"}
    return {**rest, **{"zone" if name == "id" else f"zone_{name}": value for name, value in zone.items()}}


def _hit_as_dict(hit: Hit) -> dict[str, Any]:
    match = hit.match
    return {
        "rank": hit.rank,
        "image": hit.image,
        "page": hit.page,
        "score": round(hit.score, 3),
        "false_alarms": float(f"{hit.false_alarms:.3g}"),
        "inliers": match.inliers,
        "relation": match.relation,
        "rotation": _rounded(match.rotation, 2),
        "scale": _rounded(match.scale, 4),
        "region": [_rounded(value, 1) for value in match.region.as_list()],
        "polygon": [[_rounded(x, 1), _rounded(y, 1)] for x, y in match.polygon.tolist()],
        "transform": match.transform.matrix.tolist(),
        "zone": None if hit.zone is None else zone_as_dict(hit.zone),
    }


def zone_as_dict(zone: Zone) -> dict[str, Any]:
    """Return a picture of an image in the form the command line prints."""
    return {
        "id": zone.id,
        "kind": zone.kind,
        "box": [_rounded(value, 1) for value in zone.box.as_list()],
        "score": zone.score,
        "origin": zone.origin,
    }


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) + 0.0  # no -0.0

"""The shapes of what is asked: checked when it comes in, described by the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from webui.shapes import Box, Ruling, UploadId  # noqa: TC001 - msgspec looks them up

__all__ = [
    "Asked",
    "ComparisonQuery",
    "FacetsQuery",
    "GroupExportQuery",
    "GroupQuery",
    "GroupsQuery",
    "ImagesQuery",
    "JobRequest",
    "JudgementRequest",
    "JudgementsQuery",
    "LoginRequest",
    "Part",
    "SearchExportQuery",
    "SearchQuery",
    "SimilarExportQuery",
    "SimilarQuery",
    "UploadQuery",
]

_NUMBER = r"-?[0-9]{1,7}(\.[0-9]{1,6})?"
_RELATION = r"(same|mirrored|inverted|mirrored\+inverted)"
Id = Annotated[int, Meta(ge=0, le=2**62)]
Offset = Annotated[int, Meta(ge=0, le=10**9, description="how many to pass over")]
Limit = Annotated[int, Meta(ge=1, le=500, description="how many to tell")]
Where = Annotated[str, Meta(max_length=2000, description="a condition as of `calque search --where`")]
Text = Annotated[str, Meta(max_length=500, description="words that name and metadata contain, all of them")]
BoxText = Annotated[
    str, Meta(pattern=f"^{_NUMBER}(,{_NUMBER}){{3}}$", description="x,y,width,height", examples=["310,420,500,640"])
]
PolygonText = Annotated[
    str,
    Meta(
        pattern=f"^{_NUMBER},{_NUMBER}(,{_NUMBER},{_NUMBER}){{2,199}}$",
        description="x,y,x,y,…: 3 to 200 corners",
        examples=["10,10,200,15,100,150"],
    ),
]
ExampleText = Annotated[
    str,
    Meta(
        pattern=f"^[0-9]{{1,18}}(:{_NUMBER}(,{_NUMBER}){{3}})?$",
        description="ID, or ID:x,y,width,height: an image of this index, or a part of it",
        examples=["12", "12:310,420,500,640"],
    ),
]
Relations = Annotated[str, Meta(pattern=f"^{_RELATION}(,{_RELATION}){{0,3}}$", description="comma-separated")]
FalseAlarms = Annotated[float, Meta(gt=0, le=1000, description="answers expected by chance; lower is surer")]
Note = Annotated[str, Meta(max_length=2000)]


class LoginRequest(Struct, forbid_unknown_fields=True):
    token: Annotated[str, Meta(max_length=200)]


class ImagesQuery(Struct, forbid_unknown_fields=True):
    offset: Offset = 0
    limit: Limit = 60
    sort: Annotated[str, Meta(min_length=1, max_length=200, description="a field; `-` before it: descending")] = "id"
    where: Where = ""
    text: Text = ""


class FacetsQuery(Struct, forbid_unknown_fields=True):
    where: Where = ""
    text: Text = ""
    field: list[Annotated[str, Meta(max_length=200)]] = []
    limit: Limit = 20


class UploadQuery(Struct, forbid_unknown_fields=True):
    page: Annotated[int, Meta(ge=0, le=100_000, description="page of a PDF or TIFF")] = 0


class Part(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is looked for: an image of the index or an upload, or a part of either."""

    image: Id | None = None
    upload: UploadId | None = None
    region: BoxText | None = None
    polygon: PolygonText | None = None


class Asked(Part, kw_only=True, forbid_unknown_fields=True):
    where: Where = ""
    max_false_alarms: FalseAlarms = 1.0
    relations: Relations = "same,mirrored,inverted,mirrored+inverted"
    furniture: bool = False


class SearchQuery(Asked, kw_only=True, forbid_unknown_fields=True):
    offset: Offset = 0
    limit: Limit = 60


class SearchExportQuery(Asked, kw_only=True, forbid_unknown_fields=True):
    form: Literal["csv", "jsonl", "iiif", "coco", "pictures"] = "csv"
    top: (
        Annotated[int, Meta(ge=1, le=100_000, description="hits at most; pictures have a limit of their own")] | None
    ) = None


class ComparisonQuery(Part, kw_only=True, forbid_unknown_fields=True):
    with_: Id = field(name="with")
    place: BoxText | None = None


class SimilarQuery(Part, kw_only=True, forbid_unknown_fields=True):
    model: Annotated[str, Meta(min_length=1, max_length=500, description="one of the index's models")] | None = None
    text: Text = ""
    language: Literal["en", "fr", "de", "it", "es"] = "en"
    colour: Annotated[str, Meta(pattern="^[0-9A-Fa-f]{6}$", description="red, green, blue")] | None = None
    right: list[ExampleText] = []
    wrong: list[ExampleText] = []
    among: Literal["all", "images", "regions"] = "all"
    where: Where = ""
    limit: Limit = 60


class SimilarExportQuery(SimilarQuery, kw_only=True, forbid_unknown_fields=True):
    form: Literal["csv", "jsonl"] = "csv"


class JudgementsQuery(Struct, forbid_unknown_fields=True):
    image: Id | None = None


class JudgementRequest(Struct, forbid_unknown_fields=True):
    image_a: Id
    image_b: Id
    verdict: Ruling
    region_a: Box | None = None
    region_b: Box | None = None
    note: Note = ""
    author: Annotated[str, Meta(max_length=200)] = ""


class GroupQuery(Struct, forbid_unknown_fields=True):
    where: Where = ""
    max_false_alarms: Annotated[float, Meta(gt=0, le=1)] = 1e-3


class GroupsQuery(GroupQuery, forbid_unknown_fields=True):
    offset: Offset = 0
    limit: Limit = 60


class GroupExportQuery(GroupQuery, forbid_unknown_fields=True):
    form: Literal["csv", "jsonl", "iiif", "coco", "graphml"] = "csv"
    group: Annotated[int, Meta(ge=1)] | None = None


class JobRequest(Struct, forbid_unknown_fields=True):
    kind: Literal["add", "groups"]
    index: Annotated[str, Meta(min_length=1, max_length=200)]
    source: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None

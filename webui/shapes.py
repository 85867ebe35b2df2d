"""The shapes of what is answered, described by the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = [
    "Alike",
    "Answer",
    "Box",
    "Comparison",
    "Example",
    "Facet",
    "FacetValue",
    "Facets",
    "Failures",
    "Folded",
    "Frame",
    "Group",
    "GroupMember",
    "GroupSummary",
    "Groups",
    "Hit",
    "Image",
    "ImageDetail",
    "Images",
    "Index",
    "Indexes",
    "Job",
    "JobFailure",
    "Jobs",
    "Judgement",
    "Judgements",
    "Likeness",
    "Limits",
    "Lost",
    "Pictures",
    "Place",
    "Points",
    "Problem",
    "Question",
    "Ruling",
    "Service",
    "Side",
    "Thing",
    "Tie",
    "Unreadable",
    "Upload",
    "UploadId",
    "Verdict",
    "Zone",
]

Box = Annotated[list[float], Meta(min_length=4, max_length=4, description="x, y, width, height")]
Point = Annotated[list[float], Meta(min_length=2, max_length=2)]
Matrix = Annotated[list[Annotated[list[float], Meta(min_length=3, max_length=3)]], Meta(min_length=3, max_length=3)]
Ruling = Literal["same", "different", "unsure"]
Relation = Literal["same", "mirrored", "inverted", "mirrored+inverted"]
Kind = Literal["illustration", "ornament", "initial", "text", "other"]

UploadId = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{20,64}$")]


class Problem(Struct):
    """What went wrong (RFC 9457); `detail` can be shown as it is."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


class Limits(Struct):
    upload_bytes: int
    upload_pixels: int
    export_pictures: int


class Service(Struct):
    """The server, and what it lets this client do."""

    calque: str
    read_only: bool
    authenticated: bool
    user: str | None
    folders: list[str]
    addresses: bool
    limits: Limits


# Indexes and images


class Index(Struct):
    name: str
    images: int
    features: int
    fields: list[str]
    ready: bool
    calibrated: bool
    judgements: int
    extractor: str
    work_size: int
    models: list[str]
    readers: list[str]
    map: str | None


class Indexes(Struct):
    indexes: list[Index]


class Folded(Struct):
    """What every picture that can be shown has, an image of an index or a part of one."""

    id: int
    name: str
    page: int
    title: str
    width: int
    height: int
    metadata: dict[str, str]
    iiif: str
    thumbnail: str


class Image(Folded, kw_only=True):
    features: int


class Zone(Struct):
    kind: Kind
    box: Box
    polygon: list[Point] | None
    label: str
    score: float | None
    origin: str


class Thing(Struct):
    label: str
    box: Box
    polygon: list[Point] | None
    score: float
    origin: str


class ImageDetail(Image, kw_only=True):
    regions: list[Zone]
    things: list[Thing]
    previous: int | None
    next: int | None


class Images(Struct):
    total: int
    offset: int
    limit: int
    images: list[Image]


class FacetValue(Struct):
    value: str
    images: int
    where: str


class Facet(Struct):
    of: Literal["metadata", "things"]
    field: str
    distinct: int
    images: int
    values: list[FacetValue]


class Facets(Struct):
    total: int
    fields: list[Facet]


class Unreadable(Struct):
    name: str
    page: int
    reason: str
    time: str


class Failures(Struct):
    failures: list[Unreadable]


# Uploads


class Upload(Struct):
    id: UploadId
    name: str
    width: int
    height: int
    iiif: str
    thumbnail: str
    expires: str


# Search


class Question(Struct):
    image: int | None
    upload: str | None
    name: str
    title: str
    page: int
    width: int
    height: int
    iiif: str
    region: Box | None
    polygon: list[Point] | None
    where: str
    max_false_alarms: float
    relations: list[Relation]
    furniture: bool


class Place(Struct, kw_only=True):
    """A place on an image where something was found, and how that lies there."""

    id: int
    image: str
    title: str
    page: int
    width: int
    height: int
    metadata: dict[str, str]
    iiif: str
    thumbnail: str
    crop: str
    region: Box
    relation: Relation
    rotation: float
    scale: float
    false_alarms: float
    transform: Matrix
    judgement: Ruling | None


class Hit(Place, kw_only=True):
    rank: int
    score: float
    inliers: int
    polygon: list[Point]
    kind: Kind | None
    comparison: str


class Answer(Struct):
    index: str
    address: str
    query: Question
    seconds: float
    total: int
    offset: int
    limit: int
    hits: list[Hit]


# Comparison


class Side(Struct):
    image: int | None
    upload: str | None
    name: str
    title: str
    page: int
    width: int
    height: int
    region: Box | None
    iiif: str
    metadata: dict[str, str]


class Frame(Struct):
    region: Box
    width: int
    height: int


class Pictures(Struct):
    a: str
    b: str
    overlay: str
    difference: str
    proof: str


class Points(Struct):
    a: list[Point]
    b: list[Point]


class Comparison(Struct, omit_defaults=True):
    """Two pictures in one frame; where `found` is false, without what is known of a find."""

    index: str
    a: Side
    b: Side
    found: bool
    relation: Relation | None = None
    rotation: float | None = None
    scale: float | None = None
    inliers: int | None = None
    false_alarms: float | None = None
    transform: Matrix | None = None
    polygon: list[Point] | None = None
    frame: Frame | None = None
    pictures: Pictures | None = None
    verdict: str | None = None
    judgement: Ruling | None = None
    points: Points | None = None


class Lost(Struct):
    kind: str
    region: Box


class Verdict(Struct):
    verdict: str
    words: str
    reasons: list[str]
    agreement: float | None
    deformation: float | None
    coverage: list[float]
    lost_on_a: list[Lost]
    lost_on_b: list[Lost]
    printed_first: str | None


# Likeness


class Example(Struct):
    example: str
    id: int
    title: str
    crop: str


class Alike(Folded, kw_only=True):
    rank: int
    region: Box | None
    kind: str
    likeness: float
    crop: str
    example: str


class Likeness(Struct):
    index: str
    address: str
    model: str
    models: list[str]
    asked: Side | None
    text: str
    colour: str | None
    right: list[Example]
    wrong: list[Example]
    seconds: float
    alike: list[Alike]


# Judgements


class Judgement(Struct):
    id: int
    image_a: int | None
    name_a: str
    page_a: int
    region_a: Box | None
    image_b: int | None
    name_b: str
    page_b: int
    region_b: Box | None
    verdict: Ruling
    note: str
    author: str
    time: str


class Judgements(Struct):
    judgements: list[Judgement]


# Groups


class GroupMember(Place, kw_only=True):
    reference: bool
    registered: str


class Tie(Struct):
    a: int
    b: int
    false_alarms: float
    inliers: int


class Group(Struct):
    group: int
    members: list[GroupMember]
    links: list[Tie]


class GroupSummary(Struct):
    group: int
    size: int
    members: list[GroupMember]


class Groups(Struct):
    asked: int
    images: int
    total: int
    offset: int
    limit: int
    groups: list[GroupSummary]


# Jobs


class JobFailure(Struct):
    name: str
    reason: str


class Job(Struct):
    id: str
    kind: Literal["add", "groups"]
    index: str
    source: str | None
    state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
    done: int = 0
    total: int | None = None
    added: int = 0
    failed: int = 0
    failures: list[JobFailure] = []
    message: str = ""
    created: str = ""
    started: str | None = None
    ended: str | None = None


class Jobs(Struct):
    jobs: list[Job]

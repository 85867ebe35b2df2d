"""Groups of places that show the same picture, as far as links have been found."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from index._sqlite import state_of
from index.groups import Group, group_as_dict, groups
from index.links import LINKS_FILE, Links
from webui import questions, shapes
from webui.asked import address_of
from webui.browsing import chosen, placed
from webui.contract import Call, Operation
from webui.drawing import registered
from webui.exporting import GROUP_KINDS, groups_file
from webui.imaging import Picture, cached, picture_response, tag_of
from webui.kept import Kept
from webui.problems import no_such

if TYPE_CHECKING:
    from starlette.responses import Response

    from webui.shelf import Snapshot


__all__ = ["OPERATIONS", "Grouped", "Groupings", "export_groups", "group_member", "list_groups", "one_group"]

_KEPT = 8
_SHOWN = 6
"""Members told of each group in a list."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """The groups of one state of an index, and how many of its images had been asked then."""

    snapshot: Snapshot
    groups: list[Group]
    asked: int


class Groupings:
    """The groupings that were asked for last. May be used by any thread."""

    def __init__(self) -> None:
        self._kept = Kept[Grouped](_KEPT)
        self._lock = threading.Lock()  # what two ask for is worked out once

    def get(self, snapshot: Snapshot, where: str, max_false_alarms: float) -> Grouped:
        """Return the groups of the images that fit a condition."""
        links = snapshot.index.path / LINKS_FILE
        if not links.is_file():  # nobody has asked for any
            return Grouped(snapshot, [], 0)
        question = (snapshot.name, snapshot.serial, where, max_false_alarms)
        with self._lock:
            found = self._kept.get((question, state_of(links)))
            if found is None:
                found = _grouped(snapshot, where, max_false_alarms)
                self._kept.put((question, state_of(links)), found)  # which opening them has changed
            return found


def _grouped(snapshot: Snapshot, where: str, max_false_alarms: float) -> Grouped:
    only = frozenset(chosen(snapshot, where)) if where.strip() else None
    with Links(snapshot.index.path) as links:
        asked = sum(image in snapshot.records for image in links.asked())
        found = groups(snapshot.index, links, max_false_alarms=max_false_alarms, only=only).groups
    return Grouped(snapshot, found, asked)


async def list_groups(call: Call, query: questions.GroupsQuery) -> shapes.Groups:
    """List groups, the largest first."""
    return await call.server.reading.run(_listed, call, query)


def _listed(call: Call, query: questions.GroupsQuery) -> shapes.Groups:
    found = _of(call, query)
    part = found.groups[query.offset : query.offset + query.limit]
    told = []
    for group in part:
        members = _members(found.snapshot, group, query)
        first = sorted(members, key=lambda member: not member.reference)[:_SHOWN]
        told.append(shapes.GroupSummary(group.number, len(group.members), first))
    return shapes.Groups(found.asked, len(found.snapshot.records), len(found.groups), query.offset, query.limit, told)


async def one_group(call: Call, query: questions.GroupQuery) -> shapes.Group:
    """Return a group."""
    return await call.server.reading.run(_told, call, query)


def _told(call: Call, query: questions.GroupQuery) -> shapes.Group:
    found = _of(call, query)
    group = _numbered(found, call.path["number"])
    ties = [shapes.Tie(*tie) for tie in group.ties]
    return shapes.Group(group.number, _members(found.snapshot, group, query), ties)


async def group_member(call: Call, query: questions.GroupQuery) -> Response:
    """Show a member in the frame of its group's reference."""
    found = await call.server.reading.run(_of, call, query)
    group = _numbered(found, call.path["number"])
    if call.path["member"] >= len(group.members):
        raise no_such("member", call.path["member"], f"the group has {len(group.members)}, counted from 0")
    member, reference = group.members[call.path["member"]], group.members[group.reference]
    negative = "inverted" in member.relation
    picture = Picture.of(found.snapshot.name, member.image)
    drawn = (member.transform, reference.region, negative)
    etag = f"member-{tag_of(picture.key, member.transform.matrix.round(6).tolist(), reference.region, negative)}"
    if (unchanged := cached(call, etag)) is not None:
        return unchanged
    imaging = call.server.imaging
    with imaging.folder(picture) as folder:
        target = folder / "out" / f"{etag}.jpg"
        if not target.exists():
            await imaging.make(picture, target, registered, picture.source, picture.page, *drawn, target)
        content = target.read_bytes()
    return picture_response(content, etag)


async def export_groups(call: Call, query: questions.GroupExportQuery) -> Response:
    """Return groups as a file."""
    return await call.server.reading.run(_export, call, query)


def _export(call: Call, query: questions.GroupExportQuery) -> Response:
    found = _of(call, query)
    wanted = found.groups if query.group is None else [_numbered(found, query.group)]
    return groups_file(call, wanted, query.form)


def _of(call: Call, query: questions.GroupQuery) -> Grouped:
    snapshot = call.server.shelf[call.index].snapshot()
    return call.server.groupings.get(snapshot, query.where, query.max_false_alarms)


def _numbered(found: Grouped, number: int) -> Group:
    if number > len(found.groups):
        raise no_such("group", number, f"there are {len(found.groups)}")
    return found.groups[number - 1]


def _members(snapshot: Snapshot, group: Group, query: questions.GroupQuery) -> list[shapes.GroupMember]:
    reference = group.members[group.reference]
    return [
        shapes.GroupMember(
            **placed(snapshot, member.image, values),
            reference=values["reference"],
            judgement=snapshot.ruling(reference.image, reference.region, member.image, member.region),
            registered=address_of(
                snapshot,
                f"groups/{group.number}/members/{number}",
                where=query.where,
                max_false_alarms=query.max_false_alarms if query.max_false_alarms != 1e-3 else None,
            ),
        )
        for number, (member, values) in enumerate(zip(group.members, group_as_dict(group)["members"], strict=True))
    ]


_GROUPS = "/api/indexes/{index}/groups"
OPERATIONS = (
    Operation(
        "GET", _GROUPS, list_groups, "Groups, the largest first", shapes.Groups,
        query=questions.GroupsQuery, refusals=(422,),
    ),
    Operation(
        "GET", f"{_GROUPS}/export", export_groups, "Groups as a file", ",".join(GROUP_KINDS.values()),
        query=questions.GroupExportQuery, refusals=(422,),
    ),
    Operation(
        "GET", f"{_GROUPS}/{{number}}", one_group, "One group", shapes.Group,
        query=questions.GroupQuery, refusals=(422,),
    ),
    Operation(
        "GET", f"{_GROUPS}/{{number}}/members/{{member}}", group_member, "A member in the frame of the reference",
        "image/jpeg", query=questions.GroupQuery, refusals=(422,),
    ),
)  # fmt: skip
"""Routes of this module."""

"""From links to groups, on links made by hand: what is joined, what is cut, what is left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from types import SimpleNamespace

import networkx
import numpy as np
import pytest

import index.collating
from index.annotations import Judgement, Zone
from index.catalogue import ImageRecord
from index.collating import is_another_block, parted
from index.exports import coco, graphml
from index.groups import group_as_dict, group_findings, group_graph, groups
from index.links import LINK, Links, spots
from index.verification import RELATIONS
from matcher.collation import Evidence
from matcher.errors import InputError
from matcher.types import Region

WIDTH, HEIGHT = 1000, 1500
SURE, DOUBTFUL = 1e-60, 1e-12


@dataclass
class Album:
    """As much of an index as grouping needs; images have ids from 1."""

    names: list[str]
    metadata_of: dict[int, dict[str, str]] = field(default_factory=dict)
    zones: dict[int, list[Zone]] = field(default_factory=dict)
    said: list[Judgement] = field(default_factory=list)

    def images(self):
        for number, name in enumerate(self.names, start=1):
            yield ImageRecord(number, name, f"/{name}", 0, 1, 1, b"%d" % number, WIDTH, HEIGHT, 9, "s")

    def metadata(self, image_id):
        return self.metadata_of.get(image_id, {})

    def regions(self, image_id):
        return self.zones.get(image_id, [])

    def judgements(self):
        return self.said


class Known:
    """Links as they would be read."""

    def __init__(self, *rows):
        self.rows = rows

    def read(self, chance):
        found = np.array(sorted((row for row in self.rows if row[2] <= chance), key=lambda row: row[2]), LINK)
        return found.reshape(-1)


def link(a, b, box, onto=(0, 0), scale=1.0, chance=SURE, relation="same", spread=True):
    """Return a link that lays `box` of image `a` on image `b`, moved by `onto` and scaled."""
    matrix = np.array([[scale, 0, onto[0]], [0, scale, onto[1]], [0, 0, 1.0]])
    x, y, width, height = box
    there = [scale * x + onto[0], scale * y + onto[1], scale * width, scale * height]
    return (a, b, chance, 50, RELATIONS.index(relation), box, there, matrix, spread)


def found(album, *rows, **options):
    return groups(album, Known(*rows), **options)


def members(grouping):
    """Return each group as a set of image numbers."""
    return sorted(sorted(int(m.image.id) for m in group.members) for group in grouping.groups)


def book(pages):
    return Album([f"book/p{number}.jpg" for number in range(1, pages + 1)])


CUT = [100, 200, 300, 400]


def test_a_picture_on_three_pages_is_one_group():
    made = found(book(4), link(1, 2, CUT, (50, 80)), link(2, 3, [150, 280, 300, 400], (10, -20), 1.5))
    (group,) = made.groups
    assert members(made) == [[1, 2, 3]]
    assert made.contradictions == made.furniture == 0
    reference = group.members[group.reference]
    for member in group.members:
        laid = member.transform.apply(reference.region.corners())
        assert np.abs(laid - member.region.corners()).max() < 1e-6
        assert member.relation == "same"
    scales = {member.image.id: member.scale for member in group.members}
    assert scales[3] / scales[1] == pytest.approx(1.5)


def test_links_less_sure_than_allowed_are_left_out():
    rows = [link(1, 2, CUT, (50, 80)), link(3, 4, CUT, (9, 9), chance=1e-3)]
    assert members(found(book(4), *rows)) == [[1, 2]]
    assert members(found(book(4), *rows, max_false_alarms=1e-2)) == [[1, 2], [3, 4]]


def test_only_some_images_are_grouped():
    rows = [link(1, 2, CUT, (50, 80)), link(3, 4, CUT, (9, 9))]
    assert members(found(book(4), *rows, only=frozenset({1, 2, 3}))) == [[1, 2]]


def test_what_stands_beside_a_picture_is_not_joined_to_it():
    """Pages 1 and 2 show two pictures each; page 3 shows one of them, page 4 the other."""
    upper, lower = [100, 100, 400, 300], [100, 700, 400, 300]
    made = found(
        book(4),
        link(1, 2, [100, 100, 400, 900], (30, 40)),
        link(1, 3, upper, (200, 500)),
        link(4, 1, [300, 50, 400, 300], (-200, 650)),
    )
    assert members(made) == [[1, 2, 3], [1, 2, 4]]
    where = {group.members[0].region.y < 500: group for group in made.groups}
    assert len(where) == 2
    assert {round(m.region.y) for m in where[False].members if m.image.id == 2} == {740}
    assert lower[1] + 40 == 740


def test_a_place_where_nothing_agrees_is_not_taken_along():
    """Pages 1 and 2 show the same picture above, and below it each another one, which is also elsewhere."""
    above = np.zeros((16, 16), bool)
    above[:6] = True
    made = found(
        book(4),
        link(1, 2, [100, 100, 400, 900], (30, 40), spread=above),
        link(1, 3, [100, 100, 400, 300], (200, 500)),
        link(1, 4, [100, 700, 400, 300], (10, 20)),
    )
    assert members(made) == [[1, 2, 3], [1, 4]]


def test_a_crop_is_joined_to_the_whole_picture():
    part = [150, 250, 150, 150]
    made = found(
        book(3), link(1, 2, CUT, (50, 80)), link(1, 3, part, (-100, 0)), link(2, 3, [200, 330, 150, 150], (-150, -80))
    )
    assert members(made) == [[1, 2, 3]]


def test_parts_of_one_print_are_one_member():
    """Weak prints agree in parts only, and nothing joins the parts but that they lie upon each other alike."""
    left, right = [100, 200, 140, 400], [260, 200, 140, 400]
    rows = [link(1, 2, left, (50, 80)), link(1, 2, right, (50, 80)), link(2, 3, [150, 280, 300, 400], (5, 5))]
    (group,) = found(book(3), *rows).groups
    assert [m.image.id for m in group.members] == [1, 2, 3]
    assert group.members[0].region.as_list() == [100, 200, 300, 400]
    assert len(group.ties) == 2


def test_zones_say_what_is_one_picture():
    """Two crops that share nothing are of one picture where the layout knows one."""
    rows = [link(1, 2, [100, 200, 300, 190], (40, 0)), link(1, 3, [100, 420, 300, 180], (80, 0))]
    assert members(found(book(3), *rows)) == [[1, 2], [1, 3]]
    album = book(3)
    album.zones[1] = [Zone("illustration", Region(*CUT)), Zone("text", Region(0, 0, WIDTH, HEIGHT))]
    assert members(found(album, *rows)) == [[1, 2, 3]]


def clique(pages, **options):
    return [link(a, b, CUT, (0, 0), **options) for a, b in combinations(pages, 2)]


def test_a_bridge_between_look_alikes_is_cut():
    rows = [*clique(range(1, 5)), *clique(range(5, 9))]
    bridge = link(2, 7, CUT, (0, 0), chance=DOUBTFUL)
    cut = found(book(8), *rows, bridge, furniture=None)
    assert members(cut) == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert cut.contradictions == 1
    many = [link(a, b, CUT, (0, 0), chance=DOUBTFUL) for a in range(1, 5) for b in range(5, 9)]
    assert members(found(book(8), *rows, *many, furniture=None)) == [[1, 2, 3, 4, 5, 6, 7, 8]]


def test_links_that_contradict_surer_ones_around_a_cycle_bear_nothing_out():
    rows = [link(1, 2, CUT, (50, 0)), link(2, 3, [150, 200, 300, 400], (50, 0))]
    agreeing = found(book(3), *rows, link(1, 3, CUT, (100, 0), chance=DOUBTFUL))
    against = found(book(3), *rows, link(1, 3, CUT, (100, 150), chance=DOUBTFUL))
    assert members(agreeing) == members(against) == [[1, 2, 3]]
    assert len(agreeing.groups[0].ties) == 3
    assert len(against.groups[0].ties) == 2
    assert against.contradictions == 1


def test_a_shifted_pattern_is_no_second_print():
    rows = [link(1, 2, CUT, (50, 0)), link(1, 2, [200, 250, 150, 200], (300, 600), chance=1e-9)]
    assert members(found(book(2), *rows)) == [[1, 2]]
    twice = [link(1, 2, CUT, (50, 0)), link(1, 2, CUT, (300, 600), chance=1e-50)]
    assert members(found(book(2), *twice)) == [[1, 2, 2]]


def test_furniture_is_left_out():
    rows = [*clique(range(1, 9)), link(1, 9, [500, 900, 200, 200], (10, 40))]
    left = found(book(9), *rows)
    assert members(left) == [[1, 9]]
    assert left.furniture == 8
    assert members(found(book(9), *rows, furniture=9)) == [[1, 2, 3, 4, 5, 6, 7, 8], [1, 9]]
    elsewhere = Album([f"book{number}/p.jpg" for number in range(1, 10)])
    assert members(found(elsewhere, *rows)) == [[1, 2, 3, 4, 5, 6, 7, 8], [1, 9]]


def said(a, b, verdict, box_a=CUT, box_b=CUT):
    return Judgement(f"book/p{a}.jpg", 0, Region(*box_a), f"book/p{b}.jpg", 0, Region(*box_b), verdict)


def test_what_a_person_calls_different_is_kept_apart():
    album = book(3)
    album.said = [said(1, 3, "different")]
    rows = [link(1, 2, CUT, chance=1e-80), link(2, 3, CUT), link(1, 3, CUT)]
    assert members(found(album, *rows)) == [[1, 2]]
    album.said.append(said(3, 1, "same"))
    assert members(found(album, *rows)) == [[1, 2, 3]]


def test_what_a_person_calls_the_same_is_joined():
    album = book(3)
    album.said = [said(2, 3, "same", CUT, [400, 500, 150, 200])]
    made = found(album, link(1, 2, CUT))
    assert members(made) == [[1, 2, 3]]
    last = next(m for m in made.groups[0].members if m.image.id == 3)
    assert last.scale == pytest.approx(0.5)
    assert members(found(album, link(1, 2, CUT), only=frozenset({1, 2}))) == [[1, 2]]
    album.said = [said(2, 3, "unsure")]
    assert members(found(album, link(1, 2, CUT))) == [[1, 2]]


def test_relations_are_composed():
    turned = np.array([[-1.0, 0, 800], [0, 1, 0], [0, 0, 1]])
    mirrored = (1, 2, SURE, 50, RELATIONS.index("mirrored"), CUT, [400, 200, 300, 400], turned, True)
    negative = link(2, 3, [400, 200, 300, 400], relation="inverted")
    more = link(2, 4, [400, 200, 300, 400], (5, 5))
    (group,) = found(book(4), mirrored, negative, more).groups
    assert group.members[group.reference].image.id == 2
    told = {m.image.id: (m.relation, round(m.rotation)) for m in group.members}
    assert told == {1: ("mirrored", 0), 2: ("same", 0), 3: ("inverted", 0), 4: ("same", 0)}


def test_members_come_by_date_and_groups_by_size():
    album = book(5)
    album.metadata_of = {1: {"Date": "1560"}, 2: {"Date": "1538"}}
    made = found(album, link(4, 5, CUT), *clique((1, 2, 3)))
    assert [[m.image.id for m in group.members] for group in made.groups] == [[2, 1, 3], [4, 5]]
    assert [group.number for group in made.groups] == [1, 2]


def test_groups_are_read_by_other_programs(tmp_path):
    album = book(4)
    album.metadata_of = {1: {"printer": "Vérard & Cie"}}
    made = found(album, *clique((1, 2, 3)), link(3, 4, [500, 900, 200, 200], (10, 40)))
    file = tmp_path / "groups.graphml"
    file.write_text("".join(graphml(*group_graph(made.groups))), encoding="utf-8")
    graph = networkx.read_graphml(file)
    assert len(graph) == 5
    assert [len(part) for part in networkx.connected_components(graph)] == [3, 2]
    assert {values.get("printer") for _, values in graph.nodes(data=True)} == {None, "Vérard & Cie"}
    written = coco(group_findings(made.groups))
    assert [category["name"] for category in written["categories"]] == ["group 1", "group 2"]
    assert len(written["annotations"]) == 5
    assert group_as_dict(made.groups[0])["links"][0].keys() == {"a", "b", "false_alarms", "inliers"}


def test_nothing_is_grouped_where_there_are_no_links():
    assert found(book(3)).groups == []


def test_spots_are_where_the_evidence_is():
    rng = np.random.default_rng(1)
    large = rng.uniform(0, 100, (60, 2)) + np.array([700, 100])
    small = rng.uniform(0, 60, (25, 2)) + np.array([100, 900])
    astray = np.array([[20, 20], [500, 500], [900, 1200], [50, 1300]])
    points = np.concatenate([astray, small, large]).astype(np.float32)
    first, second = spots(points)
    assert set(first) == set(range(29, 89))
    assert set(second) == set(range(4, 29))
    assert [list(spot) for spot in spots(points[:3])] == [[0, 1, 2]]


def test_links_are_kept_until_their_images_go(tmp_path):
    records = {record.id: record for record in book(3).images()}
    rows = np.array([link(1, 2, CUT), link(1, 3, CUT, chance=1e-3)], LINK)
    with Links(tmp_path) as links:
        links.enter([(records[1], rows), (records[2], rows[:0])], -4.0)
    with Links(tmp_path) as links:
        assert links.asked() == {1: -4.0, 2: -4.0}
        assert links.read(1.0).tobytes() == rows.tobytes()
        assert len(links.read(1e-6)) == 1
        del records[3]
        links.sweep(records)
        assert links.read(1.0).tobytes() == rows[:1].tobytes()
        links.sweep({2: records[2], 1: records[2]})  # another image under the same id
        assert links.asked() == {2: -4.0}
        assert len(links.read(1.0)) == 0


@pytest.mark.parametrize(
    ("deformation", "agreement", "another"), [(0.01, 0.5, True), (0.01, 0.9, False), (0.0005, 0.5, False)]
)
def test_another_block_lies_elsewhere_and_has_other_lines(deformation, agreement, another):
    evidence = Evidence(400.0, deformation, 80, agreement, 0.5, 0.5, (0.3, 0.3), (2.0, 2.0), tonal=False)
    assert is_another_block(evidence) == another


def test_copies_are_parted_from_impressions(monkeypatch):
    """Pages 1 to 3 show one block, 4 and 5 a copy; 6 shows another copy, alone; 7 has gone."""
    block = {1: "a", 2: "a", 3: "a", 4: "b", 5: "b", 6: "c"}

    def read(path, page):
        number = int(path.stem[1:])
        if number == 7:
            raise InputError("gone")
        return block[number]

    monkeypatch.setattr(index.collating, "read_image", read)
    monkeypatch.setattr(index.collating, "collate", lambda a, b, match, region: SimpleNamespace(evidence=a != b))
    monkeypatch.setattr(index.collating, "is_another_block", bool)
    album = book(7)
    rows = [link(a, b, CUT, (a + b, 0), chance=10.0 ** -(70 - a - b)) for a, b in combinations(range(1, 8), 2)]
    rows = [link(a, b, CUT, (10 * (b - a), 0), chance=row[2]) for row in rows for a, b in [row[:2]]]
    made = found(album, *rows)
    assert members(made) == [[1, 2, 3, 4, 5, 6, 7]]
    told = []
    groups_left = parted(album, made.groups, lambda *done: told.append(done))
    assert [[m.image.id for m in group.members] for group in groups_left] == [[1, 2, 3, 7], [4, 5]]
    assert told == [(1, 1)]
    for group in groups_left:
        base = group.members[group.reference]
        for member in group.members:
            shift = member.transform.matrix[0, 2]
            assert shift == pytest.approx(10 * (member.image.id - base.image.id), abs=1e-6)
    album.said = [said(1, 4, "same")]
    assert next([m.image.id for m in g.members] for g in parted(album, found(album, *rows).groups)) == [1, 2, 3, 4, 7]

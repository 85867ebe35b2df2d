"""The truth files are read into one form: small ones made here show the rules, the real ones are all understood."""

import json
from collections import Counter

import pytest

from benchmarks.datasets import Place, data_folder, load
from matcher.errors import InputError
from matcher.types import Region

BOX = [10.0, 10.0, 50.0, 50.0]
LOOSE = [12.0, 8.0, 50.0, 52.0]
OTHER = [200.0, 200.0, 50.0, 50.0]


@pytest.fixture
def folder(tmp_path):
    """Three pages with one block in two impressions, and a picture set of two files."""
    impressions = [("p0.jpg", BOX), ("p1.jpg", BOX)]
    for name in ("pages", "alice", "magazine", "various"):
        (tmp_path / name).mkdir()
    (tmp_path / "various" / "z.jpg").touch()
    blocks = {
        "database": ["p0.jpg", "p1.jpg", "LesFaictzJCH2.jpg"],
        "queries": [
            {
                "id": f"blk-{i}",
                "kind": "initial",
                "part": ["dev", "test"][i],
                "image": impressions[i][0],
                "region": BOX,
                "positives": [{"image": impressions[1 - i][0], "region": BOX}],
            }
            for i in (0, 1)
        ],
        "unsure": [[{"image": "p1.jpg", "region": OTHER}, {"image": "p0.jpg", "region": LOOSE}]],
        "different_blocks": [[{"image": "p1.jpg", "region": OTHER}, {"image": "LesFaictzJCH2.jpg", "region": OTHER}]],
    }
    layout = [{"image": name, "part": "test"} for name in blocks["database"]]
    pictures = {
        "database": ["x.jpg", "y.jpg"],
        "queries": [
            {
                "id": "x",
                "part": "dev",
                "image": "x.jpg",
                "region": None,
                "positives": [{"image": "y.jpg", "region": [7, 8, 0.0, 0.0]}],
                "ignore": ["w.jpg"],
            }
        ],
    }
    (tmp_path / "pages" / "blocks.json").write_text(json.dumps(blocks))
    (tmp_path / "pages" / "layout.json").write_text(json.dumps(layout))
    for name in ("alice", "magazine"):
        (tmp_path / name / "groundtruth.json").write_text(json.dumps(pictures))
    return tmp_path


def test_pictures_are_named_from_the_root_and_ignore_their_own_file_and_empty_boxes(folder):
    dataset = load("alice", folder=folder)
    (query,) = dataset.queries
    assert dataset.images == ("alice/x.jpg", "alice/y.jpg")
    assert dataset.path("alice/x.jpg") == folder / "alice" / "x.jpg"
    assert query.positives == (Place("alice/y.jpg", None),)
    assert query.ignored == {"alice/x.jpg", "alice/w.jpg"}


def test_an_unsure_pair_is_found_by_its_loose_box_from_either_side(folder):
    first, second, *_ = load("blocks", folder=folder).queries
    assert first.unsure == (Place("pages/p1.jpg", Region(*OTHER)),)
    assert second.unsure == ()


def test_different_blocks_become_queries_both_ways(folder):
    queries = load("blocks", "test", folder=folder).queries[1:]
    assert [q.place.image for q in queries] == ["pages/p1.jpg", "pages/LesFaictzJCH2.jpg"]
    assert [q.different[0].image for q in queries] == ["pages/LesFaictzJCH2.jpg", "pages/p1.jpg"]
    assert all(q.positives == () for q in queries)


def test_a_part_chooses_queries_and_leaves_the_collection_whole(folder):
    dev = load("blocks", "dev", folder=folder)
    assert [q.id for q in dev.queries] == ["blk-0"]
    assert len(dev.images) == 3


def test_all_holds_every_set_and_the_distractors(folder):
    dataset = load("all", folder=folder)
    assert len(dataset.images) == 3 + 2 + 2 + 1
    assert dataset.images[-1] == "various/z.jpg"
    assert len({q.id for q in dataset.queries}) == len(dataset.queries)
    assert {q.groups[0] for q in dataset.queries} == {"blocks", "alice", "magazine"}


@pytest.mark.parametrize(("name", "part", "named"), [("block", "all", "'block'"), ("alice", "train", "'train'")])
def test_unknown_names_are_refused_with_the_choices(folder, name, part, named):
    with pytest.raises(InputError, match=f"{named}: choose one of"):
        load(name, part, folder=folder)


def test_a_folder_without_the_data_says_what_to_set(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="set CALQUE_DATA"):
        load("alice", folder=tmp_path)
    monkeypatch.setenv("CALQUE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"nowhere.*set CALQUE_DATA"):
        load("alice")


@pytest.fixture(scope="module")
def real():
    try:
        return data_folder()
    except InputError as error:
        pytest.skip(f"needs the image sets: {error}")


@pytest.mark.parametrize(
    ("name", "images", "queries"), [("blocks", 297, 64), ("alice", 177, 172), ("magazine", 251, 92)]
)
def test_the_real_sets_are_whole(real, name, images, queries):
    dataset = load(name, folder=real)
    asked = [q for q in dataset.queries if q.positives]
    assert (len(dataset.images), len(asked)) == (images, queries)
    assert len({q.id for q in dataset.queries}) == len(dataset.queries)
    names = set(dataset.images)
    for query in dataset.queries:
        assert dataset.path(query.place.image).is_file()
        assert {p.image for p in query.positives} <= names - query.ignored


def test_the_real_blocks_come_in_the_groups_reported(real):
    groups = Counter(group for q in load("blocks", folder=real).queries if q.positives for group in q.groups)
    assert groups == {"illustration": 38, "initial": 23, "ornament": 3, "two editions": 34, "other books": 30}

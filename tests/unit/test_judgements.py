"""Which judgements stand, what they oblige groups to, how files hold them, and the ground truth that they are."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.annotations import Judgement
from index.evaluation import THRESHOLDS, evaluate
from index.judgements import (
    cannot_link,
    judgement_as_dict,
    must_link,
    named_as_indexed,
    read_decisions,
    sides,
    standing,
)
from index.store import Index
from index.truth import evaluate_index, judged_truth, read_truth
from matcher.errors import InputError
from matcher.types import Region

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Collection

BOX = Region(100, 100, 200, 200)
NEAR = Region(110, 110, 200, 200)
ELSEWHERE = Region(500, 500, 100, 100)


def judged(a: str, b: str, verdict: Any = "same", **others: Any) -> Judgement:
    return replace(Judgement(a, 0, None, b, 0, None, verdict), **others)


def numbered(*judgements: Judgement) -> list[Judgement]:
    return [replace(item, id=number) for number, item in enumerate(judgements, start=1)]


# Which stand


@pytest.mark.parametrize(
    ("later", "replaces"),
    [
        ({"verdict": "different"}, True),
        ({"region_a": NEAR}, True),
        ({"region_a": ELSEWHERE}, False),
        ({"region_a": None}, False),
        ({"page_b": 1}, False),
        ({"name_b": "c"}, False),
        ({"name_a": "b", "name_b": "a", "region_a": None, "region_b": NEAR}, True),
        ({"name_a": "b", "name_b": "a", "region_a": NEAR, "region_b": None}, False),
    ],
)
def test_the_last_judgement_of_a_pair_stands(later: dict[str, Any], replaces: bool) -> None:
    first = judged("a", "b", region_a=BOX)
    given = numbered(first, replace(first, **later))
    assert standing(given) == (given[1:] if replaces else given)


@given(st.lists(st.tuples(*[st.sampled_from("abc")] * 2, st.sampled_from(["same", "different"])), max_size=12))
def test_of_every_pair_exactly_the_last_stands(pairs: list[tuple[str, str, str]]) -> None:
    given = numbered(*(judged(a, b, verdict) for a, b, verdict in pairs))
    last = {frozenset([item.name_a, item.name_b]): item for item in given}
    assert standing(given) == sorted(last.values(), key=lambda item: item.id)


# What they mean to an index


@pytest.fixture
def index(scans_index: Path, tmp_path: Path) -> Index:
    """A copy of the index of the collection, open for writing."""
    with Index.open(shutil.copytree(scans_index, tmp_path / "own.calque"), writable=True) as opened:
        yield opened


@pytest.mark.compiled
def test_groups_are_told_what_to_join_and_what_to_keep_apart(index: Index) -> None:
    a, b, c = "scans/a/camera.jpg", "scans/b/coins.jpg", "scans/a/brick.jpg"
    index.add_judgements(
        [
            judged(a, b, "different"),
            judged(b, a, "same"),
            judged(a, c, "different", region_a=BOX, region_b=NEAR),
            judged(b, c, "unsure"),
            judged(a, "elsewhere.jpg"),
        ]
    )
    (joined,) = must_link(index)
    assert (joined.a.name, joined.b.name, joined.region_a) == (b, a, Region(0, 0, 720, 960))
    (apart,) = cannot_link(index)
    assert (apart.a.name, apart.region_a, apart.b.name, apart.region_b) == (a, BOX, c, NEAR)
    index.remove([c])
    assert cannot_link(index) == []


@pytest.mark.compiled
def test_images_are_called_as_the_index_calls_them(
    index: Index, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(collection.folder)
    path = str(collection.page("a/camera.jpg"))
    given = [judged(path, "b/coins.jpg"), judged("scans/a/camera.jpg", "no/such.jpg")]
    named = named_as_indexed(index, given)
    assert [[side.name for side in sides(item)] for item in named] == [
        ["scans/a/camera.jpg", "scans/b/coins.jpg"],
        ["scans/a/camera.jpg", "no/such.jpg"],
    ]


@pytest.mark.compiled
def test_judgements_outlive_their_images(index: Index, collection: Collection) -> None:
    name = "scans/a/camera.jpg"
    index.add_judgements([judged(name, "scans/b/coins.jpg", note="worn")])
    index.remove([name])
    index.compact()
    assert must_link(index) == []
    index.add([collection.folder / "a" / "camera.jpg"], workers=0)
    index.compact()
    (kept,) = index.judgements()
    assert (kept.note, kept.verdict) == ("worn", "same")


# Files


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    given = [
        judged(os.fsdecode(b"caf\xe9.jpg"), "a <b>.jpg", "unsure", region_a=BOX, page_b=3, note="é", author="M. D."),
        judged("a", "b", time="2026-11-22T10:00:00Z"),
    ]
    path = tmp_path / "decisions.jsonl"
    lines = [json.dumps(judgement_as_dict(item)) for item in given]
    path.write_text("\ufeff" + lines[0] + "\r\n\n" + lines[1] + "\n", encoding="utf-8")
    assert read_decisions(path) == given


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2"),
        ("[]", "no JSON object"),
        ('{"image_a": "a", "image_b": "b", "verdict": "equal"}', "'equal' is none of same"),
        ('{"image_a": "a", "verdict": "same"}', "image_b"),
        ('{"image_a": "a", "image_b": "b\\u0000", "verdict": "same"}', "image_b"),
        ('{"image_a": "a", "image_b": "b", "verdict": "same", "page_a": -1}', "page_a -1"),
        ('{"image_a": "a", "image_b": "b", "verdict": "same", "page_a": true}', "page_a True"),
        ('{"image_a": "a", "image_b": "b", "verdict": "same", "region_a": [1, 2, 3]}', "region_a"),
        ('{"image_a": "a", "image_b": "b", "verdict": "same", "region_b": [1, 2, 0, 3]}', "positive size"),
        ('{"image_a": "a", "image_b": "b", "verdict": "same", "note": 3}', "texts"),
        ('{"image_a": "a", "image_b": "b", "verdict": "same", "imgae": 3}', "unknown key 'imgae'"),
    ],
)
def test_a_line_that_is_no_decision_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(f"{json.dumps(judgement_as_dict(judged('a', 'b')))}\n{line}\n")
    with pytest.raises(InputError, match="line 2") as error:
        read_decisions(path)
    assert complaint in str(error.value)


# Ground truth


@pytest.mark.compiled
def test_what_is_the_same_as_the_same_is_the_same(index: Index) -> None:
    a, b, c, d = (f"scans/{name}.jpg" for name in ("a/camera", "b/coins", "a/brick", "b/astronaut"))
    index.add_judgements(
        [
            judged(a, b, region_a=BOX),
            judged(c, a, region_b=NEAR),
            judged(d, a, "different", region_b=BOX),
            judged("photo.jpg", d),
        ]
    )
    truth = judged_truth(index)
    assert truth["complete"] is False
    told = {query["image"]: query for query in truth["queries"]}
    assert {place["image"] for place in told[a]["positives"]} == {b, c}
    assert {place["image"] for place in told[b]["positives"]} == {a, c}
    assert [place["image"] for place in told[a]["different"]] == [d]
    assert [place["image"] for place in told["photo.jpg"]["positives"]] == [d]
    assert told[d]["positives"] == []
    assert told[a]["region"] == BOX.as_list()


@pytest.mark.compiled
def test_only_what_is_judged_counts(index: Index, collection: Collection, photograph: Path) -> None:
    right = "scans/a/camera.jpg"
    wrong = "scans/b/coins.jpg"
    index.add_judgements([judged(str(photograph), right), judged(str(photograph), wrong, "different")])
    figures = evaluate_index(index, judged_truth(index))
    assert figures["failed"] == []
    # The page itself is asked for too, but its photograph is in no index: no query.
    assert (figures["queries"], figures["map"], figures["recall_at_1"]) == (1, 1.0, 1.0)
    at = {row["false_alarms"]: row for row in figures["thresholds"]}
    assert list(at) == list(THRESHOLDS)
    assert (at[1e-3]["right"], at[1e-3]["wrong"], at[1e-3]["precision"], at[1e-3]["recall"]) == (1, 0, 1.0, 1.0)


@pytest.mark.compiled
def test_a_truth_names_images_by_path_too(
    index: Index, collection: Collection, photograph: Path, tmp_path: Path
) -> None:
    truth = {
        "queries": [
            {
                "image": str(photograph),
                "part": "dev",
                "positives": [
                    {"image": "a/camera.jpg", "region": collection.boxes["a/camera.jpg"]},
                    {"image": "no/such.jpg", "region": [0, 0, 0, 0]},
                ],
                "ignore": ["b/coins.jpg"],
            },
            {"id": "gone", "image": "gone.jpg", "region": None, "positives": [{"image": "scans/b/coins.jpg"}]},
            {"id": "other", "image": "gone.jpg", "part": "test", "positives": []},
        ]
    }
    path = collection.folder / "truth.json"
    path.write_text(json.dumps(truth))
    figures = evaluate_index(index, read_truth(path), collection.folder)
    path.unlink()
    assert (figures["queries"], figures["absent"], figures["map"], figures["located"]) == (1, 1, 1.0, 1.0)
    assert [failure["query"] for failure in figures["failed"]] == ["gone"]
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate_index(index, truth, collection.folder, part="test")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"image": "a", "positives": [3]},
        {"image": "a", "positives": [{"image": "b", "region": [1, 2]}]},
        {"image": "a", "positives": [{"image": "b", "region": "x"}]},
        {"image": "a", "page": -1, "positives": []},
        [],
    ],
)
@pytest.mark.compiled
def test_a_truth_without_sense_is_refused(index: Index, query: Any) -> None:
    with pytest.raises(InputError, match="no sense"):
        evaluate_index(index, {"queries": [query]})


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"queries": []}', '{"queries": {}}'])
def test_a_file_that_is_no_truth_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"truth\.json"):
        read_truth(path)


def test_without_answers_there_are_no_figures_but_no_error() -> None:
    assert evaluate([], {})["map"] is None

"""The benchmark's figures, on cases small enough to work out by hand."""

import pytest

from benchmarks.datasets import Dataset, Place, TruthQuery
from benchmarks.metrics import Found, average_precision, evaluate, judge
from matcher.types import Region

BOX = Region(100, 100, 100, 100)
AT_BOX = [100.0, 100.0, 100.0, 100.0]
ELSEWHERE = [500.0, 500.0, 100.0, 100.0]


def query(name="q", positives=("a", "b"), *, region=BOX, ignored=(), unsure=(), different=(), groups=()):
    return TruthQuery(
        id=name,
        place=Place("own", None),
        part="dev",
        groups=tuple(groups),
        positives=tuple(Place(image, region) for image in positives),
        ignored=frozenset(["own", *ignored]),
        unsure=tuple(unsure),
        different=tuple(different),
    )


def figures(answers, *queries, tmp_path=None):
    return evaluate(Dataset("hand-made", tmp_path, ("a", "b", "c", "d", "own"), queries), answers)


@pytest.mark.parametrize(
    ("right", "positives", "expected"),
    [
        ([True, True], 2, 1.0),
        ([False, True], 1, 1 / 2),
        ([True, False, True], 2, (1 + 2 / 3) / 2),
        ([True], 4, 1 / 4),
        ([], 3, 0.0),
        ([False, False], 2, 0.0),
    ],
)
def test_average_precision_by_hand(right, positives, expected):
    assert average_precision(right, positives) == pytest.approx(expected)


@pytest.mark.parametrize(("right", "positives"), [([True, True], 1), ([], 0)])
def test_average_precision_refuses_impossible_counts(right, positives):
    with pytest.raises(ValueError, match="right answers of"):
        average_precision(right, positives)


def test_a_perfect_answer_scores_one_everywhere():
    result = figures({"q": [("a", 9.0, 1e-9, AT_BOX), ("b", 5.0, 1e-5, AT_BOX)]}, query())
    for name in ("map", "recall_at_1", "recall_zero_wrong", "recall_zero_wrong_per_query", "recall_confident"):
        assert result[name] == 1.0, name
    assert (result["confident_hits"], result["confident_wrong"]) == (2, 0)
    assert (result["located"], result["median_iou"]) == (1.0, 1.0)
    assert (result["wrong"], result["lost"]) == ([], [])


def test_ranking_uses_the_score_and_not_the_order_given():
    result = figures({"q": [("c", 1.0), ("b", 2.0), ("a", 3.0)]}, query())
    assert (result["map"], result["recall_at_1"]) == (1.0, 1.0)


def test_wrong_images_win_ties():
    result = figures({"q": [("a", 2.0), ("c", 2.0)]}, query(positives=["a"]))
    assert (result["map"], result["recall_at_1"], result["recall_zero_wrong"]) == (0.5, 0.0, 0.0)


def test_one_image_counts_once_with_its_best_score():
    hits = [("c", 3.0), ("c", 2.5), ("c", 2.0), ("a", 1.0), ("a", 0.5)]
    assert figures({"q": hits}, query(positives=["a"]))["map"] == pytest.approx(1 / 2)


def test_own_file_and_ignored_files_are_neither_right_nor_wrong():
    hits = [("own", 9.0, 1e-9, None), ("d", 8.0, 1e-8, None), ("a", 7.0, 1e-7, None)]
    result = figures({"q": hits}, query(positives=["a"], ignored=["d"]))
    assert (result["map"], result["confident_hits"], result["confident_wrong"]) == (1.0, 1, 0)


def test_a_missing_answer_counts_as_nothing_found():
    result = figures({"p": [("a", 1.0, 1e-9, None)]}, query("p", ["a"]), query("q", ["b"]))
    assert (result["map"], result["recall_at_1"], result["recall_confident"]) == (0.5, 0.5, 0.5)
    assert result["lost"] == [{"query": "q", "image": "b"}]


def test_one_threshold_for_all_queries_is_stricter_than_one_for_each():
    answers = {
        "p": [("a", 10.0), ("c", 4.0)],
        "q": [("a", 3.0), ("c", 1.0), ("b", 0.5)],
    }
    result = figures(answers, query("p", ["a"]), query("q", ["a", "b"]))
    assert result["recall_zero_wrong"] == pytest.approx(1 / 3)
    assert result["recall_zero_wrong_per_query"] == pytest.approx(2 / 3)


def test_confidence_is_at_most_one_in_a_thousand():
    hits = [("a", 9.0, 1e-3, AT_BOX), ("b", 8.0, 1.1e-3, AT_BOX), ("c", 7.0, 1e-3, None), ("d", 6.0, 0.5, None)]
    result = figures({"q": hits}, query())
    assert result["recall_confident"] == 0.5
    assert (result["confident_hits"], result["confident_wrong"]) == (2, 1)
    assert [w["image"] for w in result["wrong"]] == ["c"]


def test_a_right_page_at_a_wrong_place_ranks_as_right_but_is_a_wrong_hit():
    result = figures({"q": [("a", 9.0, 1e-9, ELSEWHERE)]}, query(positives=["a"]))
    assert result["map"] == 1.0
    assert (result["recall_confident"], result["confident_wrong"], result["located"]) == (0.0, 1, 0.0)


def test_a_loose_place_is_right_but_not_located():
    shifted = [150.0, 100.0, 100.0, 100.0]  # half of each box is shared: IoU 1/3
    result = figures({"q": [("a", 9.0, 1e-9, shifted)]}, query(positives=["a"]))
    assert (result["confident_wrong"], result["recall_confident"], result["located"]) == (0, 1.0, 0.0)
    assert result["median_iou"] == pytest.approx(1 / 3)


def test_location_is_judged_above_the_first_wrong_image_only():
    hits = [("a", 9.0, None, AT_BOX), ("c", 8.0, None, AT_BOX), ("b", 7.0, None, ELSEWHERE)]
    assert figures({"q": hits}, query())["located"] == 1.0


def test_location_is_unknown_where_the_truth_has_no_box():
    result = figures({"q": [("a", 9.0, 1e-9, AT_BOX)]}, query(positives=["a"], region=None))
    assert (result["recall_confident"], result["located"], result["median_iou"]) == (1.0, None, None)


def test_unsure_places_are_left_out_but_the_rest_of_their_page_is_not():
    asked = query(positives=["a"], unsure=[Place("c", BOX)])
    assert judge(asked, Found("c", 1.0, region=AT_BOX)) == "ignored"
    assert judge(asked, Found("c", 1.0, region=ELSEWHERE)) == "wrong"


def test_a_look_alike_is_wrong_even_beside_a_right_answer():
    asked = query(positives=["a"], different=[Place("a", Region(500, 500, 100, 100))])
    assert judge(asked, Found("a", 1.0, region=AT_BOX)) == "right"
    assert judge(asked, Found("a", 1.0, region=ELSEWHERE)) == "wrong"


def test_a_query_without_right_answers_only_judges_its_look_alike():
    asked = query(positives=[], different=[Place("c", BOX)])
    result = figures({"q": [("c", 9.0, 1e-9, AT_BOX), ("d", 8.0, 1e-8, None)]}, asked)
    assert (result["queries"], result["map"], result["confident_wrong"]) == (0, None, 1)


def test_groups_are_reported_apart():
    result = figures({"p": [("a", 1.0)]}, query("p", ["a"], groups=["initial"]), query("q", ["a"], groups=["ornament"]))
    assert result["groups"]["initial"]["map"] == 1.0
    assert result["groups"]["ornament"]["map"] == 0.0


def test_answers_to_unknown_queries_are_refused():
    with pytest.raises(ValueError, match=r"does not have.*'x'"):
        figures({"x": []}, query())

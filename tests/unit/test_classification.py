"""Classes learned from vectors: what is learned, how sure it says to be, what stays on one side of a fold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from matcher.active_learning import suggested, uncertainty
from matcher.calibration import (
    Calibration,
    best_calibration,
    brier_score,
    calibration_error,
    fit_calibration,
    log_loss,
    reliability,
)
from matcher.class_figures import average_precision, class_figures
from matcher.classification import Classifier, LearningSettings, cross_validate, decided, learn, zero_shot
from matcher.errors import InputError, SettingsMismatch
from matcher.folds import joined, make_folds, near_duplicates, numbered, small_print

QUICK = LearningSettings(strengths=(0.1, 10.0), folds=3)


def clouds(classes=3, each=12, size=24, spread=0.25, seed=0):
    """Return unit vectors around one direction for each class, and which class each has."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, size))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = np.repeat(centres, each, axis=0) + spread * random.normal(size=(classes * each, size))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    truth = np.repeat(np.eye(classes, dtype=bool), each, axis=0)
    return vectors.astype(np.float32), truth


@pytest.mark.parametrize(("classes", "kind"), [(2, "binary"), (3, "multiclass")])
@pytest.mark.parametrize("size", [6, 200])
def test_five_examples_a_class_are_enough_for_what_lies_apart(classes, kind, size):
    vectors, truth = clouds(classes, 25, size, 0.5 / size**0.5)
    few = np.concatenate([np.flatnonzero(column)[:5] for column in truth.T])
    names = [f"class {place}" for place in range(classes)]
    made = learn(vectors[few], truth[few], names, kind, "vectors-1()")
    rest = np.setdiff1d(np.arange(len(truth)), few)
    probabilities = made.probabilities(vectors[rest])
    assert made.exclusive
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (decided(probabilities, True) == truth[rest]).all(axis=1).mean() > 0.95


def test_a_picture_may_have_several_classes_or_none():
    random = np.random.default_rng(1)
    truth = random.random((120, 3)) < 0.4
    vectors = truth @ random.normal(size=(3, 16)) + 0.2 * random.normal(size=(120, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = cross_validate(vectors, truth, ["a", "b", "c"], "multilabel", settings=QUICK)
    figures = class_figures(found.probabilities, truth, ["a", "b", "c"], False)
    assert figures["macro_f1"] > 0.85
    assert np.shape(figures["confusion"]) == (3, 2, 2)
    assert found.probabilities.sum(axis=1).max() > 1.2


def test_what_means_nothing_is_told_no_better_than_by_chance_and_without_being_sure():
    """Groups of copies, whose labels mean nothing: whoever divides them between folds finds them told rightly."""
    random = np.random.default_rng(2)
    rows = np.repeat(random.normal(size=(40, 60)), 4, axis=0) + 0.01 * random.normal(size=(160, 60))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = np.repeat(np.arange(40) % 2 == 0, 4)
    truth = np.column_stack([labels, ~labels])
    groups = np.repeat(np.arange(40), 4)
    kept = cross_validate(rows, truth, ["a", "b"], "binary", groups, QUICK)
    parted = cross_validate(rows, truth, ["a", "b"], "binary", None, QUICK)
    accuracy = [(decided(one.probabilities, True) == truth).all(axis=1).mean() for one in (kept, parted)]
    assert accuracy[0] < 0.7 < 0.95 < accuracy[1]
    assert log_loss(kept.probabilities, truth, True) < 1.0  # whoever is always unsure pays 0.69


@pytest.mark.parametrize(("count", "message"), [(4, "4 examples of 'b'; give at least 5"), (0, "0 examples of 'b'")])
def test_too_few_examples_are_refused_by_name(count, message):
    vectors, truth = clouds(2, 8)
    keep = np.r_[0:8, 8 : 8 + count]
    with pytest.raises(InputError, match=message):
        learn(vectors[keep], truth[keep], ["a", "b"], "binary", "x")


def test_a_class_of_one_document_cannot_be_tested():
    vectors, truth = clouds(2, 8)
    groups = np.r_[0:8, np.full(8, 8)]
    with pytest.raises(InputError, match="all 8 examples of 'b' are of one group"):
        learn(vectors, truth, ["a", "b"], "binary", "x", groups)


def test_vectors_of_another_embedder_are_refused_and_both_are_named():
    vectors, truth = clouds(2, 8)
    made = learn(vectors, truth, ["a", "b"], "binary", "palette-1(side=160)", settings=QUICK)
    made.require("palette-1(side=160)")
    with pytest.raises(SettingsMismatch, match=r"palette-1\(side=160\).*palette-1\(side=90\)"):
        made.require("palette-1(side=90)")


def test_learning_in_the_span_of_few_long_vectors_is_learning_with_all_of_them():
    """Of fewer vectors than dimensions only the span counts: turning the space changes nothing."""
    vectors, truth = clouds(3, 8, 60, 0.1)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(60, 60)))[0]
    plain, turned = (
        learn(rows, truth, ["a", "b", "c"], "multiclass", "x", settings=QUICK) for rows in (vectors, vectors @ turn)
    )
    np.testing.assert_allclose(plain.probabilities(vectors), turned.probabilities(vectors @ turn), atol=2e-3)


def test_words_alone_tell_classes_where_texts_lie_among_their_pictures():
    vectors, truth = clouds(3, 10)
    texts = [vectors[column][:3] for column in truth.T]
    made = zero_shot("clip-1()", texts, ["a", "b", "c"], "multiclass")
    assert (decided(made.probabilities(vectors), True) == truth).all()
    assert made.calibration.method == "none"


def scores_too_sure(n=600, factor=4.0, seed=0):
    """Return logits that are `factor` times too large for how often they are right, and what is true."""
    random = np.random.default_rng(seed)
    fair = random.normal(size=(n, 3)) * 1.5
    chances = np.exp(fair) / np.exp(fair).sum(axis=1, keepdims=True)
    right = np.array([random.choice(3, p=row) for row in chances])
    return fair * factor, np.eye(3, dtype=bool)[right]


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_calibration_makes_probabilities_mean_what_they_say(method):
    scores, truth = scores_too_sure()
    half = slice(0, 300)
    fitted = fit_calibration(method, scores[half], truth[half], True)
    before = Calibration.none(3).probabilities(scores[300:], True)
    after = fitted.probabilities(scores[300:], True)
    assert calibration_error(after, truth[300:], True) < 0.5 * calibration_error(before, truth[300:], True)
    assert brier_score(after, truth[300:], True) < brier_score(before, truth[300:], True)


def test_a_temperature_is_found():
    scores, truth = scores_too_sure(3000)
    fitted = fit_calibration("temperature", scores, truth, True)
    assert fitted.slopes[0] == pytest.approx(0.25, rel=0.1)


def test_the_calibration_is_the_best_on_what_it_has_not_seen_and_none_for_a_handful():
    scores, truth = scores_too_sure()
    folds = np.arange(600) % 5
    chosen, probabilities = best_calibration(scores, truth, True, folds)
    assert chosen.method in ("temperature", "platt")  # too few for isotonic regression
    assert calibration_error(probabilities, truth, True) < 0.07
    handful, _ = best_calibration(scores[:12], truth[:12], True, folds[:12])
    assert handful.method == "none"


def test_slopes_of_several_labels_are_those_of_each_alone():
    """What L-BFGS minimises and its gradient agree, also where classes do not exclude each other."""
    random = np.random.default_rng(4)
    scores = random.normal(size=(500, 2)) * 3
    truth = random.random((500, 2)) < 1 / (1 + np.exp(-scores * [0.5, 1.5] - [1.0, -1.0]))
    both = fit_calibration("platt", scores, truth, False)
    for place in range(2):
        alone = fit_calibration("platt", scores[:, [place]], truth[:, [place]], False)
        assert both.slopes[place] == pytest.approx(alone.slopes[0], rel=0.03)
        assert both.offsets[place] == pytest.approx(alone.offsets[0], rel=0.05)
    assert both.slopes == pytest.approx([0.5, 1.5], rel=0.3)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 5),
    st.integers(1, 60),
    st.booleans(),
    st.sampled_from(["none", "temperature", "platt", "isotonic"]),
    st.integers(0, 999),
)
def test_whatever_the_scores_probabilities_are_probabilities(classes, n, exclusive, method, seed):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(n, classes)) * 10 ** random.uniform(-3, 3)
    truth = np.eye(classes, dtype=bool)[random.integers(0, classes, n)]
    found = fit_calibration(method, scores, truth, exclusive).probabilities(scores * 2, exclusive)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-9
    if exclusive:
        np.testing.assert_allclose(found.sum(axis=1), 1)
    assert 0 <= calibration_error(found, truth, exclusive) <= 1
    answers = n if exclusive else n * classes
    assert sum(row.answers for row in reliability(found, truth, exclusive)) == answers


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(2, 7), st.integers(0, 9999))
def test_no_group_is_divided_and_every_fold_can_be_learned_without(classes, folds, seed):
    random = np.random.default_rng(seed)
    n = int(random.integers(10, 80))
    truth = random.random((n, classes)) < 0.5
    groups = random.integers(0, int(random.integers(6, 30)), n)
    if min(len(np.unique(groups[column])) for column in truth.T) < 2:
        with pytest.raises(InputError, match="are of one group"):
            make_folds(truth, groups, folds, list("abcd"[:classes]))
        return
    found = make_folds(truth, groups, folds, list("abcd"[:classes]))
    assert found.max() < folds
    assert all(len(np.unique(found[groups == group])) == 1 for group in np.unique(groups))
    assert len(np.unique(found)) >= 2


def test_folds_have_their_share_of_each_class():
    truth = np.repeat(np.eye(3, dtype=bool), [100, 30, 10], axis=0)
    found = make_folds(truth, np.arange(140), 5, ["a", "b", "c"])
    shares = np.array([[truth[found == fold, place].sum() for place in range(3)] for fold in range(5)])
    assert (np.abs(shares - [20, 6, 2]) <= 1).all()


def test_copies_are_of_one_group_and_others_are_not():
    pictures = [np.asarray(getattr(data, name)()) for name in ("astronaut", "chelsea", "coffee")]
    worn = np.clip(pictures[1][4:-2, 1:-3] * 0.8 + 20, 0, 255).astype(np.uint8)[::2, ::2]
    blank = np.full((50, 50), 200, np.uint8)
    prints = np.stack([small_print(one) for one in (*pictures, worn, blank, blank)])
    found = near_duplicates(prints)
    assert found[1] == found[3]
    assert len(set(found.tolist())) == 5  # two blank pages are not copies of each other


def test_groups_that_share_a_member_are_joined():
    found = joined(np.array([0, 0, 1, 2, 3]), numbered(["x", "y", "y", "z", "w"]))
    assert found.tolist() == [found[0]] * 3 + [found[3], found[4]]
    assert len(set(found.tolist())) == 3


def test_suggested_are_unsure_pictures_each_of_another_kind():
    corners = np.eye(4, dtype=np.float32)
    vectors = np.repeat(corners, 3, axis=0)
    unsure = np.array([0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.1, 0.1, 0.1, 1.0, 1.0, 1.0])
    chosen = suggested(unsure, vectors, 10, known=corners[3:])
    assert [place // 3 for place in chosen] == [0, 1, 2]  # no copies; the fourth kind has a label


def test_uncertainty_is_of_the_margin():
    sure = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.4, 0.3, 0.3]])
    assert uncertainty(sure, True) == pytest.approx([0.0, 1.0, 0.9])
    assert uncertainty(np.array([[0.5, 0.99], [0.9, 0.1]]), False) == pytest.approx([1.0, 0.2])


def test_figures_are_those_counted_by_hand():
    truth = np.eye(2, dtype=bool)[[0, 0, 0, 1, 1]]
    sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.6, 0.4]])
    figures = class_figures(sure, truth, ["a", "b"], True)
    assert figures["accuracy"] == pytest.approx(3 / 5)
    assert figures["confusion"] == [[2, 1], [1, 1]]
    a, b = figures["classes"]
    assert (a["precision"], a["recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert b["f1"] == pytest.approx(1 / 2)
    assert a["average_precision"] == pytest.approx((1 + 1 + 3 / 5) / 3)
    assert figures["brier"] == pytest.approx(2 * (0.01 + 0.04 + 0.49 + 0.16 + 0.36) / 5)
    assert average_precision(np.ones(4), np.array([True, False, False, False])) == pytest.approx(1 / 4)
    assert average_precision(np.ones(2), np.zeros(2, bool)) is None


def test_a_head_that_does_not_fit_its_classes_is_refused():
    with pytest.raises(ValueError, match="2 classes, but weights"):
        Classifier(("a", "b"), "binary", "x", np.zeros((3, 4)), np.zeros(3), Calibration.none(3))

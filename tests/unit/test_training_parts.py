"""What training is made of: tiles, weights to start from, scores fitted, crowds, runs that go on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.average_precision import figures_of, matched, shared_of
from index.learning import Course, Pace, run
from matcher._onnx import convolutions, describe, with_metadata
from matcher.detection import Detection
from matcher.errors import InputError
from matcher.layout_network import WEIGHTS
from matcher.schedule import Schedule
from matcher.score_calibration import best_threshold, calibrated, fitted
from matcher.tiles import blended
from matcher.trained import Card, card_of, with_card
from matcher.types import Region


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_tiles_say_of_an_image_what_one_look_would(high, wide, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (high, wide, 3), dtype=np.uint8)
    bands = list(blended(pixels, lambda tile: tile[..., :2].transpose(2, 0, 1).astype(np.float32), 96, 32))
    assert [top for top, _ in bands] == np.cumsum([0, *(band.shape[1] for _, band in bands[:-1])]).tolist()
    whole = np.concatenate([band for _, band in bands], axis=1)
    np.testing.assert_allclose(whole, pixels[..., :2].transpose(2, 0, 1), atol=0.01)


def test_no_seam_where_tiles_know_less_at_their_edges():
    pixels = np.zeros((200, 420, 3), np.uint8)
    edge = np.minimum(np.arange(96), np.arange(96)[::-1])
    unsure = np.minimum.outer(edge, edge)[None].astype(np.float32) < 4
    whole = np.concatenate([band for _, band in blended(pixels, lambda _: unsure * 1.0, 96, 32)], axis=1)[0]
    assert whole[12:-12, 12:-12].max() < 0.25  # what is unsure lies at the edge of a tile, and counts little there


def test_the_network_starts_from_what_it_knows_of_pages():
    torch = pytest.importorskip("torch")
    from matcher.region_model import RegionModel, start_from

    known = convolutions(WEIGHTS.read_bytes())
    model = RegionModel(3, 2)
    start_from(model, known)
    assert torch.equal(model.stem[0].weight, torch.from_numpy(known[0][0]))
    assert float(model.small.said.bias[0].detach()) == -4.0  # kinds are not carried over
    with pytest.raises(ValueError, match="not those"):
        start_from(model, known[1:])


def test_the_network_in_torch_says_what_opencv_says():
    torch = pytest.importorskip("torch")
    import cv2

    from matcher.pixel_model import PixelModel, start_pixels_from
    from matcher.region_learning import exported

    torch.manual_seed(3)
    model = PixelModel(3).eval()
    pixels = np.random.default_rng(3).random((1, 3, 64, 96), np.float32)
    data = exported(model, ["classes"])
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(pixels)
    again = PixelModel(3, normed=False)
    start_pixels_from(again, convolutions(data))
    with torch.no_grad():
        expected = model(torch.from_numpy(pixels)).numpy()
        from_file = again(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(net.forward("classes"), expected, atol=1e-4)
    np.testing.assert_allclose(from_file, expected, atol=1e-4)
    with pytest.raises(ValueError, match="not those"):
        start_pixels_from(again, convolutions(WEIGHTS.read_bytes()))


def test_what_is_mistaken_is_part_of_what_a_run_goes_on_with(monkeypatch):
    pytest.importorskip("torch")
    from matcher import region_learning
    from matcher.augmentation import Example

    def sees(_learner: object, _scan: object) -> list[Detection]:
        wrong, touching, unsure = Region(60, 60, 20, 10), Region(40, 30, 30, 30), Region(5, 70, 10, 10)
        return [Detection(wrong, "block", 0.6), Detection(touching, "block", 0.5), Detection(unsure, "block", 0.01)]

    monkeypatch.setattr(region_learning.RegionLearner, "detect", sees)
    rng = np.random.default_rng(4)
    pages = []
    for _ in range(2):
        pixels = rng.integers(200, 255, (96, 96, 3), dtype=np.uint8)
        pixels[20:44, 30:60] = 40
        box = np.array([[30.0, 20], [60, 20], [60, 44], [30, 44]])
        pages.append(Example(pixels, np.zeros(1, np.int64), ((box,),), np.ones(1, bool)))

    def fresh() -> region_learning.RegionLearner:
        schedule = Schedule(steps=16, batch=2, side=64, turns="any")
        readers = [lambda page=page: page for page in pages]
        return region_learning.RegionLearner(readers, [page.kinds for page in pages], ["block"], 96, schedule)

    one, other = fresh(), fresh()
    assert one.state()["mistakes"].shape == (0, 5)
    for step in range(3):
        one.learn(step)
    assert sorted(one.state()["mistakes"].tolist()) == [[number, 60, 60, 80, 70] for number in (0, 1)]
    other.restore(one.state())
    assert other.learn(3) == one.learn(3)


def test_a_card_is_read_as_it_was_written():
    card = Card("regions", ("stamp", "étiquette"), 512, 0.4, (1.5, -0.25), {"seed": 3})
    model = with_card(WEIGHTS.read_bytes(), card)
    assert card_of(model) == card
    assert json.loads(describe(model).metadata["names"]) == {"0": "stamp", "1": "étiquette"}
    assert card_of(WEIGHTS.read_bytes()) is None
    with pytest.raises(InputError, match="damaged"):
        card_of(with_metadata(WEIGHTS.read_bytes(), {"calque": '{"version": 1}'}))
    with pytest.raises(InputError, match="damaged"):
        card_of(b"no model")


def test_fitted_scores_are_chances():
    rng = np.random.default_rng(1)
    chances = rng.uniform(0.02, 0.98, 4000)
    right = rng.random(4000) < chances
    logits = np.log(chances / (1 - chances))
    raw = 1 / (1 + np.exp(-(logits + 2) / 1.7))  # a detector that is far too sure
    slope, offset = fitted(raw, right)
    assert slope == pytest.approx(1.7, abs=0.15)
    assert offset == pytest.approx(-2, abs=0.15)
    told = calibrated(raw, (slope, offset))
    for low in np.arange(0.1, 0.9, 0.2):
        near = (told >= low) & (told < low + 0.2)
        assert right[near].mean() == pytest.approx(told[near].mean(), abs=0.06)


def test_few_scores_are_left_as_they_are():
    assert fitted(np.array([0.9, 0.2]), np.array([True, False])) == (1.0, 0.0)


def test_the_threshold_lies_where_f1_is_greatest():
    scores = np.array([0.9, 0.8, 0.6, 0.5, 0.2])
    right = np.array([True, True, False, True, False])
    assert best_threshold(scores, right, 3) == pytest.approx(0.35)  # 3 of 4 and all of 3


def test_crowds_count_as_cocos_own_tools_have_it():
    coco_module = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(5)
    images, annotations, results, pages = [], [], [], []
    for number in range(12):
        images.append({"id": number, "width": 200, "height": 200})
        true = [Region(*rng.uniform(0, 140, 2), *rng.uniform(15, 60, 2)) for _ in range(3)]
        crowds = [Region(*rng.uniform(0, 100, 2), *rng.uniform(40, 100, 2)) for _ in range(number % 2)]
        found = []
        for box in [*true, *crowds]:
            moved = np.array(box.as_list()) + rng.normal(0, 5, 4)
            found.append(Detection(Region(*moved[:2], *np.maximum(moved[2:], 5)), "a", float(rng.random())))
        found += [
            Detection(Region(*rng.uniform(0, 140, 2), *rng.uniform(10, 50, 2)), "a", float(rng.random()))
            for _ in range(3)
        ]
        for crowd, boxes in ((0, true), (1, crowds)):
            for box in boxes:
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": crowd}
                    | {"bbox": box.as_list(), "area": box.area}
                )
        results += [
            {"image_id": number, "category_id": 1, "bbox": one.box.as_list(), "score": one.score} for one in found
        ]
        pages.append(matched(true, found, shared_of(found, crowds)))
    truth = coco_module.COCO()
    truth.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}
    truth.createIndex()
    judged = COCOeval(truth, truth.loadRes(results), "bbox")
    judged.evaluate()
    judged.accumulate()
    precision = judged.eval["precision"][:, :, 0, 0, -1]
    ours = figures_of(pages)
    assert ours["ap50"] == pytest.approx(precision[0].mean(), abs=1e-9)
    assert ours["ap50_95"] == pytest.approx(precision.mean(), abs=1e-9)


class Counter:
    """Learns to count: its measure rises, then falls."""

    def __init__(self, peak: int = 100) -> None:
        self.values = np.zeros(2, np.float32)
        self.peak = peak

    def learn(self, step: int) -> dict[str, float]:
        self.values = self.values * 0.9 + np.float32(step)
        return {"loss": 1.0 / (step + 1)}

    def measure(self) -> dict[str, float]:
        return {"ap": 1 / (1 + abs(float(self.values[0]) - self.peak))}

    def state(self) -> dict[str, np.ndarray]:
        return {"values": self.values, "scalar": np.array(3, np.int64)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        assert state["scalar"].shape == ()
        self.values = state["values"].copy()

    def best(self) -> dict[str, np.ndarray]:
        return {"values": self.values.copy()}

    def take_best(self, weights: dict[str, np.ndarray]) -> None:
        self.values = weights["values"].copy()


class Interrupting(Counter):
    """Is interrupted at a step."""

    def __init__(self, peak: int = 100, stop: int = 11) -> None:
        super().__init__(peak)
        self.stop = stop

    def learn(self, step: int) -> dict[str, float]:
        if step == self.stop:
            raise KeyboardInterrupt
        return super().learn(step)


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path):
    pace = Pace(40, 5, 3)
    told: list[str] = []
    quiet = {"told": told.append, "progress": lambda *_: None}
    straight = Counter()
    expected = run(straight, straight.measure, tmp_path / "a", pace, "job", **quiet)
    broken = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        run(broken, broken.measure, tmp_path / "b", pace, "job", **quiet)
    other = Counter()
    course = run(other, other.measure, tmp_path / "b", pace, "job", **quiet)
    assert "goes on at step 10 of 40" in told
    assert (course.step, course.best, course.best_step) == (expected.step, expected.best, expected.best_step)
    assert course.step < 40  # it stopped when it got no better
    np.testing.assert_array_equal(other.values, straight.values)
    lines = (tmp_path / "b" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(5, course.step + 1, 5))
    with pytest.raises(InputError, match="other annotations or settings"):
        run(Counter(), other.measure, tmp_path / "b", pace, "another job", **quiet)
    (tmp_path / "b" / "checkpoint.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(InputError, match="damaged"):
        run(Counter(), other.measure, tmp_path / "b", pace, "job", **quiet)


def test_at_the_end_everything_is_learned_from(tmp_path):
    pace = Pace(60, 5, 3, 12)
    joined: list[float] = []
    quiet = {"told": lambda _: None, "progress": lambda *_: None}

    def course_of(learner: Counter, folder: str) -> Course:
        def settle() -> dict[str, float]:
            return {"measured": learner.measure()["ap"]}

        def join() -> None:
            joined.append(float(learner.values[0]))

        return run(learner, learner.measure, tmp_path / folder, pace, "job", settle=settle, join=join, **quiet)

    straight = Counter()
    expected = course_of(straight, "a")
    assert expected.step == 60
    assert expected.settled["measured"] == expected.best  # of the best weights, before the rest was learned from
    steps = [line["step"] for line in expected.log]
    assert 48 not in steps[:-3]  # measures ended early, and the last steps were taken all the same
    assert steps[-3:] == [50, 55, 60]
    assert len(joined) == 1
    broken = Interrupting(stop=57)
    with pytest.raises(KeyboardInterrupt):
        course_of(broken, "b")
    again = Counter()
    course = course_of(again, "b")
    assert course.settled == expected.settled
    np.testing.assert_array_equal(again.values, straight.values)
    assert course.log[-1]["step"] == 60
    assert len(joined) == 3  # the run that went on learns from everything at once


def test_the_rate_begins_anew_where_everything_is_learned_from():
    schedule = Schedule(steps=100, rate=1.0, together=40)
    rates = [schedule.rate_at(step) for step in range(100)]
    assert max(rates) == pytest.approx(1, abs=0.02)
    assert rates[59] < 0.02
    assert rates[60] == pytest.approx(0.5)
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[-1] < 0.02

"""The file of a classifier: all of it comes back, damage is noticed, nothing in it is executed."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from index.classifiers import KnownExamples, TrainedModel, is_model, load_model
from matcher.calibration import Calibration
from matcher.classification import Classifier
from matcher.errors import CalqueError, CorruptIndex, InputError, SettingsMismatch
from matcher.types import Region


def model(method="isotonic", examples=True):
    random = np.random.default_rng(0)
    knots = tuple(np.sort(random.random((n, 2)), axis=0) for n in (3, 5)) if method == "isotonic" else ()
    calibration = Calibration(method, np.array([1.0, 2.0]), np.array([0.5, -0.5]), knots)
    made = Classifier(
        ("map", "Fotografie é"),
        "binary",
        "palette-1(side=160)",
        random.normal(size=(2, 4)).astype(np.float32),
        random.normal(size=2).astype(np.float32),
        calibration,
    )
    known = KnownExamples(
        ("a.jpg", "b\udce9.jpg", "c.jpg"),
        ("/x/a.jpg", "/x/b\udce9.jpg", "/x/c.jpg"),
        (0, 3, 0),
        (None, Region(1, 2, 3, 4.5), None),
        np.array([[True, False], [False, True], [True, False]]),
        random.random((3, 2)).astype(np.float32),
        np.array([0, 1, 0], np.int32),
        np.array([0, 1, 2], np.int32),
        random.normal(size=(3, 4)).astype(np.float16),
    )
    backbone = {"layer.0.weight": random.normal(size=(2, 2)).astype(np.float32)}
    return TrainedModel(made, "palette", {"groups": 3, "grouped": "files"}, known if examples else None, backbone)


@pytest.mark.parametrize("method", ["none", "temperature", "platt", "isotonic"])
@pytest.mark.parametrize("examples", [True, False])
def test_a_model_comes_back_as_it_was(tmp_path, method, examples):
    made = model(method, examples)
    made.save(tmp_path / "m.h5")
    found = load_model(tmp_path / "m.h5")
    assert is_model(tmp_path / "m.h5")
    vectors = np.random.default_rng(1).normal(size=(7, 4))
    np.testing.assert_array_equal(found.classifier.probabilities(vectors), made.classifier.probabilities(vectors))
    assert (found.classifier.classes, found.classifier.kind, found.embedder) == (
        made.classifier.classes,
        "binary",
        "palette",
    )
    assert found.told == made.told
    np.testing.assert_array_equal(found.backbone["layer.0.weight"], made.backbone["layer.0.weight"])
    if examples:
        assert (found.examples.names, found.examples.regions) == (made.examples.names, made.examples.regions)
        assert found.examples.places() == made.examples.places()
        np.testing.assert_array_equal(found.examples.vectors, made.examples.vectors)
    else:
        assert found.examples is None


def test_the_same_model_is_the_same_file(tmp_path):
    model().save(tmp_path / "a.h5")
    model().save(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]


@pytest.mark.parametrize("where", np.linspace(0.02, 0.98, 12))
def test_a_damaged_model_is_never_used(tmp_path, where):
    """Flipping a byte anywhere gives an error, or leaves all that is read as it was (HDF5 has bytes without use)."""
    path = tmp_path / "m.h5"
    made = model()
    made.save(path)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0xFF
    path.write_bytes(content)
    try:
        found = load_model(path)
    except CalqueError as error:
        assert "m.h5" in str(error)
    else:
        np.testing.assert_array_equal(found.classifier.weights, made.classifier.weights)
        assert found.told == made.told


def test_a_truncated_model_and_what_is_none_are_refused(tmp_path):
    path = tmp_path / "m.h5"
    model().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be read as a classifier"):
        load_model(path)
    path.write_bytes(b"image,label\n")
    assert not is_model(path)
    with pytest.raises(InputError, match="cannot be read as a classifier"):
        load_model(path)
    with pytest.raises(InputError, match="no such model"):
        load_model(tmp_path / "gone.h5")
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "calque vocabulary"
    with pytest.raises(InputError, match="no classifier"):
        load_model(path)


def test_a_model_of_a_newer_calque_and_a_changed_one_are_told(tmp_path):
    path = tmp_path / "m.h5"
    model().save(path)
    with h5py.File(path, "a") as file:
        file["weights"][0, 0] += 1
    with pytest.raises(CorruptIndex, match="do not match their hash"):
        load_model(path)
    with h5py.File(path, "a") as file:
        file.attrs["version"] = 99
    with pytest.raises(SettingsMismatch, match="newer calque"):
        load_model(path)

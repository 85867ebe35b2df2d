"""Embedders that are networks: tiny models of each family, in the hub's own format, by the code for real ones."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from skimage import data

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoImageProcessor  # noqa: E402

from matcher.checkpoints import CHECKPOINTS  # noqa: E402
from matcher.embedding import Embedder, TextEmbedder  # noqa: E402
from matcher.errors import InputError, MissingDependency  # noqa: E402
from matcher.preprocessing import Preprocessing  # noqa: E402
from matcher.registry import embedder_named  # noqa: E402
from tests.checkpoints import FAMILIES, write_checkpoint  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models, as ``CALQUE_MODELS`` names one."""
    folder = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        write_checkpoint(family, folder / family)
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CALQUE_DEVICE", "cpu")
    monkeypatch.delenv("CALQUE_MODELS", raising=False)


@pytest.fixture(scope="module")
def pictures():
    return [np.asarray(getattr(data, name)()) for name in ("astronaut", "coffee", "chelsea")]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_each_family_embeds(models, pictures, family):
    embedder = embedder_named(f"hf:{models / family}")
    rows = embedder.embed(pictures)
    assert isinstance(embedder, Embedder)
    assert isinstance(embedder, TextEmbedder) == (family in ("clip", "siglip"))
    assert rows.shape == (3, embedder.size) == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-4
    np.testing.assert_allclose(embedder.embed(pictures[1:2])[0], rows[1], atol=1e-5)
    assert embedder.embed([]).shape == (0, 16)
    assert f"kind={family}" in embedder.signature


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_are_shown_as_by_the_processors_of_transformers(models, pictures, family):
    shown = Preprocessing.read(models / family / "preprocessor_config.json")
    theirs = AutoImageProcessor.from_pretrained(models / family, backend="pil", local_files_only=True)
    for picture in (*pictures, pictures[0][:50], pictures[0][:, :333]):
        expected = theirs(images=picture, return_tensors="np")["pixel_values"][0]
        assert shown(picture).shape == expected.shape
        np.testing.assert_allclose(shown(picture), expected, atol=0.02)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_words_become_vectors_of_the_same_space(models, family):
    embedder = embedder_named(f"hf:{models / family}")
    assert isinstance(embedder, TextEmbedder)
    rows = embedder.embed_texts(["a ship", "a dog", "a drawing of a cat" * 20])
    assert rows.shape == (3, embedder.size)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-4
    # What a text is filled up with does not change what it means.
    np.testing.assert_allclose(embedder.embed_texts(["a ship"])[0], rows[0], atol=1e-5)


def test_a_model_is_found_by_name_and_told_by_its_weights(models, tmp_path, monkeypatch):
    short = CHECKPOINTS["dinov2"].repository.partition("/")[2]
    shutil.copytree(models / "dinov2", tmp_path / "all" / short)
    monkeypatch.setenv("CALQUE_MODELS", str(tmp_path / "all"))
    named = embedder_named("dinov2")
    assert named.signature == embedder_named(f"hf:{models / 'dinov2'}").signature
    from safetensors.torch import load_file, save_file

    path = tmp_path / "all" / short / "model.safetensors"
    state = load_file(path)
    save_file({name: tensor + 1 for name, tensor in state.items()}, path, metadata={"format": "pt"})
    assert embedder_named("dinov2").signature != named.signature


def test_a_model_that_is_not_there_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"facebook/dinov2-small \(Apache-2\.0\).*hf download.*CALQUE_MODELS"):
        embedder_named("dinov2")


def test_what_is_no_model_is_refused(models, tmp_path):
    with pytest.raises(InputError, match="needs a model; give its path: hf:PATH"):
        embedder_named("hf")
    with pytest.raises(InputError, match=r"no config\.json in it"):
        embedder_named(f"hf:{tmp_path}")
    pickled = tmp_path / "pickled"
    shutil.copytree(models / "vit", pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(InputError, match="no weights as safetensors"):
        embedder_named(f"hf:{pickled}")
    damaged = tmp_path / "damaged"
    shutil.copytree(models / "vit", damaged)
    (damaged / "model.safetensors").write_bytes((damaged / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be loaded by transformers"):
        embedder_named(f"hf:{damaged}")
    half = tmp_path / "half"
    shutil.copytree(models / "vit", half)
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(InputError, match=r"lacks weights of its own network, such as .*layer.*1"):
        embedder_named(f"hf:{half}")
    strange = tmp_path / "strange"
    shutil.copytree(models / "vit", strange)
    (strange / "preprocessor_config.json").write_text('{"do_resize": true}')
    with pytest.raises(InputError, match="does not say how pictures are shown"):
        embedder_named(f"hf:{strange}")


def test_torchscript_by_path(tmp_path, pictures):
    module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    torch.jit.save(torch.jit.script(module), tmp_path / "copies.pt")
    embedder = embedder_named(f"sscd:{tmp_path / 'copies.pt'}")
    small = [cv2.resize(picture, (300, 200), interpolation=cv2.INTER_AREA) for picture in pictures]
    assert embedder.size == 12
    assert ((embedder.embed(small) @ embedder.embed(pictures).T).argmax(axis=1) == [0, 1, 2]).all()
    (tmp_path / "no.pt").write_bytes(b"nothing")
    for name, words in (("no.pt", "no network in TorchScript"), ("gone.pt", "no such file")):
        with pytest.raises(InputError, match=words):
            embedder_named(f"sscd:{tmp_path / name}")


def test_mobilenet_knows_a_picture_again(shared_data, pictures, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setenv("CALQUE_MODELS", str(shared_data / "weights"))
    embedder = embedder_named("mobilenet")
    small = [cv2.resize(picture[20:-20, 30:], (300, 200), interpolation=cv2.INTER_AREA) for picture in pictures]
    rows = embedder.embed(small)
    assert rows.shape == (3, embedder.size)
    assert ((rows @ embedder.embed(pictures).T).argmax(axis=1) == [0, 1, 2]).all()

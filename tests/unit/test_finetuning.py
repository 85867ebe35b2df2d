"""The last layers of a network trained with a head: what is trained, what is left as it was, what is kept."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from matcher.classification import LearningSettings, decided  # noqa: E402 - after what may not be installed
from matcher.errors import InputError, SettingsMismatch  # noqa: E402
from matcher.finetuning import Trainable, Tuned, TuningSettings, learn_tuned, trainable_names, tune  # noqa: E402
from matcher.registry import embedder_named  # noqa: E402
from tests.checkpoints import write_checkpoint  # noqa: E402

torch.set_num_threads(1)

QUICK = TuningSettings(layers=2, rounds=30, rate=4e-3, batch=8)


class TinyVit:
    """A random vision transformer of two small layers, beside a network that pictures do not go through."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        config = transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            image_size=32,
            patch_size=8,
            initializer_range=0.3,
        )
        self.network = torch.nn.ModuleDict(
            {
                "text": torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(7)),
                "vision": transformers.ViTModel(config, add_pooling_layer=False),
                "projection": torch.nn.Linear(16, 12),
            }
        ).eval()
        self.signature, self.size, self.at_once, self.long_side = f"tiny-1(seed={seed})", 12, 8, 32

    def differentiable(self, pictures):
        small = np.stack([cv2.resize(one, (32, 32)) for one in pictures]).transpose(0, 3, 1, 2)
        seen = self.network["vision"](pixel_values=torch.as_tensor(small / 127.5 - 1, dtype=torch.float32))
        return torch.nn.functional.normalize(self.network["projection"](seen.last_hidden_state[:, 0]), dim=1)

    @torch.no_grad()
    def embed(self, pictures):
        return self.differentiable(pictures).numpy() if pictures else np.empty((0, self.size), np.float32)


def halves(n=20, seed=0):
    """Return noisy pictures that are dark above or below, and which are which."""
    random = np.random.default_rng(seed)
    pictures, truth = [], np.zeros((n, 2), bool)
    for place in range(n):
        tones = np.full((40, 40), random.uniform(140, 220))
        half = slice(0, 20) if place % 2 == 0 else slice(20, 40)
        tones[half] -= random.uniform(50, 90)
        tones += random.normal(0, 12, (40, 40))
        pictures.append(np.repeat(np.clip(tones, 0, 255).astype(np.uint8)[..., None], 3, axis=2))
        truth[place, place % 2] = True
    return pictures, truth


def test_the_last_layers_that_pictures_go_through_are_trained_and_nothing_else():
    tiny = TinyVit()
    assert isinstance(tiny, Trainable)
    names = trainable_names(tiny, 1)
    assert {name.split(".")[0] for name in names} == {"vision", "projection"}
    layers = {name for name in names if "layer" in name and ".0." in name}
    assert not layers
    assert {"projection.weight", "projection.bias"} <= set(names)
    assert len(trainable_names(tiny, 2)) > len(names)
    assert all(value.requires_grad and value.grad is None for value in tiny.network.parameters())


def test_training_changes_what_is_returned_and_leaves_the_network_as_it_was():
    tiny = TinyVit()
    pictures, truth = halves()
    before = {name: value.detach().clone() for name, value in tiny.network.named_parameters()}
    first = tiny.embed(pictures)
    rounds = []
    parameters = tune(tiny, pictures, truth, "binary", QUICK, lambda: rounds.append(1))
    assert len(rounds) == QUICK.rounds
    assert all(torch.equal(value, before[name]) for name, value in tiny.network.named_parameters())
    assert all(not np.array_equal(values, before[name].numpy()) for name, values in parameters.items())
    np.testing.assert_array_equal(first, tiny.embed(pictures))
    again = tune(tiny, pictures, truth, "binary", QUICK)
    assert all(np.allclose(values, again[name], atol=1e-5) for name, values in parameters.items())


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_a_tuned_network_tells_what_it_was_trained_on_in_pictures_it_has_not_seen(kind):
    tiny = TinyVit()
    pictures, truth = halves(60)
    found = learn_tuned(
        tiny, pictures, truth, ["above", "below"], kind, np.arange(60), QUICK, LearningSettings(folds=2)
    )
    right = (decided(found.validated.probabilities, kind == "binary") == truth).all(axis=1)
    assert right.mean() > 0.8
    fresh, true = halves(20, seed=9)
    tuned = Tuned(TinyVit(), found.parameters)
    assert tuned.signature == found.classifier.signature
    np.testing.assert_allclose(tuned.embed(pictures), found.vectors, atol=1e-5)
    told = decided(found.classifier.probabilities(tuned.embed(fresh)), kind == "binary")
    assert (told == true).all(axis=1).mean() > 0.8


def test_parameters_of_another_network_are_refused():
    with pytest.raises(SettingsMismatch, match=r"tiny-1\(seed=0\) has no parameters head.weight"):
        Tuned(TinyVit(), {"head.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(SettingsMismatch, match="use the checkpoint that it was trained from"):
        Tuned(TinyVit(), {"projection.bias": np.zeros(3, np.float32)})


def test_a_network_without_layers_is_refused():
    class Flat(TinyVit):
        def __init__(self):
            super().__init__()
            self.network = torch.nn.Sequential(torch.nn.Linear(3, 12))

        def differentiable(self, pictures):
            return self.network(
                torch.as_tensor(np.stack([one.mean(axis=(0, 1)) for one in pictures]), dtype=torch.float32)
            )

    with pytest.raises(InputError, match="no list of layers"):
        trainable_names(Flat(), 1)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="must be positive"):
        TuningSettings(layers=0)


@pytest.mark.parametrize("family", ["dinov2", "vit", "convnext", "resnet", "clip", "siglip"])
def test_checkpoints_of_each_family_are_trained_further_where_pictures_go(family, tmp_path):
    embedder = embedder_named(f"hf:{write_checkpoint(family, tmp_path / family)}")
    assert isinstance(embedder, Trainable)
    pictures, truth = halves(12)
    parameters = tune(embedder, pictures, truth, "binary", TuningSettings(layers=1, rounds=1, batch=6))
    assert parameters
    assert not any("text" in name for name in parameters)
    before = embedder.embed(pictures)
    np.testing.assert_allclose(embedder.differentiable(pictures).detach().cpu().numpy(), before, atol=1e-5)
    tuned = Tuned(embedder, parameters)
    assert np.abs(tuned.embed(pictures) - before).max() > 1e-6
    assert tuned.signature.startswith(f"{embedder.signature}+tuned(")

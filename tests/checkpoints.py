"""Tiny models of transformers with random weights, written to disk as the hub has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import (
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetModel,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FAMILIES", "WORDS", "write_checkpoint"]

WORDS = ("a", "cat", "dog", "drawing", "engraving", "of", "photo", "ship", "storm")

_LAYERS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
_SEEN = {**_LAYERS, "image_size": 32, "patch_size": 16}
_READ = {**_LAYERS, "vocab_size": 40, "max_position_embeddings": 12, "projection_size": 16}
_MEAN, _STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]

FAMILIES: dict[str, dict[str, Any]] = {
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 36},
        "crop_size": {"height": 32, "width": 32},
        "do_center_crop": True,
    },
    "vit": {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 2},
    "convnext": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}, "crop_pct": 0.875},
    "resnet": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}, "crop_pct": 0.875},
    "clip": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "do_center_crop": True,
    },
    "siglip": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 32, "width": 32}},
}
"""The settings of the pictures that each family is shown, as its authors' files have them, but smaller."""


def write_checkpoint(family: str, folder: Path) -> Path:
    """Write a tiny model of a family into a folder, and return it."""
    torch.manual_seed(0)
    model = {
        "dinov2": lambda: Dinov2Model(Dinov2Config(**_SEEN)),
        # Published with a head of classes, and without what pools for others.
        "vit": lambda: ViTForImageClassification(ViTConfig(**_SEEN, num_labels=3)),
        "convnext": lambda: ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)),
        "resnet": lambda: ResNetModel(
            ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        ),
        "clip": lambda: CLIPModel(
            CLIPConfig(text_config={**_READ, "eos_token_id": 1}, vision_config=_SEEN, projection_dim=16)
        ),
        "siglip": lambda: SiglipModel(SiglipConfig(text_config=_READ, vision_config=_SEEN)),
    }[family]()
    model.save_pretrained(folder)
    shown = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "resample": 3}
    settings = {**shown, "image_mean": _MEAN, "image_std": _STD, **FAMILIES[family]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    if family in ("clip", "siglip"):
        _write_tokenizer(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)

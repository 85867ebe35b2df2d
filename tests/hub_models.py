"""Makers of tiny networks in the hub's form for tests, randomly filled: folders of configuration, weights and words."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any

import torch
import transformers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LABELS = ("person", "umbrella", "dog")
SIDE = 64
_NAMED = {"id2label": dict(enumerate(LABELS)), "label2id": {label: number for number, label in enumerate(LABELS)}}
_SMALL = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2,
}  # fmt: skip
_LEVELS = ["stage2", "stage3", "stage4"]
_FITTED = {"size": {"shortest_edge": 48, "longest_edge": SIDE}, "do_pad": True}
_STRETCHED = {"size": {"height": SIDE, "width": SIDE}}


def _resnet(kind: Any, stages: list[str]) -> Any:
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
    return kind(layer_type="basic", out_features=stages, **sizes)


def _swin(**options: Any) -> Any:
    sizes = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2}
    return transformers.SwinConfig(image_size=SIDE, **sizes, **options)


def _towers() -> dict[str, Any]:
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return {
        "text_config": {
            **tower,
            "vocab_size": 200,
            "max_position_embeddings": 16,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        "vision_config": {**tower, "image_size": SIDE, "patch_size": 16},
        "projection_dim": 16,
    }  # fmt: skip


def detr() -> Any:
    backbone = _resnet(transformers.ResNetConfig, ["stage4"])
    config = transformers.DetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        num_queries=7,
        **_SMALL,
        **_NAMED,
    )
    return transformers.DetrForObjectDetection(config)


def deformable_detr() -> Any:
    config = transformers.DeformableDetrConfig(
        backbone_config=_resnet(transformers.ResNetConfig, _LEVELS),
        use_timm_backbone=False, use_pretrained_backbone=False, num_queries=7, num_feature_levels=3,
        encoder_n_points=2, decoder_n_points=2, disable_custom_kernels=True, **_SMALL, **_NAMED,
    )  # fmt: skip
    return transformers.DeformableDetrForObjectDetection(config)


def rt_detr() -> Any:
    config = transformers.RTDetrConfig(
        backbone_config=_resnet(transformers.RTDetrResNetConfig, _LEVELS),
        encoder_hidden_dim=16, encoder_in_channels=[8, 16, 16], decoder_in_channels=[16, 16, 16], num_queries=7,
        decoder_n_points=2, hidden_expansion=0.5, num_denoising=0, **{**_SMALL, "d_model": 16}, **_NAMED,
    )  # fmt: skip
    return transformers.RTDetrForObjectDetection(config)


def mask2former() -> Any:
    config = transformers.Mask2FormerConfig(
        backbone_config=_swin(out_features=["stage1", "stage2", "stage3", "stage4"]),
        feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16, encoder_layers=1,
        decoder_layers=2, dim_feedforward=16, num_attention_heads=2, num_queries=7, **_NAMED,
    )  # fmt: skip
    return transformers.Mask2FormerForUniversalSegmentation(config)


def owlv2() -> Any:
    return transformers.Owlv2ForObjectDetection(transformers.Owlv2Config(**_towers()))


def grounding_dino() -> Any:
    words = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.GroundingDinoConfig(
        backbone_config=_swin(out_indices=[2, 3, 4]),
        text_config=transformers.BertConfig(vocab_size=100, max_position_embeddings=64, **words),
        num_queries=7, num_feature_levels=3, encoder_n_points=2, decoder_n_points=2, max_text_len=32,
        fusion_droppath=0.0, disable_custom_kernels=True, **_SMALL,
    )  # fmt: skip
    return transformers.GroundingDinoForObjectDetection(config)


def clipseg() -> Any:
    decoder = {"reduce_dim": 8, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 16}
    config = transformers.CLIPSegConfig(**_towers(), extract_layers=[0, 1], **decoder)
    return transformers.CLIPSegForImageSegmentation(config)


def sam() -> Any:
    vision = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": SIDE, "patch_size": 4,
        "output_channels": 16, "mlp_dim": 16, "window_size": 2, "global_attn_indexes": [0], "num_pos_feats": 8,
    }  # fmt: skip
    config = transformers.SamConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 4, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )  # fmt: skip
    return transformers.SamModel(config)


MAKERS: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "detr": (detr, {**_FITTED, "image_processor_type": "DetrImageProcessor"}, ""),
    "deformable-detr": (deformable_detr, _FITTED, ""),
    "rt-detr": (rt_detr, {**_STRETCHED, "do_normalize": False}, ""),
    "mask2former": (mask2former, {**_STRETCHED, "size_divisor": 32}, ""),
    "owlv2": (owlv2, {**_STRETCHED, "do_pad": True}, "clip"),
    "grounding-dino": (grounding_dino, _FITTED, "bert"),
    "clipseg": (clipseg, {**_STRETCHED, "resample": 3}, "clip"),
    "sam": (sam, {"size": {"longest_edge": SIDE}, "pad_size": {"height": SIDE, "width": SIDE}}, ""),
}
"""Of each family: what makes its network, what its preprocessor_config.json says, which words it reads."""


def made(name: str, folder: Path) -> Path:
    """Write the tiny network of a family into a folder, and return that."""
    make, prepared, words = MAKERS[name]
    torch.manual_seed(5)
    network = make().eval()
    with torch.no_grad():
        for tensor in network.parameters():
            if tensor.ndim > 1 and name != "owlv2":
                tensor.mul_(3)  # as they come, all that they see looks the same to them
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    if words == "clip":
        letters = [*string.ascii_lowercase, "'", "-"]
        # OWLv2 takes a text that begins with number 0 for none.
        signs = ["!", "<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
        (folder / "vocab.json").write_text(json.dumps({sign: number for number, sign in enumerate(signs)}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        told = {"tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(told))
    elif words == "bert":
        signs = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "umbrella", "dog", "red"]
        (folder / "vocab.txt").write_text("\n".join(signs))
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return folder

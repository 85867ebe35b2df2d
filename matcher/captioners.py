"""The models that caption pictures, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matcher.checkpoints import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAPTIONERS", "FAMILIES"]

CAPTIONERS: Mapping[str, Checkpoint] = {
    "blip": Checkpoint("Salesforce/blip-image-captioning-base", "BSD-3-Clause"),
    "blip-large": Checkpoint("Salesforce/blip-image-captioning-large", "BSD-3-Clause"),
    "git": Checkpoint("microsoft/git-base-coco", "MIT"),
}
"""Models by the name that ``--model`` takes."""

FAMILIES: Mapping[str, bool] = {"blip": True, "git": True, "vision-encoder-decoder": False}
"""Kinds of models that caption, as their settings call them, and whether they can be told how to begin."""

"""What the small network is trained by: how far what it says is from what it should say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from matcher.region_model import COARSE, FINE
from matcher.region_targets import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LOSSES", "average", "losses", "pixel_losses"]

LOSSES = ("classes", "overlap", "kinds", "boxes", "quality")
"""What `losses` returns."""


def pixel_losses(said: Tensor, classes: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return the losses of pixels' classes: weighed cross entropy, and how little they overlap (dice, halved).

    Parameters
    ----------
    said : float, shape (n, classes, h, w)
        Logits.
    classes : uint8, shape (n, h, w)
        What each is; `IGNORED` where that is not known.
    weights : sequence of float
        Of each class.
    """
    said = said.float()
    weighed = torch.tensor(weights, device=said.device)
    known = classes != IGNORED
    truth = torch.where(known, classes, 0).long()
    each = functional.cross_entropy(said, truth, weight=weighed, reduction="none")
    entropy = (each * known).sum() / known.sum().clamp(min=1)
    chances = said.softmax(dim=1) * known[:, None]
    wanted = functional.one_hot(truth, len(weights)).permute(0, 3, 1, 2) * known[:, None]
    shared, total = (chances * wanted).sum(dim=(0, 2, 3)), (chances + wanted).sum(dim=(0, 2, 3))
    return entropy, 0.5 * (1 - (2 * shared + 1) / (total + 1)).mean()


def losses(outputs: tuple[Tensor, Tensor, Tensor], targets: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the five losses of a batch: pixels' classes, their overlap (dice), kinds, boxes, quality of boxes.

    Parameters
    ----------
    outputs : tuple of Tensor
        As of `matcher.region_model.RegionModel`.
    targets : sequence of Tensor
        Classes of the cells of the fine map; and of the fine and the coarse map what `matcher.region_targets.assigned`
        returns.
    weights : sequence of float
        Of each class in the loss of pixels.
    """
    classes, kinds_fine, edges_fine, kinds_coarse, edges_coarse = targets
    said, small, large = outputs
    fine = _box_losses(small, kinds_fine, edges_fine, FINE)
    coarse = _box_losses(large, kinds_coarse, edges_coarse, COARSE)
    boxes = (a + b for a, b in zip(fine, coarse, strict=True))
    return torch.stack([*pixel_losses(said, classes, weights), *boxes])


def _box_losses(said: Tensor, kinds: Tensor, edges: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the losses of kinds (focal), of boxes (generalised IoU) and of how good a box is (its IoU)."""
    said = said.float()
    many_kinds = said.shape[1] - 5
    known = kinds >= 0
    wanted = functional.one_hot(kinds.clamp(min=0).long(), many_kinds + 1)[..., 1:].permute(0, 3, 1, 2).float()
    logits = said[:, :many_kinds]
    chance = logits.sigmoid()
    right = torch.where(wanted > 0, chance, 1 - chance)
    balance = torch.where(wanted > 0, 0.3, 0.7)
    focal = balance * (1 - right) ** 2 * functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    inside = kinds > 0
    many = inside.sum().clamp(min=1)
    kind_loss = (focal.sum(dim=1) * known).sum() / many
    if not inside.any():
        return kind_loss, logits.sum() * 0, logits.sum() * 0
    high, wide = kinds.shape[1:]
    y = (torch.arange(high, device=said.device) + 0.5)[:, None].expand(high, wide) * step
    x = (torch.arange(wide, device=said.device) + 0.5)[None].expand(high, wide) * step
    far = said[:, many_kinds + 1 :].clamp(-4, 6.5).exp() * step
    boxes = torch.stack([x - far[:, 0], y - far[:, 1], x + far[:, 2], y + far[:, 3]], dim=-1)[inside]
    truth = edges.permute(0, 2, 3, 1)[inside]
    low, high_ = torch.maximum(boxes[:, :2], truth[:, :2]), torch.minimum(boxes[:, 2:], truth[:, 2:])
    shared = (high_ - low).clamp(min=0).prod(dim=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) + (truth[:, 2:] - truth[:, :2]).prod(dim=1) - shared
    hull = (torch.maximum(boxes[:, 2:], truth[:, 2:]) - torch.minimum(boxes[:, :2], truth[:, :2])).prod(dim=1)
    iou = shared / area
    box_loss = (1 - iou + (hull - area) / hull).mean()
    quality = functional.binary_cross_entropy_with_logits(said[:, many_kinds][inside], iou.detach())
    return kind_loss, box_loss, quality


@torch.no_grad()
def average(mean: nn.Module, model: nn.Module, keep: float) -> None:
    """Move the averaged model towards the trained one."""
    pairs = list(zip(mean.state_dict().values(), model.state_dict().values(), strict=True))
    old, new = zip(*(pair for pair in pairs if pair[0].dtype.is_floating_point), strict=True)
    torch._foreach_lerp_(old, new, 1 - keep)
    for counted, counting in (pair for pair in pairs if not pair[0].dtype.is_floating_point):
        counted.copy_(counting)

"""Tones of registered pictures, levelled so that paper, exposure and inking cancel and drawing remains."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["filtered_like", "grey", "ink_depth", "levels", "standardised", "toned_like"]


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `pixels`, grey or RGB, as grey."""
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def standardised(
    picture: NDArray, valid: NDArray[np.bool_], sigma: float, floor: float | None = None
) -> NDArray[np.float32]:
    """Standardise a picture by its mean and deviation in a Gaussian neighbourhood.

    Parameters
    ----------
    picture : shape (h, w)
        Tones.
    valid : bool, shape (h, w)
        Where they count; elsewhere the answer is 0.
    sigma : float
        Of the neighbourhood, in pixels.
    floor : float, optional
        Added to every deviation, so that grain on flat ground does not count as structure; by default a third of the
        picture's own typical deviation.

    Returns
    -------
    float32, shape (h, w)
    """
    weight = cv2.GaussianBlur(valid.astype(np.float32), (0, 0), sigma) + 1e-6
    tone = np.where(valid, picture, 0).astype(np.float32)
    mean = cv2.GaussianBlur(tone, (0, 0), sigma) / weight
    spread = cv2.GaussianBlur(np.where(valid, (tone - mean) ** 2, 0).astype(np.float32), (0, 0), sigma) / weight
    deviation = np.sqrt(np.maximum(spread, 0))
    if floor is None:
        floor = (float(np.sqrt(spread[valid].mean())) if valid.any() else 0.0) / 3 + 1e-3
    return np.where(valid, (tone - mean) / (deviation + floor), 0).astype(np.float32)


def filtered_like(
    model: NDArray[np.float32], picture: NDArray[np.float32], valid: NDArray[np.bool_], pixel: float
) -> NDArray[np.float32]:
    """Return `picture` through the round filter that brings it nearest to `model`: blur and ink's spread cancel.

    The filter is a sum of Gaussians as wide as 0 to 3.2 times `pixel`, weighed by least squares inside `valid`; round,
    it can soften, sharpen, thicken, thin and fade lines, but not move or change them.
    """
    if not valid.any():
        return picture
    blurred = [picture, *(cv2.GaussianBlur(picture, (0, 0), s * pixel) for s in (0.7, 1.2, 2.0, 3.2))]
    stack = np.stack(blurred, axis=-1)
    step = max(1, int(valid.sum()) // 40_000)
    weights = np.linalg.lstsq(stack[valid][::step], model[valid][::step], rcond=None)[0]
    return np.asarray(stack @ weights.astype(np.float32), np.float32)


def ink_depth(picture: NDArray[np.uint8], valid: NDArray[np.bool_], reach: int) -> NDArray[np.float32]:
    """Return how much ink there is, from 0 on paper to 1 where the picture is darkest.

    Paper is what is lightest within `reach` pixels, smoothed, so that stains and uneven light do not count.

    Returns
    -------
    float32, shape (h, w)
    """
    tone = np.where(valid, picture, 255).astype(np.float32)
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    soft = cv2.GaussianBlur(tone, (0, 0), 1.0)
    paper = cv2.GaussianBlur(cv2.dilate(soft, window), (0, 0), reach)
    depth = np.maximum(paper - tone, 0)
    black = max(float(np.percentile(depth[valid], 98)), 8.0) if valid.any() else 255.0
    return np.where(valid, np.clip(depth / black, 0, 1), 0).astype(np.float32)


def levels(picture: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Stretch `picture` so that its darkest and lightest 2 % inside `valid` become 0 and 1."""
    low, high = np.percentile(picture[valid], (2, 98))
    if high - low < 1:
        return np.ones(picture.shape, np.float32)
    return np.asarray(np.clip((picture - low) / (high - low), 0, 1), np.float32)


def toned_like(
    model: NDArray[np.float32], picture: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Bend the tones of `picture`, 0 to 1, to those of `model` by ``low + (high - low) * tone ** gamma``.

    The curve with the least absolute error on softened pixels wins: parts that one picture lacks (cropped away,
    broken off) do not pull it, and its bounds keep ink darker than paper whatever the registration is like.
    """
    sigma = max(1.0, max(model.shape) / 200)
    step = max(1, round(math.sqrt(model.size / 10_000)))
    cells = (slice(step // 2, None, step), slice(step // 2, None, step))
    kept = valid[cells]
    wanted, given = (cv2.GaussianBlur(tone, (0, 0), sigma)[cells][kept] for tone in (model, picture))
    best, curve = math.inf, (0.0, 1.0, 1.0)
    for gamma in (0.5, 0.7, 1.0, 1.4, 2.0):
        bent = given**gamma
        for low in (-0.4, -0.2, 0.0, 0.2, 0.4):
            for high in (0.6, 0.8, 1.0, 1.3, 1.6, 2.0):
                error = float(np.abs(np.clip(low + (high - low) * bent, 0, 1) - wanted).sum())
                if error < best:
                    best, curve = error, (low, high, gamma)
    low, high, gamma = curve
    return np.asarray(np.clip(low + (high - low) * picture**gamma, 0, 1), np.float32)

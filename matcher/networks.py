"""Networks that find and describe local features, built by kornia, with weights found by `matcher.weights`.

Each is one function from grey images to keypoints and descriptors, made by `network`. Weights are read as plain
tensors (``weights_only``): nothing in a file of weights is ever run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from kornia import feature
from torch.nn import functional

from matcher.accelerator import device
from matcher.errors import CalqueError, MissingDependency
from matcher.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Built = tuple[torch.nn.Module, Callable[[Any, torch.Tensor], Iterable[tuple[torch.Tensor, ...]]]]
    """A module, and how it is run on images, float32 (n, 1, h, w): the arrays of `Found` for each."""

__all__ = ["MODELS", "Found", "Model", "at_once", "device", "fill", "network", "state_of"]

_STRIDE = 32
"""Sides are filled up to multiples of this, which all of the networks halve evenly."""

_BATCH = 16
"""Images that a GPU looks at together, unless its memory is too small."""


class Found(NamedTuple):
    """Keypoints in pixels of the image given, pixel centres at integers.

    ``points`` float32 (n, 2), ``responses`` float32 (n,), ``descriptors`` float32 (n, d) of unit length; ``sizes``
    float32 (n,), diameters, and ``angles`` float32 (n,), degrees clockwise, where a network gives them.
    """

    points: NDArray[np.float32]
    responses: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    sizes: NDArray[np.float32] | None = None
    angles: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A network: the names of its weights in `matcher.weights.WEIGHTS`, and how it is built with a budget of keypoints.

    `levels` is how often an image is halved and looked at again, for a network that knows but one size.
    """

    weights: tuple[str, ...]
    build: Callable[[int], Built]
    levels: int = 1


def at_once(where: str) -> int:
    """Return how many images of one size a device had best look at together."""
    return _BATCH if where == "cuda" else 1


def state_of(name: str) -> dict[str, Any]:
    """Return the tensors of the weights called `name`.

    Raises
    ------
    MissingDependency
        If they are not there, or no file of tensors.
    """
    path = find_weights(name)
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways
        raise MissingDependency(f"{path} cannot be read as weights ({type(error).__name__}); fetch it again") from error
    for key in ("state_dict", "extractor"):
        if isinstance(read, dict) and key in read:
            read = read[key]
    if not isinstance(read, dict):
        raise MissingDependency(f"{path} holds no weights; fetch it again")
    return read


def fill(module: torch.nn.Module, name: str, renamed: Mapping[str, str] | None = None) -> None:
    """Put the weights called `name` into a module; `renamed` are beginnings of names, theirs and the module's.

    Raises
    ------
    MissingDependency
        If they are not there, or are another network's.
    """
    needed = dict(module.named_parameters())
    state = state_of(name)
    for theirs, ours in (renamed or {}).items():
        state = {key.replace(theirs, ours, 1) if key.startswith(theirs) else key: state[key] for key in state}
    # A convolution over the whole of its input is the linear map that kornia may write it as.
    state = {
        key: value.reshape(needed[key].shape) if key in needed and value.numel() == needed[key].numel() else value
        for key, value in state.items()
    }
    try:
        # Files may lack what kornia computes, but no parameter, and may hold counters of the training.
        missing = [key for key in module.load_state_dict(state, strict=False).missing_keys if key in needed]
    except RuntimeError as error:
        raise MissingDependency(f"{find_weights(name)} holds another network's weights; fetch it again") from error
    if missing:
        raise MissingDependency(f"{find_weights(name)} lacks {missing[0]}; fetch it again")


@cache
def network(name: str, budget: int, where: str) -> Callable[[Sequence[NDArray[np.uint8]], int], list[Found]]:
    """Return the network called `name` in `MODELS`, which finds up to `budget` keypoints, on the device `where`.

    It takes grey images, uint8 (h, w), and how many that are of one size when filled up it may look at together. But
    for rounding, what it finds on an image does not depend on the others.

    Raises
    ------
    MissingDependency
        If its weights are not there.
    """
    torch.set_num_threads(1)  # callers run beside each other
    torch.backends.cudnn.allow_tf32 = False  # ten bits of a factor are too few to find the same keypoints again
    module, run = MODELS[name].build(budget)
    module.eval().requires_grad_(False).to(where)

    def find(images: Sequence[NDArray[np.uint8]], together: int) -> list[Found]:
        filled = [np.pad(image, [(0, -side % _STRIDE) for side in image.shape], mode="edge") for image in images]
        found: dict[int, Found] = {}
        for numbers in _alike([image.shape for image in filled], together):
            batch = torch.from_numpy(np.stack([filled[number] for number in numbers]))
            found |= zip(numbers, _run(module, run, batch[:, None], where), strict=True)
        return [_inside(found[number], image) for number, image in enumerate(images)]

    return find


def _alike(shapes: Sequence[tuple[int, ...]], together: int) -> Iterator[list[int]]:
    """Yield the numbers of images of one shape, at most `together` at a time."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(number)
    for group in groups.values():
        for start in range(0, len(group), together):
            yield group[start : start + together]


def _run(module: Any, run: Any, images: torch.Tensor, where: str) -> list[Found]:
    """Return what a module finds on images, uint8 (n, 1, h, w), by halves if they are too many for its memory."""
    try:
        with torch.inference_mode():
            return [
                _arrays(points, responses, functional.normalize(descriptors, dim=1), *frame)
                for points, responses, descriptors, *frame in run(module, images.to(where).to(torch.float32) / 255)
            ]
    except torch.OutOfMemoryError as error:
        half = len(images) // 2
        if not half:
            height, width = images.shape[2:]
            raise CalqueError(
                f"the GPU has too little memory for an image of {width} x {height} pixels; "
                "ask for --device cpu, or for a smaller --work-size"
            ) from error
    torch.cuda.empty_cache()
    return _run(module, run, images[:half], where) + _run(module, run, images[half:], where)


def _arrays(*tensors: torch.Tensor) -> Found:
    return Found(*(tensor.cpu().numpy() for tensor in tensors))


def _inside(found: Found, image: NDArray[np.uint8]) -> Found:
    """Leave out keypoints beside the image, and what fills up kornia's arrays."""
    height, width = image.shape
    inside = (found.points[:, 0] <= width - 1) & (found.points[:, 1] <= height - 1) & (found.responses > 0)
    return Found(*(values[inside] for values in found if values is not None))


def _aliked(name: str) -> Callable[[int], Built]:
    """Return the builder of an ALIKED (Zhao et al., IEEE TIM 2023)."""

    def run(module: Any, images: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        return ((found.keypoints, found.keypoint_scores, found.descriptors) for found in module(images))

    def build(budget: int) -> Built:
        module = feature.ALIKED(name, max_num_keypoints=budget, detection_threshold=0.0)
        fill(module, name)
        return module, run

    return build


def _disk(budget: int) -> Built:
    """Build DISK (Tyszkiewicz, Fua & Trulls, NeurIPS 2020)."""

    def run(module: Any, images: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        every = module(images.expand(-1, 3, -1, -1), n=budget)
        return ((found.keypoints, found.detection_scores, found.descriptors) for found in every)

    module = feature.DISK()
    fill(module, "disk")
    return module, run


def _xfeat(budget: int) -> Built:
    """Build XFeat (Potje et al., CVPR 2024)."""

    def run(module: Any, images: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        every = module.detectAndCompute(images)
        return ((found["keypoints"], found["scores"], found["descriptors"]) for found in every)

    module = feature.XFeat(top_k=budget)
    fill(module.net, "xfeat")
    return module, run


_HARDTFEAT = {"features.3.": "features.4.", "features.0.": "features.1.", "classifier.1.": "descr.0."}
"""Its authors' names of HardTFeat's layers, and those of kornia's TFeat."""


def _keynet(descriptor: str) -> Callable[[int], Built]:
    """Return the builder of KeyNet (Barroso-Laguna et al., ICCV 2019) with AffNet and OriNet (Mishkin et al., 2018).

    `descriptor` is ``hardnet`` (Mishchuk et al., NeurIPS 2017) or ``hardtfeat``, a smaller network trained likewise.
    """

    def run(module: Any, images: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        for image in images:  # kornia's detector takes one at a time
            frames, responses, descriptors = module(image[None])
            sizes = 2 * feature.get_laf_scale(frames)
            # kornia counts angles against the clock.
            angles = -feature.get_laf_orientation(frames) % 360
            centres = feature.get_laf_center(frames)
            yield centres[0], responses.reshape(-1), descriptors[0], sizes.reshape(-1), angles.reshape(-1)

    def build(budget: int) -> Built:
        orientation, shape = feature.OriNet(False), feature.LAFAffNetShapeEstimator(False, preserve_orientation=False)
        detector = feature.KeyNetDetector(
            False, num_features=budget, ori_module=feature.LAFOrienter(angle_detector=orientation), aff_module=shape
        )
        patches: torch.nn.Module = feature.HardNet(False) if descriptor == "hardnet" else feature.TFeat(False)
        fill(detector.get_submodule("model"), "keynet")
        fill(shape, "affnet")
        fill(orientation, "orinet")
        fill(patches, descriptor, _HARDTFEAT if descriptor == "hardtfeat" else None)
        return feature.LocalFeature(detector, feature.LAFDescriptor(patches, patch_size=32)), run

    return build


MODELS: Mapping[str, Model] = {
    "aliked-t16": Model(("aliked-t16",), _aliked("aliked-t16"), levels=2),
    "aliked-n16rot": Model(("aliked-n16rot",), _aliked("aliked-n16rot"), levels=2),
    "disk": Model(("disk",), _disk, levels=2),
    "xfeat": Model(("xfeat",), _xfeat, levels=2),
    "keynet-affnet-hardnet": Model(("keynet", "affnet", "orinet", "hardnet"), _keynet("hardnet")),
    "keynet-affnet-hardtfeat": Model(("keynet", "affnet", "orinet", "hardtfeat"), _keynet("hardtfeat")),
}
"""The networks that `matcher.learned.Learned` can extract with, by name."""

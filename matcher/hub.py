"""Models in the form of the Hugging Face hub: a folder with ``config.json`` and ``model.safetensors``, found by name.

calque knows no hash of these, and therefore downloads none: a model is taken from where its user has put it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matcher.errors import InputError, MissingDependency
from matcher.images import printable
from matcher.weights import digest_of, folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["HUB_MODELS", "HubModel", "model_folder", "model_json", "weights_digest"]

_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of the hub: its name there, the branch or tag, the licence that its card gives (SPDX)."""

    repository: str
    revision: str
    licence: str


HUB_MODELS: Mapping[str, HubModel] = {
    "detr": HubModel("facebook/detr-resnet-50", "no_timm", "Apache-2.0"),
    "rt-detr": HubModel("PekingU/rtdetr_r50vd", "main", "Apache-2.0"),
    "deformable-detr": HubModel("SenseTime/deformable-detr", "main", "Apache-2.0"),
    "mask2former": HubModel("facebook/mask2former-swin-tiny-coco-instance", "main", "MIT"),
    "owlv2": HubModel("google/owlv2-base-patch16-ensemble", "main", "Apache-2.0"),
    "grounding-dino": HubModel("IDEA-Research/grounding-dino-tiny", "main", "Apache-2.0"),
    "clipseg": HubModel("CIDAS/clipseg-rd64-refined", "main", "Apache-2.0"),
    "sam": HubModel("facebook/sam-vit-base", "main", "Apache-2.0"),
}
"""The models that are taken where no path is named, by the name of the detector."""


def model_folder(name: str, path: str = "") -> Path:
    """Return the folder of a model: at a path, or of the model of `HUB_MODELS` called `name`.

    The latter is looked for in the folders of ``CALQUE_MODELS`` and calque's cache, under its name on the hub with or
    without its owner's, and in the hub's own cache.

    Raises
    ------
    InputError
        If there is no model at the path.
    MissingDependency
        If the model is not there: says how to get it.
    """
    if path:
        if not (Path(path) / "config.json").is_file():
            raise InputError(f"{printable(path)}: no folder of a model, with its config.json; check the path")
        return Path(path)
    wanted = HUB_MODELS[name]
    for folder in _candidates(wanted):
        if (folder / "config.json").is_file():
            return folder
    revision = "" if wanted.revision == "main" else f" --revision {wanted.revision}"
    raise MissingDependency(
        f"the model {wanted.repository} is not here; get it from {_HUB}/{wanted.repository} with: hf download "
        f"{wanted.repository}{revision}, or put its folder into one named by CALQUE_MODELS"
    )


def _candidates(wanted: HubModel) -> Iterator[Path]:
    owner, _, short = wanted.repository.partition("/")
    for folder in folders():
        yield from (folder / owner / short, folder / f"{owner}--{short}", folder / short)
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser() / f"models--{owner}--{short}"
    try:
        commit = (cache / "refs" / wanted.revision).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return
    yield cache / "snapshots" / commit


def model_json(folder: Path, file: str) -> dict[str, Any]:
    """Return what a JSON file of a model says, nothing if there is no such file; `InputError` if it is damaged."""
    try:
        told = json.loads((folder / file).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{printable(folder / file)}: cannot be read ({error}); get a fresh copy") from error
    if not isinstance(told, dict):
        raise InputError(f"{printable(folder / file)}: not an object of JSON; get a fresh copy")
    return told


def weights_digest(folder: Path) -> str:
    """Return twelve hexadecimal digits that tell the weights of a model from others; `InputError` without any."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{printable(folder)}: no weights there (model.safetensors); convert them, or get them")
    return "+".join(digest_of(file)[:12] for file in files)[:25]

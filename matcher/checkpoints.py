"""Pretrained models in the format of the Hugging Face hub: which there are by name, and how they reach this machine.

A model is a folder: ``config.json``, ``preprocessor_config.json``, weights as safetensors, for words a tokenizer. It is
looked for in the folders of ``CALQUE_MODELS`` and in the hub's own cache, else downloaded once. Weights that come from
the hub must have the SHA-256 that it lists; no code that comes with a model is ever run, and no pickle is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matcher.embedding import digest_of_files
from matcher.errors import InputError, MissingDependency
from matcher.weights import digest_of, folders

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CHECKPOINTS", "Checkpoint", "checkpoint_folder", "digest_of_checkpoint"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on the hub: ``https://huggingface.co/REPOSITORY``.

    Attributes
    ----------
    repository : str
        OWNER/NAME.
    licence : str
        SPDX name of the licence of its weights.
    """

    repository: str
    licence: str


CHECKPOINTS: Mapping[str, Checkpoint] = {
    "dinov2": Checkpoint("facebook/dinov2-small", "Apache-2.0"),
    "vit": Checkpoint("google/vit-base-patch16-224", "Apache-2.0"),
    "convnext": Checkpoint("facebook/convnext-tiny-224", "Apache-2.0"),
    "resnet": Checkpoint("microsoft/resnet-50", "Apache-2.0"),
    "clip": Checkpoint("openai/clip-vit-base-patch32", "MIT"),
    "openclip": Checkpoint("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "MIT"),
    "siglip": Checkpoint("google/siglip2-base-patch16-224", "Apache-2.0"),
}
"""Models by name. Their SHA-256 are not kept here but asked of the hub, which lists that of each file of weights."""

_WANTED = (
    *("config.json", "generation_config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json"),
    *("*token*", "vocab*", "merges.txt", "spiece.model"),
)
_LFS = re.compile(r"[0-9a-f]{64}")


def checkpoint_folder(model: str, named: Mapping[str, Checkpoint] = CHECKPOINTS) -> Path:
    """Return the folder of a model.

    Parameters
    ----------
    model : str
        A key of `named`, or the path of a folder.
    named : mapping of str to Checkpoint
        Models by name.

    Raises
    ------
    InputError
        If a folder is named that is no such model.
    MissingDependency
        If the model is not there and cannot be downloaded: says how to get it.
    """
    known = named.get(model)
    if known is None:
        folder = Path(model)
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder} is no folder of a model: there is no config.json in it; give another path")
        return _with_weights(folder)
    short = known.repository.partition("/")[2]
    for place in folders():
        for name in (short, known.repository.replace("/", "--"), model):
            if (place / name / "config.json").is_file():
                return _with_weights(place / name)
    return _with_weights(_from_hub(known))


def digest_of_checkpoint(folder: Path) -> str:
    """Return 16 hexadecimal digits that tell what a model computes: of its weights and its settings."""
    files = [*_weights(folder), folder / "config.json", folder / "preprocessor_config.json"]
    return digest_of_files({path: digest_of(path.resolve()) for path in files if path.is_file()})


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _with_weights(folder: Path) -> Path:
    if not _weights(folder):
        raise InputError(
            f"{folder} has no weights as safetensors, the one form that calque reads; save the model again with "
            "save_pretrained of transformers, or take another one"
        )
    if not (folder / "preprocessor_config.json").is_file():
        raise InputError(f"{folder} has no preprocessor_config.json, which says how pictures are shown to the model")
    return folder


def _from_hub(known: Checkpoint) -> Path:
    """Return the folder of a model in the hub's cache, after downloading it if need be."""
    from huggingface_hub import snapshot_download

    try:
        try:
            folder = Path(snapshot_download(known.repository, allow_patterns=list(_WANTED), local_files_only=True))
            if not _weights(folder):
                raise FileNotFoundError(folder)
        except Exception:  # not in the cache, or not all of it
            folder = Path(snapshot_download(known.repository, allow_patterns=list(_WANTED)))
    except Exception as error:  # no network, no such repository, no right to it: the hub has a dozen errors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingDependency(
            f"the model {known.repository} ({known.licence}) is not here and could not be downloaded ({reason}); where "
            f"there is a network run: hf download {known.repository}, copy that folder here, and name the folder that "
            "it lies in by CALQUE_MODELS, or itself by hf:PATH"
        ) from error
    for path in _weights(folder):
        blob = path.resolve()  # the cache names a file of weights by the SHA-256 that the hub lists for it
        if _LFS.fullmatch(blob.name) and digest_of(blob) != blob.name:
            raise MissingDependency(
                f"{path} is not the file that {known.repository} publishes: its SHA-256 is {digest_of(blob)}, not "
                f"{blob.name}; remove it, and it is fetched again"
            )
    return folder

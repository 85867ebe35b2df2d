"""Pretrained networks of transformers as embedders: DINOv2, ViT, ConvNeXt, ResNet; CLIP and SigLIP see words, too.

DINOv2: Oquab et al., TMLR 2024. ViT: Dosovitskiy et al., ICLR 2021. ConvNeXt: Liu et al., CVPR 2022. ResNet: He et al.,
CVPR 2016. CLIP: Radford et al., ICML 2021. SigLIP 2: Tschannen et al., 2025.
"""

from __future__ import annotations

from logging import ERROR
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging

from matcher.accelerator import device
from matcher.checkpoints import checkpoint_folder, digest_of_checkpoint
from matcher.embedding import unit, versioned
from matcher.errors import CalqueError, InputError
from matcher.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Transformer", "WordsToo", "transformer"]

_BATCH = 32
"""Pictures that a GPU looks at together."""

_UNUSED = ("pooler", "position_ids")
"""What may be missing in a checkpoint, since no vector depends on it."""


def transformer(model: str) -> Transformer:
    """Return the embedder of a model, by its name in `CHECKPOINTS` or the path of its folder.

    Raises
    ------
    InputError
        If it is no model that can be used.
    MissingDependency
        If it is not there and cannot be downloaded.
    """
    folder = checkpoint_folder(model)
    network = _loaded(folder)
    kind = WordsToo if hasattr(network, "get_text_features") else Transformer
    return kind(folder, network)


def _loaded(folder: Path) -> Any:
    """Return a network with its weights, ready to be asked."""
    torch.set_num_threads(1)  # callers run beside each other
    before = logging.get_verbosity()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        network, told = AutoModel.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # unknown architectures, damaged files, other shapes: in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{folder} cannot be loaded by transformers ({reason}); take another model") from error
    finally:
        logging.set_verbosity(before)
    missing = [key for key in told["missing_keys"] if not any(word in key for word in _UNUSED)]
    if missing:
        raise InputError(f"{folder} lacks weights of its own network, such as {missing[0]}; fetch it again")
    return network.eval().requires_grad_(False).to(device())


class Transformer:
    """What a network of transformers makes of pictures; made by `transformer`.

    Of networks that were trained beside words the image's features; of others the class token of the last layer; where
    there is none the mean over the picture.
    """

    def __init__(self, folder: Path, network: Any) -> None:
        self._folder = folder
        self._network = network
        self._shown = Preprocessing.read(folder / "preprocessor_config.json")
        self._with_token = any(name.endswith("cls_token") for name, _ in network.named_parameters())
        kind = str(network.config.model_type)
        self.signature = versioned("transformers", 1, kind=kind, weights=digest_of_checkpoint(folder))
        self.long_side = 2 * max(self._shown.size)
        blank = np.zeros((8, 8, 3), np.uint8)
        try:
            self.size = int(self._seen(np.stack([self._shown(blank)])).shape[1])
        except CalqueError:
            raise
        except Exception as error:  # a network that is none for pictures, in any way
            raise InputError(
                f"{folder} holds a {kind}, which calque cannot ask for vectors of pictures "
                f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); take another model"
            ) from error

    @property
    def at_once(self) -> int:
        """See `matcher.embedding.Embedder`."""
        return _BATCH if device() == "cuda" else 1

    @property
    def network(self) -> torch.nn.Module:
        """See `matcher.finetuning.Trainable`."""
        network: torch.nn.Module = self._network
        return network

    def differentiable(self, pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """See `matcher.finetuning.Trainable`."""
        shown = torch.from_numpy(np.stack([self._shown(picture) for picture in pictures])).to(device())
        return functional.normalize(self._features(shown).float(), dim=1)

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See `matcher.embedding.Embedder`; `CalqueError` if the GPU has too little memory for one picture."""
        if not len(pictures):
            return np.empty((0, self.size), np.float32)
        return unit(self._seen(np.stack([self._shown(picture) for picture in pictures])))

    def _seen(self, shown: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the network makes of pictures, float32 (n, 3, h, w); by halves if memory is too small."""
        try:
            with torch.inference_mode():
                return np.asarray(self._features(torch.from_numpy(shown).to(device())).float().cpu().numpy())
        except torch.OutOfMemoryError as error:
            half = len(shown) // 2
            if not half:
                raise CalqueError(
                    f"the GPU has too little memory for the model in {self._folder}; ask for --device cpu"
                ) from error
        torch.cuda.empty_cache()
        return np.concatenate([self._seen(shown[:half]), self._seen(shown[half:])])

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        if hasattr(self._network, "get_image_features"):
            return _plain(self._network.get_image_features(pixel_values=pixels))
        found = self._network(pixel_values=pixels)
        last: torch.Tensor = found.last_hidden_state
        if last.ndim == 3:
            return last[:, 0] if self._with_token else last.mean(dim=1)
        pooled: torch.Tensor | None = getattr(found, "pooler_output", None)
        return (last.mean(dim=(2, 3)) if pooled is None else pooled).flatten(1)


class WordsToo(Transformer):
    """A `Transformer` that sees words, too."""

    def __init__(self, folder: Path, network: Any) -> None:
        super().__init__(folder, network)
        self._tokenizer: Any = None

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `matcher.embedding.TextEmbedder`.

        Raises
        ------
        InputError
            If the model has no tokenizer.
        """
        if self._tokenizer is None:
            try:
                self._tokenizer = AutoTokenizer.from_pretrained(
                    self._folder, local_files_only=True, trust_remote_code=False
                )
            except Exception as error:
                raise InputError(
                    f"{self._folder} has no tokenizer that can be read ({type(error).__name__}), so it cannot be asked "
                    "by words; take the folder that its authors publish"
                ) from error
        text = self._network.config.text_config
        # SigLIP was trained on texts filled up to their full length, and without a mask; CLIP with one.
        filled = str(self._network.config.model_type).startswith("siglip")
        tokens = self._tokenizer(
            list(texts),
            padding="max_length" if filled else True,
            truncation=True,
            max_length=int(text.max_position_embeddings),
            return_tensors="pt",
        )
        named = {"input_ids": tokens["input_ids"].to(device())}
        if not filled:
            named["attention_mask"] = tokens["attention_mask"].to(device())
        with torch.inference_mode():
            return unit(_plain(self._network.get_text_features(**named)).float().cpu().numpy())


def _plain(features: Any) -> torch.Tensor:
    """Return features, which transformers 5 wraps, as they are."""
    found: torch.Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return found

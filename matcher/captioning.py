"""Captions of pictures by networks of others (transformers): a sentence for each, to be searched as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer
from transformers.utils import logging

from matcher.captioners import CAPTIONERS, FAMILIES
from matcher.checkpoints import checkpoint_folder, digest_of_checkpoint
from matcher.embedding import versioned
from matcher.errors import InputError
from matcher.networks import device

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Captioner"]

_VERSION = 1
_BATCHES = {"cpu": 4, "cuda": 32}
_BEAMS = 3
_MARKS = re.compile(r"\s+([.,;:!?])")


class Captioner:
    """Tells in words what pictures show; what it says is a guess.

    Parameters
    ----------
    model : str
        A name of `matcher.captioners.CAPTIONERS`, or the folder of a checkpoint, of one of its
        `FAMILIES`.
    longest : int
        Tokens of a caption at most.
    prompt : str
        What captions begin with, where the model can be told (BLIP, GIT).

    Attributes
    ----------
    signature : str
        Name, version, parameters and a digest of the checkpoint.
    at_once : int
        Pictures that it had best be given at a time.
    long_side : int
        Pixels of the long side to which pictures may be reduced beforehand.

    Raises
    ------
    InputError
        If it is no model of these families, or cannot be read.
    MissingDependency
        If it is not here and cannot be fetched.
    """

    def __init__(self, model: str, longest: int = 40, prompt: str = "") -> None:
        folder = checkpoint_folder(model.removeprefix("hf:"), CAPTIONERS)
        quiet: Any = logging
        quiet.set_verbosity_error()
        quiet.disable_progress_bar()
        try:
            family = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
            if family not in FAMILIES:
                raise InputError(
                    f"{model} is a model of the kind {family}, which captions nothing here; take one of the kinds "
                    f"{', '.join(FAMILIES)}"
                )
            if prompt and not FAMILIES[family]:
                raise InputError(f"{model} cannot be told what captions begin with; leave out --prompt")
            processors: Any = AutoImageProcessor
            self._processor = processors.from_pretrained(folder, local_files_only=True)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            network: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{model}: its checkpoint cannot be read ({reason}); get a fresh copy of it") from error
        self._device = device()
        self._network = network.eval().to(self._device)
        self._longest = longest
        self._prompt = self._begun(prompt, family) if prompt else []
        name = model if model in CAPTIONERS else folder.name
        parameters = {"longest": longest, "beams": _BEAMS, **({"prompt": prompt} if prompt else {})}
        self.signature = versioned(name, _VERSION, **parameters, weights=digest_of_checkpoint(folder))
        self.at_once = _BATCHES[self._device]
        size = self._processor.size
        self.long_side = 2 * max(int(edge) for edge in dict(size).values() if edge)

    def _begun(self, prompt: str, family: str) -> list[int]:
        """Return the tokens that captions begin with. BLIP takes off the last one: where it expects an end."""
        tokens: list[int] = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
        end = [self._tokenizer.sep_token_id] if family == "blip" else []
        return [self._tokenizer.cls_token_id, *tokens, *end]

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        """Return a caption of each picture, RGB, uint8 of shape (h, w, 3); empty where the model says nothing.

        Beam search of three beams: the same picture gets the same words.
        """
        if not pictures:
            return []
        with torch.inference_mode():
            seen = self._processor(list(pictures), return_tensors="pt", input_data_format="channels_last")
            told = {"pixel_values": seen["pixel_values"].to(self._device)}
            if self._prompt:
                told["input_ids"] = torch.tensor([self._prompt] * len(pictures), device=self._device)
            written = self._network.generate(**told, max_new_tokens=self._longest, num_beams=_BEAMS, do_sample=False)
        captions = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        return [_MARKS.sub(r"\1", " ".join(caption.split())) for caption in captions]

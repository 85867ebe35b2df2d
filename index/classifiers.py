"""A classifier as one file: HDF5 with a header in JSON, nothing in it that is ever executed; whole or not at all."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import h5py
import numpy as np

from index.durable import replacing
from matcher.calibration import METHODS, Calibration, Method
from matcher.classification import KINDS, Classifier, Kind
from matcher.errors import CorruptIndex, InputError, SettingsMismatch
from matcher.images import printable
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["KnownExamples", "TrainedModel", "is_model", "load_model"]

_FORMAT = "calque classifier"
_VERSION = 1
_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class KnownExamples:
    """What a model was trained on, and what it made of that in cross-validation.

    Attributes
    ----------
    names, paths : tuple of str
        Of images; bytes that are no UTF-8 as Python escapes them.
    pages : tuple of int
    regions : tuple of Region or None
    truth : bool, shape (n, k)
        Which classes each has.
    probabilities : float32, shape (n, k)
        Of each class, by what was learned without the example's fold.
    folds, groups : int32, shape (n,)
    vectors : float16, shape (n, d)
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]
    pages: tuple[int, ...]
    regions: tuple[Region | None, ...]
    truth: NDArray[np.bool_]
    probabilities: NDArray[np.float32]
    folds: NDArray[np.int32]
    groups: NDArray[np.int32]
    vectors: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.names)

    def places(self) -> set[tuple[str, int, Region | None]]:
        """Return path, page and region of each."""
        return set(zip(self.paths, self.pages, self.regions, strict=True))


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A classifier, and all that is kept with it.

    Attributes
    ----------
    classifier : Classifier
    embedder : str
        Name of the embedder, as ``--model`` takes it.
    told : mapping
        What is said of its training, in plain JSON types.
    examples : KnownExamples or None
        None of one that learned from words alone.
    backbone : mapping of str to arrays
        Parameters of the embedder's network that were trained, too, by name.
    """

    classifier: Classifier
    embedder: str
    told: Mapping[str, Any] = field(default_factory=dict)
    examples: KnownExamples | None = None
    backbone: Mapping[str, NDArray] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the model to a file, whole or not at all."""
        header, arrays = self._header(), self._arrays()
        with replacing(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
            file.attrs["format"] = _FORMAT
            file.attrs["version"] = _VERSION
            file.attrs["header"] = np.void(header.encode())
            file.attrs["hash"] = _hash(header, arrays)
            for name, array in arrays.items():
                packed = {"compression": "gzip", "shuffle": True} if array.size else {}
                file.create_dataset(name, data=array, track_times=False, **packed)

    def _header(self) -> str:
        made = self.classifier
        examples = self.examples
        told = {
            "classes": made.classes,
            "kind": made.kind,
            "signature": made.signature,
            "embedder": self.embedder,
            "calibration": made.calibration.method,
            "training": dict(self.told),
            "examples": None
            if examples is None
            else {
                "names": examples.names,
                "paths": examples.paths,
                "pages": examples.pages,
                "regions": [None if region is None else region.as_list() for region in examples.regions],
            },
        }
        return json.dumps(told)  # plain ASCII, so that names that are no UTF-8 survive

    def _arrays(self) -> dict[str, NDArray]:
        made, examples = self.classifier, self.examples
        knots = made.calibration.knots
        arrays: dict[str, NDArray] = {
            "weights": made.weights,
            "bias": made.bias,
            "slopes": made.calibration.slopes,
            "offsets": made.calibration.offsets,
            "knots": np.concatenate([np.empty((0, 2)), *knots]),
            "knots_of_class": np.array([len(knot) for knot in knots], np.int64),
        }
        if examples is not None:
            for name in ("truth", "probabilities", "folds", "groups", "vectors"):
                arrays[f"examples/{name}"] = getattr(examples, name)
        return arrays | {f"backbone/{name}": array for name, array in self.backbone.items()}


def is_model(path: Path) -> bool:
    """Return whether a file is HDF5, as models are."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def load_model(path: Path) -> TrainedModel:
    """Read a model.

    Raises
    ------
    InputError
        If there is no such file, or it is no model.
    SettingsMismatch
        If a newer calque wrote it.
    CorruptIndex
        If its contents do not match their hash.
    """
    name = printable(path)
    if not path.is_file():
        raise InputError(f"{name}: no such model; train one with: calque classify train LABELS -o {name}")
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("format") != _FORMAT:
                raise InputError(f"{name}: HDF5, but no classifier; train one with: calque classify train")
            if int(file.attrs["version"]) > _VERSION:
                raise SettingsMismatch(f"{name} was made by a newer calque; upgrade calque, or train it again")
            header = bytes(file.attrs["header"]).decode()
            arrays = _read(file)
            wanted = str(file.attrs["hash"])
        if _hash(header, arrays) != wanted:
            raise CorruptIndex(f"{name} is damaged: its contents do not match their hash; copy or train it again")
        return _model(json.loads(header), arrays)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{name} cannot be read as a classifier ({error}); train one with: calque classify train"
        ) from error


def _read(file: h5py.File) -> dict[str, NDArray]:
    found: dict[str, NDArray] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.dtype.kind not in "bifu":
                raise ValueError(f"{name} holds {item.dtype}, not numbers")
            found[name] = item[()]

    file.visititems(note)
    return found


def _model(header: dict[str, Any], arrays: dict[str, NDArray]) -> TrainedModel:
    classes, kind, method = tuple(header["classes"]), header["kind"], header["calibration"]
    if kind not in KINDS or method not in METHODS:
        raise ValueError(f"kind {kind!r}, calibration {method!r}")
    ends = np.cumsum(arrays["knots_of_class"])
    knots = tuple(np.split(arrays["knots"], ends[:-1])) if len(ends) else ()
    calibration = Calibration(cast("Method", method), arrays["slopes"], arrays["offsets"], knots)
    classifier = Classifier(
        classes, cast("Kind", kind), str(header["signature"]), arrays["weights"], arrays["bias"], calibration
    )
    told = header["examples"]
    examples = None
    if told is not None:
        examples = KnownExamples(
            tuple(told["names"]),
            tuple(told["paths"]),
            tuple(told["pages"]),
            tuple(None if box is None else Region(*box) for box in told["regions"]),
            *(arrays[f"examples/{name}"] for name in ("truth", "probabilities", "folds", "groups", "vectors")),
        )
    start = "backbone/"
    backbone = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
    return TrainedModel(classifier, str(header["embedder"]), header["training"], examples, backbone)


def _hash(header: str, arrays: Mapping[str, NDArray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()

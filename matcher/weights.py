"""The weights of networks: which there are, where they come from, and how they reach this machine.

None is shipped. A file is looked for in the folders of ``CALQUE_MODELS``, in calque's own cache and in PyTorch Hub's;
else it is downloaded once, and taken only if its hash is the one in the table.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from matcher.errors import MissingDependency

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["WEIGHTS", "WeightsFile", "digest_of", "find_weights", "folders"]

_GITHUB = "https://github.com"
_PATIENCE = 30.0
"""Seconds without an answer after which a server is given up."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights.

    Attributes
    ----------
    file : str
        Its name, by which it is looked for.
    url : str
        Where its authors, or those named there, publish it.
    sha256 : str
        64 hexadecimal digits. Empty where calque does not know it: such a file is never downloaded, only taken from
        where the user has put it.
    size : int
        Bytes; 0 where not known.
    licence : str
        SPDX name.
    """

    file: str
    url: str
    sha256: str
    size: int
    licence: str


_ALIKED = f"{_GITHUB}/Shiaoming/ALIKED/raw/683d7c65197395c0b3f01ebe76e1084a27e73a65/models"
_BOOSTER = f"{_GITHUB}/SJTU-ViSYS/FeatureBooster/raw/0260868806d0ae603a166848d64078bfd1c2f1f9/models"
_LIGHTGLUE = f"{_GITHUB}/cvg/LightGlue/releases/download/v0.1_arxiv"
_AFFNET = f"{_GITHUB}/ducha-aiki/affnet/raw/da7cf51ba09cb92e3cf0f46c12a89881f79e5051"

WEIGHTS: Mapping[str, WeightsFile] = {
    "aliked-t16": WeightsFile(
        "aliked-t16.pth",
        f"{_ALIKED}/aliked-t16.pth",
        "56782336919db220144a884e710e2b6af13b3b8f8da15b915a239078ab471085",
        794859,
        "BSD-3-Clause",
    ),
    "aliked-n16rot": WeightsFile(
        "aliked-n16rot.pth",
        f"{_ALIKED}/aliked-n16rot.pth",
        "ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332",
        2738325,
        "BSD-3-Clause",
    ),
    "featurebooster-sift": WeightsFile(
        "SIFT+Boost-F.pth",
        f"{_BOOSTER}/SIFT%2BBoost-F.pth",
        "926e892dfa5dced0de0283aaaf14062a24ac47219c352409cf8d3ff0e9df7ff5",
        2719721,
        "Apache-2.0",
    ),
    "keynet": WeightsFile(
        "keynet_pytorch.pth",
        f"{_GITHUB}/axelBarroso/Key.Net-Pytorch/raw/74fe0a75998445bb47b74b642b764543b25dc90a"
        "/model/weights/keynet_pytorch.pth",
        "59d3a46d57b439513acf531877fdfaa95eb550ccd10ec462e23d7c1f7a86d52a",
        79873,
        "MIT",
    ),
    "affnet": WeightsFile(
        "AffNet.pth",
        f"{_AFFNET}/pretrained/AffNet.pth",
        "65c8bb2cf71e913818522d09dcc4262bcbcef5d756baa86a41f28526c2d61160",
        339871,
        "MIT",
    ),
    "orinet": WeightsFile(
        "OriNet.pth",
        f"{_AFFNET}/pretrained/OriNet.pth",
        "030e7964ae3e136d00431c7e11c6b67df40ad299f02ac384fee0f1c3fd1dcb30",
        323258,
        "MIT",
    ),
    "hardtfeat": WeightsFile(
        "HardTFeat.pth",
        f"{_AFFNET}/HardTFeat.pth",
        "cd935728293309b666c20525696c8d323be5ffdac07b3340f4c1c1314e0b6542",
        2401008,
        "MIT",
    ),
    "yolox-nano": WeightsFile(
        "yolox_nano.onnx",
        f"{_GITHUB}/Bigisland1729/object-detection-models/raw/7f3f2fa34b351e3d2af150893458106ad3f3a84f/yolox_nano.onnx",
        "e8af074932d4ed7e232278e3055cefcdea3edf178874a3694ae292649fb464dd",
        3678356,
        "Apache-2.0",
    ),
    "yunet": WeightsFile(
        "yunet_n_dynamic.onnx",
        f"{_GITHUB}/ShiqiYu/libfacedetection.train/raw/0047ac24afb1a50a0c6105001c89d1b5b805dbf1"
        "/onnx/yunet_n_dynamic.onnx",
        "104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12",
        322906,
        "Apache-2.0",
    ),
    "hardnet": WeightsFile(
        "checkpoint_liberty_with_aug.pth",
        f"{_GITHUB}/DagnyT/hardnet/raw/master/pretrained/train_liberty_with_aug/checkpoint_liberty_with_aug.pth",
        "",
        0,
        "MIT",
    ),
    "mobilenet": WeightsFile(
        "mobilenet_v2_1.0_224_quant.tflite",
        f"{_GITHUB}/google-coral/test_data/raw/104342d2d3480b3e66203073dac24f4e2dbb4c41"
        "/mobilenet_v2_1.0_224_quant.tflite",
        "7aad0c74c5e3c06e5eb3c827e13304fdd68a83da6087d92ee169c24ff9fd4776",
        3610798,
        "Apache-2.0",
    ),
    "disk": WeightsFile("depth-save.pth", f"{_GITHUB}/cvlab-epfl/disk/raw/master/depth-save.pth", "", 0, "Apache-2.0"),
    "xfeat": WeightsFile(
        "xfeat.pt", f"{_GITHUB}/verlab/accelerated_features/raw/main/weights/xfeat.pt", "", 0, "Apache-2.0"
    ),
    "lighterglue": WeightsFile(
        "lighterglue_L3.onnx",
        f"{_GITHUB}/noahzhy/xfeat_lightglue_onnx/raw/155f5e1b6c9453162c286eacb0003fa4b8461a9c/onnx/lighterglue_L3.onnx",
        "a721f366f54b20328fa98c799cc31478edb1c31f0c941528df3d363c3753760d",
        2349183,
        "Apache-2.0",
    ),
    **{
        f"lightglue-{name}": WeightsFile(
            f"{name}_lightglue.pth", f"{_LIGHTGLUE}/{name}_lightglue.pth", "", 0, "Apache-2.0"
        )
        for name in ("aliked", "disk", "sift")
    },
}
"""All weights, by name."""


def folders() -> list[Path]:
    """Return the folders in which weights are looked for, the first of them first.

    Those of ``CALQUE_MODELS`` and the folders in them, calque's cache (into which is downloaded), PyTorch Hub's.
    """
    named = [Path(part) for part in os.environ.get("CALQUE_MODELS", "").split(os.pathsep) if part]
    inner = [child for folder in named if folder.is_dir() for child in sorted(folder.iterdir()) if child.is_dir()]
    hub = Path(os.environ.get("TORCH_HOME", _cache_home() / "torch")) / "hub" / "checkpoints"
    return [*named, *inner, _own_cache(), hub]


def find_weights(name: str) -> Path:
    """Return where the weights called `name` lie, after downloading them if need be.

    Raises
    ------
    MissingDependency
        If they are not there and cannot be downloaded: says from where to take the file and where to put it.
    """
    wanted = WEIGHTS[name]
    other = None
    for folder in folders():
        path = folder / wanted.file
        if path.is_file():
            if not wanted.sha256 or digest_of(path) == wanted.sha256:
                return path
            other = other or path
    remedy = f"put the file from {wanted.url} into {_own_cache()}, or into a folder named by CALQUE_MODELS"
    if other is not None:
        raise MissingDependency(
            f"{other} is not the file of weights that was published: its SHA-256 is {digest_of(other)}, not "
            f"{wanted.sha256}; remove it and {remedy}"
        )
    if not wanted.sha256:
        raise MissingDependency(f"the weights {wanted.file} are not here; {remedy}")
    return _download(wanted, remedy)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    state = path.stat()
    return _digest(path, state.st_size, state.st_mtime_ns)


@cache
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """Return the hash of a file; its size and time are there to tell its states apart in the cache."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _own_cache() -> Path:
    return _cache_home() / "calque" / "models"


def _download(wanted: WeightsFile, remedy: str) -> Path:
    """Bring a file into calque's cache, whole and verified or not at all."""
    target = _own_cache() / wanted.file
    digest = hashlib.sha256()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{wanted.file}.")
        try:
            # The URLs are those of the table above.
            with os.fdopen(handle, "wb") as file, urllib.request.urlopen(wanted.url, timeout=_PATIENCE) as answer:
                for block in _counted(answer, wanted):
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != wanted.sha256:
                raise MissingDependency(
                    f"{wanted.url} gave a file with SHA-256 {digest.hexdigest()}, not {wanted.sha256}; {remedy}"
                )
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise MissingDependency(f"the weights {wanted.file} could not be downloaded ({reason}); {remedy}") from error
    return target


def _counted(answer: BinaryIO, wanted: WeightsFile) -> Iterator[bytes]:
    """Yield what a server answers block by block, and say on stderr how far it is."""
    done = 0
    while block := answer.read(1 << 18):
        done += len(block)
        if sys.stderr.isatty():
            print(f"\r{wanted.file}: {done / wanted.size:.0%} of {wanted.size / 1e6:.1f} MB", end="", file=sys.stderr)
        yield block
    if sys.stderr.isatty():
        print(file=sys.stderr)

"""What an index was made with: frozen when the index is created, compared whenever it is opened."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from matcher.errors import SettingsMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FORMAT_VERSION", "GEOMETRY_BITS", "PROFILES", "Settings"]

FORMAT_VERSION = 4
"""The format of catalogues that this calque writes, older ones it brings up to date (docs/format.md)."""

_FEATURES_FORMAT = 1
"""The format of stored features. It stays while features stored earlier can be compared with those stored now."""

GEOMETRY_BITS = (32, 64)
"""What a feature's place, size and orientation may take: see `index.keypoints`."""

PROFILES: Mapping[str, Mapping[str, int]] = {
    "small": {"max_features": 1000, "geometry_bits": 32},
    "standard": {"max_features": 6400, "geometry_bits": 32},
    "fine": {"max_features": 12_800, "geometry_bits": 64, "work_size": 3200},
}
"""Settings by name, from the fewest bytes an image to the most exact (docs/profiles.md)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that must be equal for two images to be comparable.

    Attributes
    ----------
    vocabulary : str
        Name of the visual vocabulary.
    vocabulary_hash : str
        Hash of its contents.
    extractor : str
        Signature of the feature extractor: name, version and parameters.
    work_size : int
        Long side, in pixels, to which images are reduced before extraction.
    max_features : int
        Budget of features per image.
    geometry_bits : int
        What is stored of a feature's place, size and orientation, 32 or 64 bits.
    layout : str
        Signature of the segmenter that finds the pictures of its pages; empty if none does.
    format_version : int
        Version of the format of stored features; a newer catalogue around them leaves it as it is.
    """

    vocabulary: str
    vocabulary_hash: str
    extractor: str = "rootsift-1(contrast=0.04)"
    work_size: int = 1600
    max_features: int = PROFILES["standard"]["max_features"]
    geometry_bits: int = PROFILES["standard"]["geometry_bits"]
    layout: str = ""
    format_version: int = _FEATURES_FORMAT

    def __post_init__(self) -> None:
        for name in ("work_size", "max_features", "format_version"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingsMismatch(f"setting {name} must be a positive whole number, got {value!r}")
        if self.geometry_bits not in GEOMETRY_BITS:
            raise SettingsMismatch(f"setting geometry_bits must be one of {GEOMETRY_BITS}, got {self.geometry_bits!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON types; without a layout, which earlier indexes did not know, if none is."""
        return {name: value for name, value in asdict(self).items() if name != "layout" or value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings held in `values`; keys left out take their defaults.

        Raises
        ------
        SettingsMismatch
            For a key that is no setting (the message suggests the nearest) and for a missing one.
        """
        known = [item.name for item in fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"settings are: {', '.join(known)}"
                raise SettingsMismatch(f"unknown setting {key!r}; {hint}")
        missing = [name for name in ("vocabulary", "vocabulary_hash") if name not in values]
        if missing:
            raise SettingsMismatch(f"setting {missing[0]!r} is missing")
        return cls(**values)

    def to_json(self) -> str:
        """Return the settings as one line of JSON, equal for equal settings."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Return the settings written by `to_json`, by this calque or an earlier one, which stored geometry exactly."""
        return cls.from_dict({"geometry_bits": 64} | json.loads(text))

    def require(self, wanted: Settings, where: object) -> None:
        """Raise `SettingsMismatch`, naming `where` and both values, unless these settings equal `wanted`."""
        for item in fields(self):
            have, want = getattr(self, item.name), getattr(wanted, item.name)
            if have != want:
                raise SettingsMismatch(
                    f"{where} was made with {item.name}={have!r}, asked for {item.name}={want!r}; "
                    "use the settings it was made with or make a new index"
                )

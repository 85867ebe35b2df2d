"""Which implementations there are, by name, each imported when it is asked for.

An extractor is known by its signature, ``NAME-VERSION(PARAMETERS)``, which an index and a vocabulary record: features
of equal signatures may be compared. So is a segmenter, the finder of the regions of a page.
"""

from __future__ import annotations

import difflib
import inspect
import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from matcher.errors import InputError, MissingDependency, SettingsMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from matcher.embedding import Embedder
    from matcher.images import Scan
    from matcher.layout import Segmenter
    from matcher.selection import PictureFinder
    from matcher.types import Features, Region, Relation

__all__ = [
    "EMBEDDERS",
    "EXTRACTORS",
    "MATCHERS",
    "SEGMENTER",
    "SEGMENTERS",
    "Backend",
    "BatchExtractor",
    "Extractor",
    "FramingExtractor",
    "PairMatcher",
    "Sight",
    "embedder_named",
    "extract_all",
    "extractor_named",
    "extractor_of",
    "images_at_once",
    "matcher_named",
    "name_in",
    "nearest_name",
    "segmenter_named",
    "usual_score",
]


class Sight(NamedTuple):
    """What `Extractor.extract` takes."""

    scan: Scan
    mask: NDArray | None = None
    pictures: PictureFinder | None = None


class Extractor(Protocol):
    """What finds and describes the local features of an image."""

    @property
    def signature(self) -> str:
        """Name, version and parameters: features of equal signatures may be compared."""

    def extract(self, scan: Scan, mask: NDArray | None = None, pictures: PictureFinder | None = None) -> Features:
        """Return the features of a grey `scan`, in pixels of the original image.

        Bool `mask`: where they may lie; `pictures`: tells where a layout sees pictures (`matcher.selection.select`).
        """

    def unweighted(self) -> Extractor:
        """Return this extractor for what is all picture: nothing counts as type, and everything is kept."""

    def turned(self, features: Features, relation: Relation) -> Features | None:
        """Return the features of the mirrored or negative image, in its own pixels, from those of the image itself.

        None where they cannot be had without extracting from the changed pixels.
        """


@runtime_checkable
class BatchExtractor(Extractor, Protocol):
    """An extractor that may do better with several images at a time."""

    @property
    def at_once(self) -> int:
        """How many it had best be given at a time."""

    def extract_all(self, sights: Sequence[Sight]) -> list[Features]:
        """Return what `extract` returns of each."""


@runtime_checkable
class FramingExtractor(Extractor, Protocol):
    """An extractor that describes no more than what is wanted of a framed picture."""

    def framed(self, scan: Scan, region: Region, most: int) -> Features:
        """Return what `unweighted` finds inside `region`; of more than `most` features the strongest."""


class PairMatcher(Protocol):
    """What pairs the features of two images by looking at both."""

    features: str
    """Name of the extractor whose features it knows."""

    @property
    def signature(self) -> str:
        """Name, version and weights."""

    def pairs(self, query: Features, image: Features) -> tuple[NDArray, NDArray, NDArray]:
        """Return rows of `query`, those of `image` that they pair with, and how sure each pair is, 0 to 1."""


def images_at_once(extractor: Extractor) -> int:
    """Return how many images an extractor had best be given at a time."""
    return extractor.at_once if isinstance(extractor, BatchExtractor) else 1


def extract_all(extractor: Extractor, sights: Sequence[Sight]) -> list[Features]:
    """Return what an extractor's `extract` returns of each of several scans, together where it can."""
    if isinstance(extractor, BatchExtractor):
        return extractor.extract_all(sights)
    return [extractor.extract(*sight) for sight in sights]


@dataclass(frozen=True, slots=True)
class Backend:
    """An implementation that is imported when it is needed.

    Attributes
    ----------
    target : str
        ``module:name`` of what is called to make one.
    extra : str
        The extra of the package ``calque`` that it needs; empty if none.
    options : mapping
        Keyword arguments that `load`'s result is called with.
    """

    target: str
    extra: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    def make(self, **options: Any) -> Any:
        """Import the implementation and make one.

        Raises
        ------
        MissingDependency
            If a package that it needs is not installed.
        """
        return self.load()(**dict(self.options), **options)

    def load(self) -> Any:
        """Import and return what makes the implementation; `MissingDependency` as of `make`."""
        module, name = self.target.split(":")
        try:
            return getattr(import_module(module), name)
        except ImportError as error:
            if not self.extra:
                raise
            raise MissingDependency(
                f"{error.name or module} is not installed; install it with: pip install 'calque[{self.extra}]'"
            ) from error


EXTRACTORS: Mapping[str, Backend] = {
    "sift": Backend("matcher.sift:Sift"),
    "sift+featurebooster": Backend("matcher.featurebooster:Boosted", "learned"),
    **{
        name: Backend("matcher.learned:Learned", "learned", (("model", name),))
        for name in (
            *("aliked-t16", "aliked-n16rot", "disk", "xfeat"),
            *("keynet-affnet-hardnet", "keynet-affnet-hardtfeat"),
        )
    },
}
"""Local features by the name that ``--features`` takes."""

MATCHERS: Mapping[str, Backend] = {
    "lighterglue": Backend("matcher.lightglue:LighterGlue", "learned"),
    **{
        f"lightglue-{short}": Backend("matcher.lightglue:LightGlue", "learned", (("features", features),))
        for short, features in (("aliked", "aliked-n16rot"), ("disk", "disk"), ("sift", "sift"))
    },
}
"""Networks that pair the features of two images, by the name that ``--rematch`` and ``--matcher`` take."""

SEGMENTERS: Mapping[str, Backend] = {
    "calque": Backend("matcher.layout_network:LayoutNetwork"),
    "classical": Backend("matcher.layout_classical:Classical"),
    "onnx": Backend("matcher.layout_onnx:OnnxDetector"),
    "kraken": Backend("matcher.layout_kraken:Kraken"),
}
"""Finders of the regions of a page by the name that ``--model`` takes."""

SEGMENTER = "calque"
"""The one taken where none is named."""

EMBEDDERS: Mapping[str, Backend] = {
    "palette": Backend("matcher.embedding_classical:Palette"),
    "structure": Backend("matcher.embedding_classical:Structure"),
    "vlad": Backend("matcher.embedding_vlad:Vlad"),
    "mobilenet": Backend("matcher.embedding_tflite:MobileNet", "tflite"),
    **{
        name: Backend("matcher.embedding_transformers:transformer", "models", (("model", name),))
        for name in ("dinov2", "vit", "convnext", "resnet", "clip", "openclip", "siglip")
    },
    "hf": Backend("matcher.embedding_transformers:transformer", "models"),
    "sscd": Backend("matcher.embedding_torchscript:Sscd", "models"),
}
"""What turns pictures into vectors by the name that ``--model`` takes."""

_WITH_MODEL = {"onnx": True, "kraken": False}
"""Segmenters whose name may be followed by ``:PATH`` of a model, and whether it must be."""

_EMBEDDERS_OF_MODELS = {"hf": True, "sscd": True}
"""The same of embedders."""

_SIGNED = {"rootsift": "sift", "calque-layout": "calque"}
"""Names in signatures that are not the name here."""


def nearest_name(name: str, known: Mapping[str, Any], kind: str) -> InputError:
    """Return the error that there is no `kind` called `name` among those known, with the nearest one."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
    return InputError(f"no {kind} is called {name!r}; {hint}")


def extractor_named(name: str, max_features: int | None = None, likeness: NDArray | None = None) -> Extractor:
    """Return an extractor by its name.

    Parameters
    ----------
    name : str
        A key of `EXTRACTORS`.
    max_features : int, optional
        Features kept per image; all by default.
    likeness : float32, shape (w,), optional
        Weights of `matcher.selection.picture_likeness`, for SIFT's descriptors; without, or empty, type is taken
        for as good as pictures.

    Raises
    ------
    InputError
        If there is none of that name.
    MissingDependency
        If it needs a package or weights that are not there.
    """
    if name not in EXTRACTORS:
        raise nearest_name(name, EXTRACTORS, "extractor of features")
    weights = None if likeness is None or likeness.size == 0 else likeness
    made: Extractor = EXTRACTORS[name].make(max_features=max_features, likeness=weights)
    return made


def name_in(signature: str) -> str:
    """Return the name of the extractor or segmenter with a signature."""
    parts = re.fullmatch(r"(.+)-\d+\(.*\)", signature)
    return _SIGNED.get(parts[1], parts[1]) if parts else signature


def matcher_named(name: str) -> PairMatcher:
    """Return a matcher by its name in `MATCHERS`.

    Raises
    ------
    InputError
        If there is none of that name.
    MissingDependency
        If it needs a package or weights that are not there.
    """
    if name not in MATCHERS:
        raise nearest_name(name, MATCHERS, "matcher")
    made: PairMatcher = MATCHERS[name].make()
    return made


def extractor_of(signature: str, max_features: int | None = None, likeness: NDArray | None = None) -> Extractor:
    """Return the extractor that an index or a vocabulary was made with, by its signature; see `extractor_named`.

    Raises
    ------
    SettingsMismatch
        If this calque has another version of it.
    """
    name = name_in(signature)
    if name not in EXTRACTORS:
        raise SettingsMismatch(f"features {signature} are unknown to this calque; use the calque that made them")
    made = extractor_named(name, max_features, likeness)
    if made.signature != signature:
        raise SettingsMismatch(
            f"features {signature} were asked for, but this calque, with the weights it finds, makes {made.signature}; "
            "use the calque and the weights that made them, or make vocabulary and index anew"
        )
    return made


def segmenter_named(name: str, min_score: float | None = None) -> Segmenter:
    """Return a segmenter by its name.

    Parameters
    ----------
    name : str
        A key of `SEGMENTERS`; of those that run models of others followed by the path of one: ``onnx:PATH``,
        ``kraken`` or ``kraken:PATH``.
    min_score : float, optional
        How sure it must be of a picture to tell it, where it can be asked for that; by default `usual_score`.

    Raises
    ------
    InputError
        If there is none of that name, or its model cannot be used.
    MissingDependency
        If it needs a package that is not there.
    """
    known, model = _segmenter(name)
    options: dict[str, Any] = {"model": model} if model else {}
    if min_score is not None and _asked_for_scores(known) is not None:
        options["min_score"] = min_score
    made: Segmenter = SEGMENTERS[known].make(**options)
    return made


def embedder_named(name: str) -> Embedder:
    """Return what turns pictures into vectors, by its name.

    Parameters
    ----------
    name : str
        A key of `EMBEDDERS`; of those that run models of others followed by the path of one.

    Raises
    ------
    InputError
        If there is none of that name, or its model cannot be used.
    MissingDependency
        If it needs a package or weights that are not there.
    """
    known, model = _parts(name, EMBEDDERS, _EMBEDDERS_OF_MODELS, "embedder")
    made: Embedder = EMBEDDERS[known].make(**({"model": model} if model else {}))
    return made


def usual_score(name: str) -> float:
    """Return how sure the segmenter of a name must be of a picture to tell it; 0 if it tells all it knows."""
    parameter = _asked_for_scores(_segmenter(name)[0])
    return 0.0 if parameter is None else float(parameter.default)


def _segmenter(name: str) -> tuple[str, str]:
    """Return the key in `SEGMENTERS` and the path of a model in the name of a segmenter; `InputError` if it is none."""
    return _parts(name, SEGMENTERS, _WITH_MODEL, "segmenter")


def _parts(name: str, backends: Mapping[str, Backend], of_models: Mapping[str, bool], kind: str) -> tuple[str, str]:
    """Return the key in `backends` and the path of a model in ``KEY`` or ``KEY:PATH``; `InputError` if it is none."""
    known, colon, model = name.partition(":")
    if known not in backends:
        raise nearest_name(known, backends, kind)
    if colon and known not in of_models:
        raise InputError(f"the {kind} {known!r} takes no model of its own; leave out {colon + model!r}")
    if not model and of_models.get(known):
        raise InputError(f"the {kind} {known!r} needs a model; give its path: {known}:PATH")
    return known, model


def _asked_for_scores(known: str) -> inspect.Parameter | None:
    return inspect.signature(SEGMENTERS[known].load()).parameters.get("min_score")

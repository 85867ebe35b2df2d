"""Two systems to measure calque against, on features of OpenCV's SIFT.

`brute_force`
    Every query feature against every feature of every image: RootSIFT [1]_, mutual nearest neighbours under the ratio
    test [2]_, a homography by MAGSAC++ [3]_; the score is the number of inliers. The accuracy one may hope for from
    local features and one geometry, without regard to time. Upright and turned queries only: no mirror, no negative.
`visual_index`
    ``pycolmap.VisualIndex``: 64-bit Hamming embedding and similarity votes, on a vocabulary learnt from the very
    collection searched, which flatters it.

Both see images at the same size and the same features. Answers are kept in a cache folder, image by image, so that a
run of hours can be stopped and goes on where it was.

References
----------
.. [1] Arandjelović, Zisserman: Three things everyone should know to improve object retrieval. CVPR 2012.
.. [2] Lowe: Distinctive image features from scale-invariant keypoints. IJCV 2004.
.. [3] Baráth et al.: MAGSAC++, a fast, reliable and accurate robust estimator. CVPR 2020.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.datasets import Place
from benchmarks.metrics import Found
from matcher.errors import InputError, MissingDependency
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from benchmarks.datasets import Dataset

__all__ = ["LONG_SIDE", "Outcome", "Sift", "brute_force", "cache_folder", "extract", "match", "root", "visual_index"]

LONG_SIDE = 1600
"""Images larger than this are reduced to it."""

# All chosen on the dev parts: see the README beside this file.
_SMALL_CROP = 600
_IMAGE_FEATURES = 4000
_REGION_FEATURES = 2000
_RATIO = 0.8
_INLIER_PX = 5.0
_MIN_MATCHES = 6
_WORDS = 4096
_TRAINING_FEATURES = 300_000
_FEATURES = (LONG_SIDE, _SMALL_CROP, _IMAGE_FEATURES, _REGION_FEATURES)
_VERIFIED = 100


@dataclass(frozen=True, slots=True)
class Sift:
    """SIFT features of one image.

    Attributes
    ----------
    keypoints : float32, shape (n, 4)
        x, y, diameter in pixels of the file; angle in degrees.
    descriptors : uint8, shape (n, 128)
        As OpenCV gives them.
    """

    keypoints: NDArray[np.float32]
    descriptors: NDArray[np.uint8]

    def strongest(self, n: int) -> Sift:
        """Return the first `n`: `extract` sorts by strength."""
        return Sift(self.keypoints[:n], self.descriptors[:n])


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answers by query id, and the seconds that each query took."""

    answers: dict[str, list[Found]]
    seconds: list[float]


def extract(path: Path, region: Region | None = None, *, enlarge_to: int = 0) -> Sift:
    """Return OpenCV's SIFT features of a file, or of a box on it, strongest first.

    Parameters
    ----------
    path : Path
        The image file.
    region : Region, optional
        The part to cut out beforehand.
    enlarge_to : int
        Cuts with a longer side under this are enlarged to it.

    Raises
    ------
    InputError
        If OpenCV cannot read the file.
    """
    image = _read(path)
    left = top = 0
    if region is not None:
        left, top = max(0, round(region.x)), max(0, round(region.y))
        image = image[top : round(region.y + region.height), left : round(region.x + region.width)]
    side = max(image.shape)
    factor = min(LONG_SIDE, max(side, enlarge_to)) / side
    if factor != 1:
        size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    found, descriptors = cv2.SIFT.create().detectAndCompute(image, None)
    if descriptors is None:
        return Sift(np.empty((0, 4), np.float32), np.empty((0, 128), np.uint8))
    keypoints = np.array([(*k.pt, k.size, k.angle) for k in found], np.float32)
    keypoints[:, :2] = (keypoints[:, :2] + 0.5) / factor - 0.5 + (left, top)
    keypoints[:, 2] /= factor
    order = np.argsort([-k.response for k in found], kind="stable")
    return Sift(keypoints[order], descriptors[order].astype(np.uint8))


def _read(path: Path) -> NDArray:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise InputError(f"{path}: OpenCV cannot read this file; leave it out of the comparison")
    return image


def root(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return RootSIFT: the square roots of the L1-normalised descriptors, unit length."""
    floats = descriptors.astype(np.float32)
    floats /= np.maximum(floats.sum(axis=1, keepdims=True), 1)
    return np.sqrt(floats)


def match(query: NDArray[np.float32], image: NDArray[np.float32], ratio: float = _RATIO) -> NDArray[np.int64]:
    """Return the mutual nearest neighbours that pass the ratio test, shape (n, 2): rows of `query`, rows of `image`."""
    if len(query) == 0 or len(image) < 2:
        return np.empty((0, 2), np.int64)
    likeness = query @ image.T
    rows = np.arange(len(query))
    first = likeness.argmax(axis=1)
    best = likeness[rows, first]
    likeness[rows, first] = -1
    second = likeness.max(axis=1)
    # Squared distances of unit vectors are 2 - 2 likeness.
    kept = np.flatnonzero(1 - best < ratio**2 * (1 - second))
    back = (image[first[kept]] @ query.T).argmax(axis=1)
    kept = kept[back == kept]
    return np.column_stack([kept, first[kept]])


def _verified(query: Sift, image: Sift, pairs: NDArray[np.int64], corners: NDArray) -> tuple[int, list[float] | None]:
    """Return the number of inliers of the best homography and the box of `corners` under it."""
    if len(pairs) < _MIN_MATCHES:
        return 0, None
    source, target = query.keypoints[pairs[:, 0], :2], image.keypoints[pairs[:, 1], :2]
    unit = max(1.0, float(np.ptp(image.keypoints[:, :2], axis=0).max()) / LONG_SIDE)
    matrix, inliers = cv2.findHomography(
        source, target, cv2.USAC_MAGSAC, _INLIER_PX * unit, maxIters=5000, confidence=0.999
    )
    if matrix is None:
        return 0, None
    mapped = cv2.perspectiveTransform(corners[None], matrix)[0]
    low, size = mapped.min(axis=0), np.ptp(mapped, axis=0)
    return int(inliers.sum()), [*map(float, low), *map(float, size)]


def cache_folder(cache: Path, dataset: Dataset, method: str, *recipe: object) -> Path:
    """Return (and make) the folder in which answers of `method` on `dataset` are kept.

    Its name bears the parameters in `recipe`, so that answers of others are never mistaken for these.
    """
    text = " ".join(map(str, [*recipe, cv2.__version__, dataset.images]))
    folder = cache / f"{dataset.name}-{method}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _query_features(dataset: Dataset, place: Place) -> Sift:
    most = _IMAGE_FEATURES if place.region is None else _REGION_FEATURES
    return extract(dataset.path(place.image), place.region, enlarge_to=_SMALL_CROP).strongest(most)


def _corners(dataset: Dataset, place: Place) -> NDArray[np.float64]:
    if place.region is not None:
        return place.region.corners()
    height, width = _read(dataset.path(place.image)).shape
    return Region(0.0, 0.0, float(width), float(height)).corners()


def _kept(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete records of a file of JSON lines; the last may have been cut off."""
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


def brute_force(dataset: Dataset, cache: Path) -> Outcome:
    """Compare every query with every image.

    Parameters
    ----------
    dataset : Dataset
        The collection and the queries to ask.
    cache : Path
        Where finished comparisons are kept, and taken from.

    Returns
    -------
    Outcome
        The score is the number of inliers; images with none are left out. The time counts matching and verification
        in CPU seconds of one core, not the extraction.
    """
    file = cache_folder(cache, dataset, "brute", *_FEATURES, _RATIO, _INLIER_PX, _MIN_MATCHES) / "pairs.jsonl"
    answers: dict[str, list[Found]] = {q.id: [] for q in dataset.queries}
    seconds = dict.fromkeys(answers, 0.0)
    todo = {(q.id, image) for q in dataset.queries for image in dataset.images if image not in q.ignored}
    for record in _kept(file):
        pair = (record["query"], record["image"])
        if pair in todo:
            todo.remove(pair)
            _collect(record, answers, seconds)
    waiting = {name for name, _ in todo}
    asked = {}
    for query in dataset.queries:
        if query.id in waiting:
            features = _query_features(dataset, query.place)
            asked[query.id] = (features, root(features.descriptors), _corners(dataset, query.place))
    with file.open("a", encoding="utf-8") as out:
        for image in dict.fromkeys(image for image in dataset.images if any((q, image) in todo for q in asked)):
            candidate = extract(dataset.path(image))
            descriptors = root(candidate.descriptors)
            for name, (features, rooted, corners) in asked.items():
                if (name, image) not in todo:
                    continue
                start = time.process_time()
                inliers, box = _verified(features, candidate, match(rooted, descriptors), corners)
                record = {"query": name, "image": image, "inliers": inliers, "region": box}
                record["seconds"] = time.process_time() - start
                out.write(json.dumps(record) + "\n")
                _collect(record, answers, seconds)
            out.flush()
    return Outcome(answers, list(seconds.values()))


def _collect(record: dict[str, Any], answers: dict[str, list[Found]], seconds: dict[str, float]) -> None:
    seconds[record["query"]] += record["seconds"]
    if record["inliers"]:
        answers[record["query"]].append(Found(record["image"], record["inliers"], None, record["region"]))


def visual_index(dataset: Dataset, cache: Path) -> Outcome:
    """Ask ``pycolmap.VisualIndex``, through COLMAP's own pair generator.

    The binding of ``VisualIndex.query`` returns nothing (pycolmap 4.2.1 fills a copy of the list it is given), so ranks
    are all that can be had: scores are negated ranks. Queries are rows of the same COLMAP database and so are indexed
    too, as COLMAP does; they are taken out of the answers.

    Parameters
    ----------
    dataset : Dataset
        The collection and the queries to ask.
    cache : Path
        Where finished answers are kept, and taken from.

    Returns
    -------
    Outcome
        The time is in CPU seconds, the mean of all queries for each, not counting extraction and indexing.

    Raises
    ------
    MissingDependency
        If pycolmap is not installed.
    """
    try:
        import pycolmap
    except ImportError as error:
        raise MissingDependency("pycolmap is not installed; run: pip install calque[bench]") from error
    queries = hashlib.sha256(" ".join(q.id for q in dataset.queries).encode()).hexdigest()[:12]
    file = (
        cache_folder(cache, dataset, "pycolmap", *_FEATURES, _WORDS, _TRAINING_FEATURES, _VERIFIED) / f"{queries}.json"
    )
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        return Outcome({name: [Found(*f) for f in found] for name, found in kept["answers"].items()}, kept["seconds"])
    with tempfile.TemporaryDirectory() as folder:
        database = pycolmap.Database.open(Path(folder) / "features.db")
        camera = database.write_camera(
            pycolmap.Camera(model="SIMPLE_PINHOLE", width=LONG_SIDE, height=LONG_SIDE, params=[LONG_SIDE, 0, 0])
        )
        rows: dict[str, int] = {}
        samples = []
        chooser = np.random.default_rng(0)
        places = {image: Place(image, None) for image in dataset.images}
        # A query for a whole image of the collection asks for the row that the image has already.
        names = {
            q.id: q.place.image if places.get(q.place.image) == q.place else f"query/{q.id}" for q in dataset.queries
        }
        for name, place in (places | {names[q.id]: q.place for q in dataset.queries}).items():
            features = extract(dataset.path(place.image)) if name in places else _query_features(dataset, place)
            descriptors = np.clip(np.rint(root(features.descriptors) * 512), 0, 255).astype(np.uint8)
            keypoints = features.keypoints * np.array([1, 1, 0.5, np.pi / 180], np.float32)
            keypoints[:, :2] += 0.5
            rows[name] = database.write_image(pycolmap.Image(name=name, camera_id=camera))
            database.write_keypoints(rows[name], keypoints)
            database.write_descriptors(
                rows[name], pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.SIFT, descriptors)
            )
            if name in places:
                share = _TRAINING_FEATURES // len(dataset.images)
                samples.append(chooser.permutation(descriptors)[:share])
        vocabulary = Path(folder) / "vocabulary.bin"
        _train(np.concatenate(samples), vocabulary)
        outcome = _ranked(dataset, database, vocabulary, rows, names)
    kept = {"answers": outcome.answers, "seconds": outcome.seconds}
    file.write_text(json.dumps(kept), encoding="utf-8")
    return outcome


def _train(descriptors: NDArray[np.uint8], file: Path) -> None:
    import pycolmap

    options = pycolmap.VisualIndex.BuildOptions()
    options.num_visual_words, options.num_rounds, options.num_iterations, options.num_threads = _WORDS, 1, 10, 1
    index = pycolmap.VisualIndex.create(descriptors.shape[1], 64)
    index.build(
        options,
        pycolmap.FeatureDescriptorsFloat(pycolmap.FeatureExtractorType.SIFT, descriptors.astype(np.float32)),
    )
    index.write(file)


def _ranked(dataset: Dataset, database: Any, vocabulary: Path, rows: dict[str, int], names: dict[str, str]) -> Outcome:
    """Return the answers of COLMAP's pair generator: the order of its pairs is the rank."""
    import pycolmap

    options = pycolmap.VocabTreePairingOptions()
    options.vocab_tree_path, options.num_threads = vocabulary, 1
    options.num_images = options.num_images_after_verification = min(len(rows), _VERIFIED + len(dataset.queries))
    generator = pycolmap.VocabTreePairGenerator(options, database, sorted({rows[name] for name in names.values()}))
    images = {row: name for name, row in rows.items()}
    ranked: dict[int, list[Found]] = {}
    start = time.process_time()
    while not generator.has_finished():
        for row, other in generator.next():
            found = ranked.setdefault(row, [])
            if not images[other].startswith("query/"):
                found.append(Found(images[other], -float(len(found))))
    seconds = (time.process_time() - start) / len(ranked)
    return Outcome({q.id: ranked.get(rows[names[q.id]], []) for q in dataset.queries}, [seconds] * len(names))

"""A reader of indexes by docs/format.md alone: none of calque's code, only h5py, sqlite3 and numpy."""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing
from typing import TYPE_CHECKING

import h5py
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

NEWEST = 4


def read_index(folder: Path) -> dict[int, dict]:
    """Return, by catalogue id, each image's name, page, metadata, zones, words, signatures, places and sizes."""
    with closing(sqlite3.connect((folder / "catalogue.sqlite").resolve().as_uri() + "?mode=ro", uri=True)) as db:
        meta = dict(db.execute("SELECT key, value FROM meta"))
        if meta["format_version"] > NEWEST:
            raise ValueError("a newer format")
        rows = db.execute("SELECT id, name, page, width, height, n_features, segment FROM images").fetchall()
        metadata = db.execute("SELECT image_id, key, value FROM metadata").fetchall()
        zones = db.execute("SELECT image_id, x, y, width, height, kind FROM regions ORDER BY id").fetchall()
    settings = json.loads(meta["settings"])
    images = {}
    for number, name, page, width, height, n_features, segment in rows:
        told = {key: value for image, key, value in metadata if image == number}
        found = [(kind, (x, y, w, h)) for image, x, y, w, h, kind in zones if image == number]
        images[number] = {"name": name, "page": page, "size": (width, height), "metadata": told, "zones": found}
        images[number] |= {"segment": segment, "n_features": n_features}
    for segment in {image["segment"] for image in images.values()} - {None}:
        for number, features in read_segment(folder / "segments" / f"{segment}.h5", settings).items():
            if number in images and images[number]["segment"] == segment:  # the others are dead
                images[number] |= features
    return images


def read_segment(path: Path, settings: dict) -> dict[int, dict]:
    """Return the features of all images of a segment, by catalogue id."""
    with h5py.File(path, "r") as file:
        if file.attrs["format"] != "calque segment" or not 3 <= file.attrs["version"] <= NEWEST:
            raise ValueError("not a segment that this can read")
        data = {name: dataset[...] for name, dataset in file.items()}
        for name, dataset in file.items():
            if zlib.crc32(data[name].tobytes()) != dataset.attrs["crc32"]:
                raise ValueError(f"{name} is damaged")
    bits, features = settings.get("geometry_bits", 64), {}
    for local, number in enumerate(data["image_ids"]):
        packed = data["image_words"][data["image_offsets"][local] : data["image_offsets"][local + 1]]
        words = np.cumsum(packed.astype(int))[packed < 255]
        places = []
        for word in np.unique(words):
            row = np.searchsorted(data["words"], word)
            start, stop = (int(data["offsets"][row + i]) for i in (0, 1))
            inside = data["images"][start:stop]
            places += range(start + np.searchsorted(inside, local), start + np.searchsorted(inside, local, "right"))
        size = data["image_sizes"][local]
        features[int(number)] = {"words": words, "signatures": data["signatures"][places]}
        features[int(number)] |= keypoints(data["geometry"][places].astype(np.uint64), size, settings, bits)
    return features


def keypoints(geometry: np.ndarray, size: np.ndarray, settings: dict, bits: int) -> dict:
    """Return x, y, diameter (pixels) and orientation (degrees, clockwise) of features."""
    place, other, fine = (11, 5, 4) if bits == 32 else (20, 12, 256)
    widths, values = (place, place, other, other), []
    for width in widths:
        values.append((geometry & np.uint64((1 << width) - 1)).astype(float))
        geometry = geometry >> np.uint64(width)
    x, y, s, a = values
    shrunk = max(1.0, max(size) / settings["work_size"])
    return {
        "x": (x + 0.5) * size[0] / 2**place - 0.5,
        "y": (y + 0.5) * size[1] / 2**place - 0.5,
        "diameter": 2 ** (s / fine + 0.5) * shrunk,
        "degrees": a * 360 / 2**other,
    }

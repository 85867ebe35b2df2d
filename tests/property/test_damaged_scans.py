"""Whatever happens to a file's bytes, reading it ends in a scan or in one clear line."""

from __future__ import annotations

import functools
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from matcher.errors import InputError
from matcher.images import page_count, read_image

KINDS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "jpeg"}),
    ("TIFF", {"compression": "group4"}),
    ("JPEG2000", {}),
    ("WEBP", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("PPM", {}),
    ("PDF", {}),
]


@functools.cache
def encoded(kind: int) -> bytes:
    name, options = KINDS[kind]
    noise = np.random.default_rng(kind).integers(0, 256, (40, 56, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert("1" if "group4" in options.values() else "RGB").save(buffer, name, **options)
    return buffer.getvalue()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.integers(0, len(KINDS) - 1),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=4),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
    long_side=st.sampled_from([None, 20, 7]),
)
def test_damage_never_surprises(
    kind: int, edits: list[tuple[float, bytes]], kept: float, long_side: int | None
) -> None:
    data = bytearray(encoded(kind))
    for place, patch in edits:
        # half of the damage goes to the header, where it does most
        start = int(place * 2 * min(400, len(data))) if place < 0.5 else int(place * len(data))
        data[start : start + len(patch)] = patch
    del data[int(len(data) * kept) :]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder, "scan")
        path.write_bytes(data)
        for read in (page_count, functools.partial(read_image, long_side=long_side, max_pixels=10**6)):
            try:
                result = read(path)
            except InputError as error:
                assert str(error).startswith(f"{path}: ")
                assert "\n" not in str(error)
                continue
            if isinstance(result, int):
                assert result >= 0
            else:
                assert result.pixels.dtype == np.uint8
                assert max(result.pixels.shape) <= (long_side or max(result.width, result.height))
                assert result.scale_x >= 1
                assert result.scale_y >= 1


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scan.jpg")
        path.write_bytes(data)
        try:
            assert read_image(path, max_pixels=10**6).pixels.size > 0
        except InputError as error:
            assert str(error).startswith(f"{path}: ")

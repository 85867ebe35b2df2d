"""Embedders without weights: what they see, what they do not, and that any picture gives a vector of unit length."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from matcher.embedding import Embedder, embedded, unit
from matcher.embedding_classical import Palette, Structure
from matcher.errors import InputError
from matcher.registry import EMBEDDERS, embedder_named

CLASSICAL = ("palette", "structure", "vlad")


def flat(colour, size=(40, 60)):
    return np.full((*size, 3), colour, np.uint8)


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (333, 2), (40, 60), (900, 700)])
def test_any_picture_gives_a_vector_of_unit_length(name, size):
    embedder = embedder_named(name)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    rows = embedded(embedder, [noise, flat(0, size), flat(255, size)])
    assert isinstance(embedder, Embedder)
    assert rows.shape == (3, embedder.size)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.size)


@pytest.mark.parametrize("name", CLASSICAL)
def test_the_same_picture_smaller_is_nearer_than_another(name):
    pictures = [np.asarray(getattr(data, sample)()) for sample in ("astronaut", "coffee", "chelsea", "rocket")]
    small = [cv2.resize(picture, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA) for picture in pictures]
    embedder = embedder_named(name)
    likeness = embedder.embed(small) @ embedder.embed(pictures).T
    assert (likeness.argmax(axis=1) == np.arange(4)).all()


def test_the_palette_sees_colours_and_not_places():
    palette = Palette()
    halves = np.concatenate([flat((200, 30, 40)), flat((20, 40, 160))], axis=1)
    rows = palette.embed([halves, halves[:, ::-1], np.rot90(halves), flat((200, 30, 40)), flat((30, 160, 60))])
    np.testing.assert_allclose(rows[0] @ rows[1:3].T, 1, atol=0.01)
    assert rows[0] @ rows[3] > rows[0] @ rows[4] + 0.2


def test_a_colour_asked_for_finds_the_picture_that_has_it():
    palette = Palette()
    page = flat(245, (100, 100))
    red, blue = page.copy(), page.copy()
    red[10:30, 10:40] = 160, 48, 32
    blue[60:80, 20:60] = 30, 50, 150
    rows = palette.embed([red, blue, page])
    asked = palette.of_colours(np.array([[165, 50, 30]], np.uint8))
    likeness = rows @ asked
    assert likeness.argmax() == 0
    assert likeness[0] > 3 * max(likeness[1:])


def test_structure_sees_lines_and_not_tones():
    structure = Structure()
    stripes = np.repeat(np.tile(np.repeat([60, 200], 8), 8)[None], 128, axis=0).astype(np.uint8)
    across = np.dstack([stripes] * 3)
    down = np.ascontiguousarray(across.swapaxes(0, 1))
    rows = structure.embed([across, 255 - across, across // 2 + 30, down])
    np.testing.assert_allclose(rows[0] @ rows[1:3].T, 1, atol=1e-3)
    assert rows[0] @ rows[3] < 0.3


def test_rows_of_length_zero_become_alike_and_of_unit_length():
    rows = unit(np.array([[0, 0, 0], [np.nan, 1, 0], [np.inf, 0, 0], [0, 3, 4]]))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_allclose(rows[3], [0, 0.6, 0.8], rtol=1e-6)


def test_an_unknown_embedder_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'palette'"):
        embedder_named("palete")
    with pytest.raises(InputError, match="takes no model of its own; leave out ':x'"):
        embedder_named("palette:x")


def test_signatures_tell_embedders_apart():
    signatures = [embedder_named(name).signature for name in EMBEDDERS if not EMBEDDERS[name].extra]
    assert len(set(signatures)) == len(signatures)
    assert Palette(contrast=0.5).signature != Palette().signature

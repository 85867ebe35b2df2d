"""Visual words and signatures: what is saved is read again, and damage is told from absence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from index.settings import Settings
from index.training import learn
from index.vocabulary import MEDIAN_STEP, WORD_STEP, Vocabulary, bundled_vocabulary
from matcher.errors import CalqueError, CorruptIndex, InputError
from matcher.selection import PictureNetwork
from matcher.sift import Sift, root_sift
from matcher.significance import SHIPPED_LAW, Law
from tests import reference

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ARRAYS = ("words", "cells", "cell_offsets", "projection", "medians", "likeness")


def descriptors(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Return descriptors in clumps, as real ones are."""
    rng = np.random.default_rng(seed)
    clumps = np.random.default_rng(99).gamma(0.4, 1.0, (60, 128))
    return root_sift(clumps[rng.integers(0, 60, n)] * rng.uniform(0.3, 1.7, (n, 128)))


@pytest.fixture(scope="module")
def small() -> Vocabulary:
    """A vocabulary of 80 words in eight cells, drawn rather than learnt."""
    rng = np.random.default_rng(1)
    centres = descriptors(80, seed=2)
    return Vocabulary(
        name="small",
        features=Sift().signature,
        words=np.clip(np.round(centres / WORD_STEP), 0, 255).astype(np.uint8),
        cells=np.stack([part.mean(axis=0) for part in np.split(centres, 8)]),
        cell_offsets=np.arange(0, 81, 10),
        projection=np.linalg.qr(rng.normal(size=(128, 128)))[0][:64].astype(np.float32),
        medians=rng.integers(-20, 20, (80, 64)).astype(np.int8),
        likeness=rng.normal(size=PictureNetwork.blank(128).packed().size).astype(np.float32),
    )


@pytest.fixture
def file(small, tmp_path) -> Path:
    path = tmp_path / "small.h5"
    small.save(path)
    return path


def test_weights_of_an_older_calque_are_refused(small, tmp_path):
    replace(small, likeness=small.likeness[:131]).save(tmp_path / "old.h5")
    with pytest.raises(InputError, match="trained by an older calque"):
        Vocabulary.load(tmp_path / "old.h5")
    replace(small, likeness=small.likeness[:0]).save(tmp_path / "none.h5")
    assert Vocabulary.load(tmp_path / "none.h5").likeness.size == 0


def test_what_is_saved_is_read_again(small, file):
    read = Vocabulary.load(file)
    assert (read.name, read.features, len(read), read.hash) == ("small", small.features, 80, small.hash)
    for name in ARRAYS:
        array = getattr(read, name)
        assert array.dtype == getattr(small, name).dtype
        assert (array == getattr(small, name)).all()
        assert not array.flags.writeable


def test_a_law_of_chance_is_kept_with_it_and_changes_no_word(small, tmp_path):
    law = Law(0.031, 0.4, 0.9, 2.5, 3e-3)
    replace(small, law=law).save(tmp_path / "own.h5")
    read = Vocabulary.load(tmp_path / "own.h5")
    assert (read.law, read.supposed_law, read.hash) == (law, law, small.hash)
    with h5py.File(tmp_path / "own.h5", "r+") as opened:
        opened.attrs["law"] = np.array([0.031, 0.4, 0.9, 2.5, 3e-5])
    with pytest.raises(CorruptIndex, match=r"own\.h5 is damaged"):
        Vocabulary.load(tmp_path / "own.h5")


def test_an_older_file_has_no_law_and_is_read(file):
    with h5py.File(file, "r+") as opened:
        opened.attrs["format"] = 1
    read = Vocabulary.load(file)
    assert read.law is None
    assert read.supposed_law == SHIPPED_LAW == bundled_vocabulary().law


def test_read_again_it_says_the_same(small, file):
    read, some = Vocabulary.load(file), descriptors(50)
    words = small.assign(some)[:, 0]
    assert (read.assign(some)[:, 0] == words).all()
    assert (read.signatures(read.project(some), words) == small.signatures(small.project(some), words)).all()


@pytest.mark.parametrize("name", ARRAYS)
def test_hash_covers_every_array(small, name):
    other = getattr(small, name).copy()
    other.flat[0] += 1
    assert replace(small, **{name: other}).hash != small.hash


@pytest.mark.parametrize("name", ARRAYS)
def test_changed_contents_are_damage(file, name):
    with h5py.File(file, "r+") as opened:
        values = opened[name][()]
        values.flat[-1] += 1
        opened[name][...] = values
    with pytest.raises(CorruptIndex, match=rf"{file.name} is damaged"):
        Vocabulary.load(file)


def test_a_damaged_file_is_never_taken_for_a_whole_one(small, file):
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(whole), 150).tolist():
        file.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << int(rng.integers(8)))]) + whole[place + 1 :])
        try:
            assert Vocabulary.load(file).hash == small.hash  # the flipped bit belonged to nothing
        except CalqueError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("length", [0, 100, 5000])
def test_a_truncated_file_is_refused(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(InputError, match=r"small\.h5.*train"):
        Vocabulary.load(file)


def test_other_files_are_refused(tmp_path, file):
    with pytest.raises(InputError, match=r"absent\.h5: no such vocabulary"):
        Vocabulary.load(tmp_path / "absent.h5")
    text = tmp_path / "notes.txt"
    text.write_text("words, words, words")
    with pytest.raises(InputError, match=r"notes\.txt cannot be read as a vocabulary"):
        Vocabulary.load(text)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["temperatures"] = np.arange(3)
    with pytest.raises(InputError, match=r"other\.h5 is not a vocabulary"):
        Vocabulary.load(tmp_path / "other.h5")
    with h5py.File(file, "r+") as opened:
        opened.attrs["format"] = 999
    with pytest.raises(InputError, match="not a vocabulary of format"):
        Vocabulary.load(file)


def test_all_cells_probed_the_assignment_is_exact(small):
    some = descriptors(200)
    chosen = small.assign(some, words=3, probes=len(small.cells))
    nearest, distances = reference.nearest_words(some, small.words * WORD_STEP, 3)
    clear = np.diff(distances, axis=1).min(axis=1) > 1e-4
    assert clear.sum() > 150
    assert (chosen[clear] == nearest[clear]).all()


def test_few_cells_probed_it_is_nearly_so(small):
    some = descriptors(400)
    exact = small.assign(some, probes=8)[:, 0]
    assert (small.assign(some, probes=4)[:, 0] == exact).mean() > 0.6
    # One cell has ten words to give.
    assert ((small.assign(some, words=12, probes=1) >= 0).sum(axis=1) == 10).all()


def test_nothing_has_no_words(small):
    assert small.assign(np.zeros((0, 128), np.float32), 3).shape == (0, 3)


def test_signature_bits_are_the_sides_of_the_medians(small):
    some = descriptors(20)
    words = small.assign(some)[:, 0]
    projections = small.project(some)
    assert projections == pytest.approx(some @ small.projection.T, abs=1e-5)
    signatures = small.signatures(projections, words)
    assert signatures.dtype == np.uint64
    for row, (signature, word) in enumerate(zip(signatures.tolist(), words, strict=True)):
        bits = [projections[row, bit] > small.medians[word, bit] * MEDIAN_STEP for bit in range(64)]
        assert [bool(signature >> bit & 1) for bit in range(64)] == bits


def test_the_bundled_vocabulary_is_the_one_that_indexes_name():
    vocabulary = bundled_vocabulary()
    assert len(vocabulary) == 65536
    assert vocabulary.features == Sift().signature == Settings("", "").extractor
    assert len(PictureNetwork.unpacked(vocabulary.likeness, 128).hidden) > 90
    assert vocabulary.medians.shape == (65536, 64)
    assert (np.diff(vocabulary.cell_offsets) > 0).all()
    assert vocabulary.cell_offsets[-1] == 65536
    assert bundled_vocabulary() is vocabulary


def test_the_bundled_vocabulary_is_small_enough_to_ship():
    from index import vocabulary

    shipped = list((vocabulary.Path(vocabulary.__file__).parent / "data").iterdir())
    assert sum(file.stat().st_size for file in shipped) <= 16 * 2**20


@pytest.mark.compiled
def test_words_are_learnt_where_descriptors_lie():
    some = descriptors(4000)
    vocabulary = learn(some, 256, "learnt", Sift().signature, np.zeros(131, np.float32))
    assert len(vocabulary) == 256
    words = vocabulary.assign(some)[:, 0]
    off = np.linalg.norm(some - vocabulary.words[words] * WORD_STEP, axis=1)
    assert off.mean() < 0.8 * np.linalg.norm(some - some.mean(axis=0), axis=1).mean()
    bits = (vocabulary.signatures(vocabulary.project(some), words)[:, None] >> np.arange(64, dtype=np.uint64)) & 1
    assert (np.abs(bits.mean(axis=0) - 0.5) < 0.1).all()
    # The same again: nothing but the seed decides.
    assert learn(some, 256, "learnt", Sift().signature, np.zeros(131, np.float32)).hash == vocabulary.hash
    with pytest.raises(InputError, match="4000 features are too few for 500 words"):
        learn(some, 500, "learnt", Sift().signature, np.zeros(131, np.float32))

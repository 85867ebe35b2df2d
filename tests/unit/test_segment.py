"""Segments: what is written is what is read, merged or not, and damage never goes unnoticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index._hdf5 import datasets
from index._segment_kernels import postings_of_image
from index.segment import Segment
from index.segment_writing import merge_segments, write_segment
from index.settings import Settings
from matcher.errors import CalqueError, CorruptIndex, SettingsMismatch
from tests import reference
from tests.crash.fake_encoder import SETTINGS, encoded

if TYPE_CHECKING:
    from pathlib import Path

    from index.encoding import EncodedImage

Images = dict[int, "EncodedImage"]


def images(ids: range | list[int]) -> Images:
    """Return made-up images; number 4 has no features."""
    return {i: encoded(b"blank" if i == 4 else b"%d" % i) for i in ids}


def written(path: Path, contents: Images) -> Segment:
    write_segment(path, contents.items(), SETTINGS)
    return Segment.open(path)


def assert_holds(segment: Segment, contents: Images) -> None:
    assert segment.image_ids.tolist() == list(contents)
    for image_id, image in contents.items():
        local = segment.local(image_id)
        for name, got in segment.gather(local)._asdict().items():
            want = getattr(image, name)
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
        assert segment.image_sizes[local].tolist() == [image.width, image.height]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    contents = images([3, 4, 5, 900])
    segment = written(tmp_path / "a.h5", contents)
    assert_holds(segment, contents)
    assert segment.verify(deep=True) == []
    assert segment.settings == SETTINGS
    assert segment.alive.all()
    assert segment.name == "a"


def test_postings_are_sorted_by_word_and_image(tmp_path: Path) -> None:
    segment = written(tmp_path / "a.h5", images(range(20)))
    words = np.repeat(segment.words, np.diff(segment.offsets))
    keys = list(zip(words.tolist(), segment.images.tolist(), strict=True))
    assert keys == sorted(keys)
    assert len(keys) == segment.n_features == sum(len(i.words) for i in images(range(20)).values())


def test_arrays_are_mapped_read_only(tmp_path: Path) -> None:
    segment = written(tmp_path / "a.h5", images(range(3)))
    for name in datasets(SETTINGS):
        with pytest.raises(ValueError, match="read-only"):
            segment._arrays[name][...] = 0


@pytest.mark.parametrize("contents", [{}, images([4]), {7: encoded(b"blank"), 9: encoded(b"blank")}])
def test_segments_without_features(tmp_path: Path, contents: Images) -> None:
    segment = written(tmp_path / "a.h5", contents)
    assert_holds(segment, contents)
    assert segment.verify(deep=True) == []


def test_a_feature_takes_fifteen_bytes(tmp_path: Path) -> None:
    """Beyond a fixed part for words and container; of real pages see docs/profiles.md."""
    few, many = (written(tmp_path / f"{n}.h5", images(range(100, 100 + n))) for n in (200, 1200))
    per_feature = (many.n_bytes - few.n_bytes) / (many.n_features - few.n_features)
    assert 15 <= per_feature < 15 + 24 / 30 + 0.1  # 24 bytes an image of 30 features on average


def test_equal_contents_give_equal_files(tmp_path: Path) -> None:
    written(tmp_path / "a.h5", images(range(5)))
    written(tmp_path / "b.h5", images(range(5)))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@given(
    owners=st.lists(st.integers(0, 2), max_size=25),
    dead=st.sets(st.integers(0, 24)),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_merging_keeps_what_is_alive(tmp_path: Path, owners: list[int], dead: set[int]) -> None:
    everything = images(range(len(owners)))
    parts = []
    for number in range(3):
        path = tmp_path / f"{number}.h5"
        write_segment(path, {i: everything[i] for i, owner in enumerate(owners) if owner == number}.items(), SETTINGS)
        parts.append(Segment.open(path, sorted(dead)))
    merge_segments(tmp_path / "merged.h5", parts)
    merged = Segment.open(tmp_path / "merged.h5")
    assert_holds(merged, {i: image for i, image in everything.items() if i not in dead})
    assert merged.verify(deep=True) == []


def test_merging_in_small_blocks_gives_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [written(tmp_path / f"{k}.h5", images(range(k, 60, 3))) for k in range(3)]
    merge_segments(tmp_path / "at once.h5", parts)
    monkeypatch.setattr("index.segment_writing.BLOCK", 16)
    merge_segments(tmp_path / "in blocks.h5", parts)
    assert (tmp_path / "at once.h5").read_bytes() == (tmp_path / "in blocks.h5").read_bytes()


def test_merging_refuses_other_settings_and_damage(tmp_path: Path) -> None:
    mine = written(tmp_path / "a.h5", images(range(3)))
    other = Settings(vocabulary="made up", vocabulary_hash="1" * 64)
    write_segment(tmp_path / "b.h5", images([8]).items(), other)
    with pytest.raises(SettingsMismatch, match=r"a\.h5|b\.h5"):
        merge_segments(tmp_path / "c.h5", [mine, Segment.open(tmp_path / "b.h5")])
    flip(tmp_path / "a.h5", mine.signatures.tobytes()[:8])
    with pytest.raises(CorruptIndex, match=r"a\.h5.*signatures"):
        merge_segments(tmp_path / "c.h5", [mine])
    assert not (tmp_path / "c.h5").exists()


def test_ids_must_ascend(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ascending"):
        write_segment(tmp_path / "a.h5", [(2, encoded(b"a")), (1, encoded(b"b"))], SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_there_is_room_for_65536_images_and_no_more(tmp_path: Path) -> None:
    one = encoded(b"blank")
    write_segment(tmp_path / "a.h5", ((i, one) for i in range(1 << 16)), SETTINGS)
    assert len(Segment.open(tmp_path / "a.h5")) == 1 << 16
    with pytest.raises(ValueError, match="at most 65536"):
        write_segment(tmp_path / "b.h5", ((i, one) for i in range((1 << 16) + 1)), SETTINGS)


def test_unknown_images(tmp_path: Path) -> None:
    segment = written(tmp_path / "a.h5", images([3, 5]))
    for image_id in (2, 4, 6):
        with pytest.raises(KeyError):
            segment.local(image_id)
    with pytest.raises(IndexError):
        segment.gather(2)


def flip(path: Path, where: bytes | int) -> None:
    data = bytearray(path.read_bytes())
    place = where if isinstance(where, int) else data.index(where)
    data[place] ^= 0x40
    path.write_bytes(data)


def test_a_flipped_byte_is_found_or_harmless(tmp_path: Path) -> None:
    """Every 31st byte: header, padding, small datasets, postings."""
    contents = images(range(6))
    stored = sum(array.nbytes for array in written(tmp_path / "a.h5", contents)._arrays.values())
    data = (tmp_path / "a.h5").read_bytes()
    found = 0
    for place in range(0, len(data), 31):
        damaged = tmp_path / f"{place}.h5"
        damaged.write_bytes(data)
        flip(damaged, place)
        try:
            segment = Segment.open(damaged)
        except CalqueError as error:
            assert str(damaged) in str(error)
            found += 1
            continue
        if segment.verify(deep=True):
            found += 1
        else:
            assert_holds(segment, contents)
    assert found > stored / 31  # each flip in a dataset, and in the header


def test_a_heap_without_end_is_refused(tmp_path: Path) -> None:
    """HDF5 itself would go in circles: the heaps in which it keeps texts bear no checksums."""
    path = written(tmp_path / "a.h5", images(range(3))).path
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first : first + 16] = bytes(16)
    path.with_name("b.h5").write_bytes(content)
    with pytest.raises(CorruptIndex, match="a heap of texts has no end"):
        Segment.open(path.with_name("b.h5"))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.h5", images(range(6)))
    data = (tmp_path / "a.h5").read_bytes()
    for length in range(0, len(data), 211):
        (tmp_path / "b.h5").write_bytes(data[:length])
        with pytest.raises(CorruptIndex, match=r"b\.h5 is damaged .*calque check --repair"):
            Segment.open(tmp_path / "b.h5")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("not HDF5")
    with pytest.raises(CorruptIndex, match=r"a\.h5 is damaged"):
        Segment.open(tmp_path / "a.h5")
    with pytest.raises(FileNotFoundError):
        Segment.open(tmp_path / "none.h5")


def test_lost_postings_are_an_error_not_a_guess(tmp_path: Path) -> None:
    """Even unchecked: the images of all postings overwritten by one that has none."""
    segment = written(tmp_path / "a.h5", images([3, 4, 5]))
    data = (tmp_path / "a.h5").read_bytes()
    place = data.index(segment.images.tobytes())
    nobody = np.full(segment.n_features, 1, np.uint16).tobytes()
    (tmp_path / "b.h5").write_bytes(data[:place] + nobody + data[place + len(nobody) :])
    damaged = Segment.open(tmp_path / "b.h5")
    with pytest.raises(CorruptIndex, match="postings of image 3 are missing"):
        damaged.gather(0)
    assert damaged.verify() == []
    assert damaged.verify(deep=True) == ["checksum of images differs"]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), max_size=60), st.integers(0, 5), st.data())
@settings(max_examples=60, deadline=None)
def test_kernel_equals_its_twin(keys: list[tuple[int, int]], local: int, data: st.DataObject) -> None:
    keys = sorted(keys)
    all_words = np.array([word for word, _ in keys], np.uint16)
    words, counts = np.unique(all_words, return_counts=True)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    owners = np.array([image for _, image in keys], np.uint16)
    true = [word for word, image in keys if image == local]
    asked = np.array(data.draw(st.sampled_from([true, true[1:], [*true, 9]])), np.uint16)
    arguments = (words, offsets, owners, asked, local)
    np.testing.assert_array_equal(postings_of_image(*arguments), reference.postings_of_image(*arguments))

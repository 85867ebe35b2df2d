"""Images by words: what a word stands for, what is seen of a catalogue that changes, what nobody can break."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.find import find
from index import words
from index.store import Index
from index.words import WORDS_FILE, find_words
from matcher.errors import InputError
from tests.crash.fake_encoder import SETTINGS, FakeEncoder

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = {
    1: {"title": "A ship in a storm", "publisher": "Condé Nast"},
    2: {"title": "Shipwrecks, and other storms", "caption": "two ships on a rough sea"},
    3: {"title": "富士山の図", "note": '"quoted" NEAR(a b) OR *'},
    4: {"title": "Storm over the sea"},
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    files = [folder / f"{name}.png" for name in ("plate_001", "plate_002", "été à Lyon", "view")]
    for file in files:
        file.write_bytes(file.stem.encode())
    with Index.create(folder / "i.calque", SETTINGS) as made:
        made.add(files, workers=0, encoder_factory=FakeEncoder)
        made.set_metadata(KNOWN)
    return folder / "i.calque"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ship", [1, 2]),
        ("SHIP Storm", [1, 2]),
        ('"ship"', [1]),
        ('"in a storm"', [1]),
        ('"a ship in', [1]),
        ("storm -ship", [4]),
        ("conde nast", [1]),
        ("plate 002", [2]),
        ("plate_001.png", [1]),
        ("ete lyon", [3]),
        ("富士", [3]),
        ("山富", []),
        ("NEAR(a", [3]),
        ("ship AND", [2]),
        ("elephant", []),
        ("?! -", []),
        ("", []),
    ],
)
def test_what_words_stand_for(index: Path, text: str, expected: list[int]) -> None:
    found = find_words(index, text)
    assert sorted(hit.image for hit in found) == expected
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


def test_the_words_themselves_come_first_and_are_shown(index: Path) -> None:
    assert find_words(index, "ship")[0].told == "A [ship] in a storm Condé Nast"
    assert find_words(index, "富士山")[0].told.startswith("[富士山]の図")


def test_words_that_must_not_be_there_need_one_that_must(index: Path) -> None:
    with pytest.raises(InputError, match="add a word that must"):
        find_words(index, "-ship")


@given(st.text(st.sampled_from('ab"*-^:()+{}') | st.characters(), max_size=20))
def test_any_text_is_answered_or_refused(index: Path, text: str) -> None:
    try:
        find_words(index, text)
    except InputError as error:
        assert "must not" in str(error)


def test_changes_are_seen_and_nothing_is_read_twice(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{name}.png" for name in "ab"]
    for file in files:
        file.write_bytes(file.stem.encode())
    path = tmp_path / "i.calque"
    with Index.create(path, SETTINGS) as made:
        made.add(files, workers=0, encoder_factory=FakeEncoder)
        made.set_metadata({1: {"title": "lion"}, 2: {"title": "lioness"}})
        assert [hit.image for hit in find_words(path, "lion")] == [1, 2]
        made.set_metadata({2: {"title": "tiger"}})
        assert [hit.image for hit in find_words(path, "lion")] == [1]
        made.remove([1])
        assert find_words(path, "lion") == []
    assert [hit.image for hit in find_words(path, "tiger")] == [2]
    monkeypatch.setattr(words, "_told", lambda index: pytest.fail("read again"))
    assert [hit.image for hit in find_words(path, "tiger")] == [2]
    (path / WORDS_FILE).unlink()
    with pytest.raises(pytest.fail.Exception, match="read again"):
        find_words(path, "tiger")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_searched_all_the_same(index: Path) -> None:
    index.chmod(0o555)
    try:
        assert len(find_words(index, "ship")) == 2
    finally:
        index.chmod(0o755)


def test_the_command(index: Path) -> None:
    run = CliRunner().invoke(find, [str(index), "storm", "sea", "--format", "jsonl"], standalone_mode=False)
    rows = [json.loads(line) for line in run.output.splitlines()]
    assert {row["id"] for row in rows} == {2, 4} and rows[0]["rank"] == 1
    assert rows[0]["metadata"] == KNOWN[rows[0]["id"]]
    chosen = [str(index), "storm", "--where", "caption~rough", "--top", "5", "--format", "csv"]
    run = CliRunner().invoke(find, chosen, standalone_mode=False)
    assert run.return_value == 0 and len(run.output.splitlines()) == 2
    run = CliRunner().invoke(find, [str(index), "elephant"], standalone_mode=False)
    assert (run.return_value, run.output) == (1, "")

"""Images by words: full-text search (SQLite FTS5) over their names and all that is known of them, captions too.

``words.sqlite`` beside the catalogue is derived from it: it is brought up to date when the catalogue has changed, image
by image, and deleting it costs nothing but the time to read all metadata again. Where the folder cannot be written, it
is made anew for each question, elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from index._sqlite import DatabaseFile, state_of
from index.catalogue import Catalogue
from index.contents import CATALOGUE
from index.derived import DERIVED
from matcher.errors import CalqueError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from index._sqlite import Database

__all__ = ["WORDS_FILE", "WordHit", "find_words"]

WORDS_FILE = "words.sqlite"
"""Name, in an index's folder, of the database of words."""

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS entered (image INTEGER PRIMARY KEY, digest BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS state (only INTEGER PRIMARY KEY CHECK (only = 0), told TEXT NOT NULL)",
    # Two and three letters are what most words that are looked for by their beginning begin with.
    "CREATE VIRTUAL TABLE IF NOT EXISTS words USING "
    "fts5(name, told, tokenize = \"unicode61 remove_diacritics 2\", prefix = '2 3')",
)
_TERM = re.compile(r'(-?)("[^"]*"?|[^\s"]+)')
_UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
"""Signs of scripts that put no blanks between words: kana, Chinese characters. Each counts as a word of its own."""

_APART = re.compile(rf"({_UNSPACED.pattern}\]?) +(?=\[?{_UNSPACED.pattern})")
_WORDS_SHOWN = 24


class WordHit(NamedTuple):
    """An image that contains what was asked for.

    Attributes
    ----------
    image : int
        Its catalogue id.
    score : float
        Okapi BM25 (Robertson et al., 1994) as SQLite has it; the higher, the more it is about the words.
    told : str
        Where they are said, a part of its name or of its metadata, with the words in brackets.
    """

    image: int
    score: float
    told: str


def find_words(path: Path, text: str) -> list[WordHit]:
    """Return the images of an index in whose name or metadata all words of `text` are, the best first.

    Case and accents do not count. A word stands for all that begin with it, but those that are it count more;
    ``"words in quotes"`` stand for themselves, one after the other; ``-word`` must not be there.

    Parameters
    ----------
    path : Path
        The index's folder.
    text : str

    Raises
    ------
    InputError
        If there is no index, or `text` only tells what must not be there.
    """
    asked = _query(text)
    if not (path / CATALOGUE).is_file():
        raise InputError(f"{path} is no index; make one with: calque add {path} SOURCE")
    if not asked:
        return []
    with _current(path) as db:
        rows = db.rows(
            f"SELECT rowid, -rank, snippet(words, -1, '[', ']', '…', {_WORDS_SHOWN}) FROM words "
            "WHERE words MATCH ? ORDER BY rank, rowid",
            asked,
        )
        return [WordHit(image, score, " ".join(_APART.sub(r"\1", told).split())) for image, score, told in rows]


def _query(text: str) -> str:
    """Return what FTS5 is to be asked, empty if `text` has no word in it."""
    wanted: list[str] = []
    unwanted: list[str] = []
    for sign, term in _TERM.findall(text):
        words = _indexable(term.strip('"'))
        if not any(letter.isalnum() for letter in words):
            continue
        phrase = f'"{words}"'
        found = phrase if term.startswith('"') else f"({phrase} OR {phrase} *)"
        (unwanted if sign else wanted).append(found)
    if unwanted and not wanted:
        raise InputError(f"{text!r} only says what must not be there; add a word that must")
    asked = " AND ".join(wanted)
    return f"({asked}) NOT ({' OR '.join(unwanted)})" if unwanted else asked


def _indexable(text: str) -> str:
    """Return text as SQLite can hold it, signs of scripts without blanks set apart."""
    plain = text.encode(errors="replace").decode().replace("\x00", " ")
    return _UNSPACED.sub(r" \1 ", plain)


@contextmanager
def _current(path: Path) -> Iterator[Database]:
    """Yield the database of words as the catalogue is now."""
    if os.access(path, os.W_OK):
        with _Words(path / WORDS_FILE) as words:
            words.update(path)
            yield words.database
    else:
        with TemporaryDirectory(prefix="calque-words-") as folder, _Words(Path(folder) / WORDS_FILE) as words:
            words.update(path)
            yield words.database


class _Words(DatabaseFile):
    """The database of words of an index."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "delete it; it is made again")
        try:
            self._db.require_whole(DERIVED[WORDS_FILE])
            self._prepare()
        except sqlite3.OperationalError as error:
            self.close()
            raise CalqueError(f"this Python's SQLite cannot search text ({error}); use one that has FTS5") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self._db.seal()

    @property
    def database(self) -> Database:
        return self._db

    def _prepare(self) -> None:
        ((version,),) = self._db.rows("PRAGMA user_version")
        if version != _VERSION:
            with self._db.transaction():
                for table in ("entered", "state", "words"):
                    self._db.change(f"DROP TABLE IF EXISTS {table}")
                for statement in (*_SCHEMA, f"PRAGMA user_version = {_VERSION}"):
                    self._db.change(statement)

    def update(self, index: Path) -> None:
        """Enter what has changed in an index's catalogue since it was last looked at."""
        # Before it is read: what changes meanwhile is then seen the next time.
        state = json.dumps(state_of(index / CATALOGUE))
        if next(self._db.rows("SELECT told FROM state"), None) == (state,):
            return
        with self._db.transaction():
            left = dict(self._db.rows("SELECT image, digest FROM entered"))
            for image, name, told in _told(index):
                digest = hashlib.blake2b(json.dumps([name, told]).encode(), digest_size=16).digest()
                if left.pop(image, None) == digest:
                    continue
                self._db.change("DELETE FROM words WHERE rowid = ?", image)
                self._db.change("INSERT INTO words (rowid, name, told) VALUES (?, ?, ?)", image, name, told)
                self._db.change("INSERT OR REPLACE INTO entered VALUES (?, ?)", image, digest)
            for image in left:
                self._db.change("DELETE FROM words WHERE rowid = ?", image)
                self._db.change("DELETE FROM entered WHERE image = ?", image)
            self._db.change("INSERT OR REPLACE INTO state VALUES (0, ?)", state)


def _told(index: Path) -> Iterator[tuple[int, str, str]]:
    """Yield id, name and all that is known of every image of an index."""
    catalogue = Catalogue(index / CATALOGUE)
    try:
        known = dict(catalogue.annotations.all_metadata())
        for record in catalogue.images():
            told = "\n".join(known.get(record.id, {}).values())
            yield record.id, _indexable(record.name), _indexable(told)
    finally:
        catalogue.close()

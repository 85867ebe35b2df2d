"""What does not go together is refused before anything is done, in one line that says what to give instead."""

from __future__ import annotations

import errno
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import click
import pytest
from PIL import Image

import index.store
from cli.errors import explain
from cli.main import main
from index.store import Index
from tests.crash.fake_encoder import SETTINGS, FakeEncoder

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = [
    ("add I", "name a SOURCE, or give --metadata or --zones"),
    ("add I a.png --metadata-key shelf", "--metadata-key names a column of the table"),
    ("search I", "give either an IMAGE or --queries FILE"),
    ("search I a.png --queries q.jsonl", "give either an IMAGE or --queries FILE"),
    ("search I --where page=0 -o out", "leave the other folders out"),
    ("search I a.png --detect person --region 1,1,2,2", "ask for things on IMAGE"),
    ("search I a.png --click 1,1 --region 1,1,2,2", "--click says where the thing is"),
    ("search I a.png --click 1,1 --each-region", "ask for one thing on IMAGE"),
    ("search I a.png --outline sam", "--outline draws around a thing; say which"),
    ("search I a.png --model yunet", "are of --detect and --phrase"),
    ("search I a.png --click nowhere", "is no place; give X,Y in pixels"),
    ("search I a.png --region 1,2,3", "is no box; give X,Y,WIDTH,HEIGHT"),
    ("search I --queries q.jsonl --page 3", "every line has its own region and page"),
    ("search I a.png --each-region --region 1,1,2,2", "leave --region out"),
    ("search I a.png --also similar:palette --format csv", "give --format table, json or jsonl"),
    ("search I a.png --rematch-like 3", "give that, too"),
    ("search I a.png --scheduler tcp://h:1 --threads 2", "leave --threads out"),
    ("info I --images --failures", "give either --images or --failures"),
    ("info I --where page=0", "give --images too"),
    ("info I --images --where page=", "page="),
    ("judge I a.png", "give A, B and a verdict"),
    ("embed I --model palette --forget palette", "give either --model or --forget"),
    ("similar I", "give an IMAGE, or --positive, --text or --colour"),
    ("similar I a.png a.png --region 1,1,2,2", "--region is of one IMAGE"),
    ("similar I a.png --detector yunet", "--detector looks for what --detect or --phrase says"),
    ("similar I a.png --detect x --region 1,1,2,2", "leave --region out"),
    ("segment", "name a SOURCE, or give --evaluate"),
    ("segment a.png --part dev", "--part is a part of the truth"),
    ("segment a.png --format csv", "is for figures"),
    ("segment a.png --format alto", "give a folder with -o"),
    ("segment a.png --crops", "give one with -o"),
    ("segment a.png --evaluate a.png --format coco", "is for regions"),
    ("segment a.png --evaluate a.png --crops -o out", "run it once for each"),
    ("detect I a.png", "name one INDEX, or SOURCEs that are none"),
    ("detect I -o out.json", "leave -o and --format out"),
    ("detect a.png --where page=0", "SOURCEs are looked at as they are"),
    ("detect a.png --format yolo", "give a folder with -o"),
    ("detect export I --images", "--images goes with --format yolo"),
    ("detect export I --format yolo", "give a folder with -o"),
    ("detect measure I --dpi 300 --dpi-key dpi", "say the same thing; give one of them"),
    ("classify apply m.h5 a.png --write kind", "--write notes labels in the metadata of an index"),
    ("classify train -o m.h5", "name LABELS"),
    ("classify train I -o m.h5 --text-labels a,b", "--text-labels learns from words alone"),
    ("map I -o out --base-url http://a/ --server http://b/i/c", "give either --base-url or --server"),
    ("map I -o out --server http://b/elsewhere", "http://b/elsewhere"),
    ("upgrade I --no-backup --backup out", "leave --backup out"),
    ("info nowhere.calque", "nowhere.calque"),
    ("inof I", "No such command 'inof'"),
    ("info", "Missing argument 'INDEX'"),
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    desk = tmp_path_factory.mktemp("usage é")
    Image.new("L", (40, 40), 200).save(desk / "a.png")
    (desk / "m.h5").write_bytes(b"no model")
    (desk / "q.jsonl").write_text('{"image": "a.png"}\n', encoding="utf-8")
    with Index.create(desk / "I", SETTINGS) as index:
        index.add([desk / "a.png"], workers=0, encoder_factory=FakeEncoder)
    Index.create(desk / "V").close()  # with the vocabulary that is shipped, to be searched
    return desk


def told(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[Any, str]:
    """Run ``calque WORDS`` in this process; return its status and what it says on stderr."""
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    captured = capsys.readouterr()
    assert captured.out == ""
    return ended.value.code, captured.err


@pytest.mark.parametrize(("words", "reason"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_does_not_go_together_is_refused(
    words: str, reason: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    before = sorted(path.name for path in desk.iterdir())
    status, error = told(words, capsys)
    assert status == 2
    *usage, line = error.rstrip("\n").split("\n")
    assert line.startswith("calque: error: ")
    assert reason in line
    assert all(text.startswith(("Usage:", " ")) for text in usage)
    assert sorted(path.name for path in desk.iterdir()) == before  # nothing was written


def test_a_group_called_bare_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    status, error = told("classify", capsys)
    assert status == 2
    assert "Usage: calque classify" in error
    assert "train" in error


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "no JSON"),
        ("[]", 'at least an "image"'),
        ('{"image": 3}', 'at least an "image"'),
        ('{"image": "a.png", "boks": 1}', "unknown key 'boks'"),
        ('{"image": "a.png", "region": [1, 2]}', "is no [x, y, width, height]"),
        ('{"image": "a.png", "region": [1, 2, "x", 4]}', "could not convert"),
        ('{"image": "a.png", "page": -1}', "is no page number"),
        ('{"image": "a.png", "page": true}', "is no page number"),
        ('{"image": "nowhere.png"}', "nowhere.png"),
    ],
)
def test_a_query_that_is_none_is_told_and_the_others_go_on(
    line: str, reason: str, desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = tmp_path / "q.jsonl"
    asked.write_text(f"{line}\n\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["search", str(desk / "V"), "--queries", str(asked), "--format", "jsonl"])
    captured = capsys.readouterr()
    assert ended.value.code == 1
    assert reason in json.loads(captured.out)["error"]


def test_queries_that_are_no_text(desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = tmp_path / "q.jsonl"
    asked.write_bytes(b"\xff\xfe{}")
    with pytest.raises(SystemExit) as ended:
        main(["search", str(desk / "I"), "--queries", str(asked)])
    assert ended.value.code == 2
    assert "give a file of JSON lines in UTF-8" in capsys.readouterr().err


def full_disk() -> Exception:
    return OSError(errno.ENOSPC, "No space left on device", "scans.calque")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (full_disk(), "scans.calque: No space left on device; "),
        (sqlite3.OperationalError("database or disk is full"), "the catalogue could not be written"),
        (MemoryError(), "not enough memory; use fewer --workers"),
        (click.ClickException("two\nlines"), "two lines"),
    ],
)
def test_errors_of_the_system_name_a_remedy(error: Exception, line: str) -> None:
    told = explain(error)
    assert told.startswith(f"calque: error: {line}")
    assert "\n" not in told


@pytest.mark.parametrize(("raised", "status"), [(click.Abort(), 130), (KeyboardInterrupt(), 130), (full_disk(), 2)])
def test_whatever_is_raised_ends_with_a_status(
    raised: BaseException, status: int, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(index.store.Index, "open", broken)
    with pytest.raises(SystemExit) as ended:
        main(["compact", str(desk / "I")])
    assert ended.value.code == status
    if status == 130 and isinstance(raised, KeyboardInterrupt):
        assert "run the same command again to go on" in capsys.readouterr().err


def test_a_traceback_is_shown_to_who_asks_for_it(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALQUE_DEBUG", "1")
    with pytest.raises(click.UsageError):
        main(["info", str(desk / "I"), "--where", "page=0"])

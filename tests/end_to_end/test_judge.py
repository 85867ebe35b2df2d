"""Judging and measuring, through the commands."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click import UsageError

from cli.main import calque as commands
from matcher.errors import CalqueError

if TYPE_CHECKING:
    from tests.conftest import Calque, Collection

RIGHT, WRONG = "scans/a/camera.jpg", "scans/b/coins.jpg"


@pytest.fixture
def own_index(scans_index: Path, tmp_path: Path) -> Path:
    """A copy of the index of the collection, to be judged."""
    return Path(shutil.copytree(scans_index, tmp_path / "own.calque"))


def listed(index: Path, calque: Calque) -> list[dict[str, Any]]:
    return [json.loads(line) for line in calque("judge", index, "--list", "--format", "jsonl").stdout.splitlines()]


def test_from_the_report_to_figures(
    own_index: Path, photograph: Path, calque: Calque, tmp_path: Path, collection: Collection
) -> None:
    """Search with a report, judge its hit, import, look, export, measure, forget."""
    done = calque("search", own_index, photograph, "--max-false-alarms", 1e-3, "-o", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report" / "report.html").read_text("utf-8")
    (pair,) = (json.loads(unescape(found)) for found in re.findall(r' data-pair="([^"]*)"', text))
    assert (pair["image_a"], pair["image_b"]) == (str(photograph), RIGHT)
    decisions = tmp_path / "decisions.jsonl"
    wrong = {"image_a": str(photograph), "image_b": str(collection.page("b/coins.jpg")), "verdict": "different"}
    said = [{**pair, "verdict": "same", "time": "2026-01-02T03:04:05Z"}, {**wrong, "time": "2026-01-02T03:04:06Z"}]
    decisions.write_text("\n".join(map(json.dumps, said)))

    for _ in range(2):
        done = calque("judge", own_index, "--import", decisions, "--author", "M. D.")
        assert done.returncode == 0, done.stderr
    assert "0 judgements stored, 2 stored already" in done.stderr
    kept = listed(own_index, calque)
    assert [(item["image_b"], item["verdict"], item["author"], item["stands"]) for item in kept] == [
        (RIGHT, "same", "M. D.", True),
        (WRONG, "different", "M. D.", True),
    ]

    done = calque("judge", own_index, "--export", tmp_path / "truth.json")
    assert done.returncode == 0, done.stderr
    done = calque("evaluate", own_index, "--truth", tmp_path / "truth.json", "--format", "json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["queries"], figures["map"]) == (1, 1.0)
    done = calque("evaluate", own_index)
    assert done.returncode == 0, done.stderr
    assert re.search(r"mean average precision +1\n", done.stdout)
    assert re.search(r"\n +0\.001 +1 +0 +0 +1 +1\n", done.stdout)

    done = calque("judge", own_index, "--remove", kept[0]["id"], "--remove", 99)
    assert done.returncode == 1
    assert "no judgement 99" in done.stderr
    assert [item["verdict"] for item in listed(own_index, calque)] == ["different"]


def test_the_last_word_stands_and_earlier_ones_are_kept(
    own_index: Path, collection: Collection, calque: Calque
) -> None:
    boxes = ("--region-a", "150,240,380,380", "--region-b", "150,240,380,300")
    first = calque("judge", own_index, RIGHT, WRONG, "same", *boxes, "--note", "at first <sight>")
    assert first.returncode == 0, first.stderr
    again = ("--region-b", "155,245,380,380", "--region-a", "150,240,370,300")
    assert calque("judge", own_index, collection.page("b/coins.jpg"), RIGHT, "different", *again).returncode == 0
    kept = listed(own_index, calque)
    assert [(item["verdict"], item["stands"]) for item in kept] == [("same", False), ("different", True)]
    assert kept[0]["region_a"] == [150, 240, 380, 380]
    assert kept[1]["image_a"] == WRONG
    table = calque("judge", own_index, "--list").stdout
    assert "at first <sight>" in table


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "give A, B and a verdict"),
        ((RIGHT,), "give A, B and a verdict"),
        ((RIGHT, WRONG), "give A, B and a verdict"),
        ((RIGHT, WRONG, "same", "--list"), "give A, B and a verdict"),
        ((RIGHT, WRONG, "equal"), "'equal' is not one of"),
        ((RIGHT, "no/such.jpg", "same"), "no/such.jpg: no image of"),
        (("--import", "no/such.jsonl"), "no/such.jsonl"),
    ],
)
def test_wrong_use_is_named(scans_index: Path, words: tuple[str, ...], complaint: str) -> None:
    with pytest.raises((CalqueError, UsageError), match=re.escape(complaint)):
        commands.main(["judge", str(scans_index), *words], standalone_mode=False)


def test_nothing_judged(scans_index: Path) -> None:
    assert commands.main(["judge", str(scans_index), "--list"], standalone_mode=False) == 1
    with pytest.raises(CalqueError, match="judge some pairs first"):
        commands.main(["evaluate", str(scans_index)], standalone_mode=False)

"""The report: what a reader finds in the folder, from outside."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
import pytest
from defusedxml import ElementTree
from PIL import Image

from cli.report import ReportWriter
from cli.report_classes_drawings import confusion_of_labels
from cli.report_page import chance
from index.annotations import Judgement
from index.judgements import read_decisions
from matcher.errors import InputError
from matcher.types import Match, Region, Transform

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Hit:
    """What the report needs of a hit."""

    path: Path
    rank: int = 1
    image: str = "scans/p01.png"
    page: int = 0
    score: float = 20.0
    false_alarms: float = 1e-7
    match: Match = field(default_factory=lambda: found())
    zone: None = None


@dataclass(frozen=True)
class Answer:
    """What the report needs of an answer."""

    id: str
    image: Path
    region: Region | None = None
    seconds: float = 0.05
    hits: tuple[Hit, ...] = ()
    error: str | None = None
    page: int = 0


def found() -> Match:
    onto = Transform(np.array([[0.5, 0, 40.0], [0, 0.5, 30.0], [0, 0, 1]]))
    points = np.random.default_rng(1).uniform(0, 100, (12, 2))
    return Match(
        onto, "mirrored", 90.0, 0.5, onto.apply(Region(0, 0, 120, 100).corners()), points, onto.apply(points), 12, -9.0
    )


class Page(HTMLParser):
    """Collects the links, pictures and text of a page, and holds its tags to be balanced."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.pairs: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values)
        if tag == "script":
            self.scripts.append(values)
        if pair := values.get("data-pair"):
            self.pairs.append(pair)
        if href := values.get("href"):
            self.links.append(href)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for name, size in (("query.png", (100, 120)), ("page.png", (300, 200))):
        Image.fromarray(rng.integers(0, 255, size, np.uint8)).save(folder / name)
    return folder


def written(directory: Path, *answers: Answer) -> Page:
    writer = ReportWriter(directory)
    for answer in answers:
        writer.add(answer)
    assert writer.close() == directory / "report.html"
    return Page(directory / "report.html")


def test_shows_the_proofs_of_every_hit_from_its_own_folder(scans: Path, tmp_path: Path) -> None:
    hits = (Hit(scans / "page.png"), Hit(scans / "page.png", rank=2, page=0))
    page = written(tmp_path / "out", Answer("q", scans / "query.png", hits=hits))
    assert len(page.images) == 1 + 2 * 4
    for image in page.images:
        assert image["loading"] == "lazy"
        with Image.open(tmp_path / "out" / unquote(str(image["src"]))) as picture:
            assert [str(side) for side in picture.size] == [image["width"], image["height"]]
            assert max(picture.size) <= 2400
    assert len({image["src"] for image in page.images}) == len(page.images)
    assert all(link.startswith(("pictures/", "#")) for link in page.links)
    assert not page.tags & {"link", "iframe"}
    assert page.scripts == [{}]
    assert "url(" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for words in ("mirrored", "turned 90° clockwise", "0.50 ×", "60 × 50 px at 40, 30"):
        assert words in page.text


def test_says_that_nothing_was_found(scans: Path, tmp_path: Path) -> None:
    page = written(tmp_path, Answer("lonely", scans / "query.png"))
    assert "nothing found" in page.text.lower()
    assert len(page.images) == 1


def test_shows_the_region_asked_for(scans: Path, tmp_path: Path) -> None:
    page = written(tmp_path, Answer("cut", scans / "query.png", Region(10, 20, 60, 30)))
    wide, high = (int(str(page.images[0][side])) for side in ("width", "height"))
    assert wide == 2 * high
    assert "60 × 30 px at 10, 20" in page.text


def test_lists_the_queries_that_failed(scans: Path, tmp_path: Path) -> None:
    page = written(
        tmp_path,
        Answer("good", scans / "query.png"),
        Answer("bad", tmp_path / "none.png", error="none.png: no such file; check the path"),
    )
    assert "none.png: no such file; check the path" in page.text
    assert "#failures" in page.links


def test_a_file_that_has_gone_leaves_a_note(scans: Path, tmp_path: Path) -> None:
    hits = (Hit(scans / "gone.png"), Hit(scans / "page.png", rank=2))
    page = written(
        tmp_path / "out",
        Answer("q", scans / "query.png", hits=hits),
        Answer("lost", scans / "lost.png", hits=(Hit(scans / "page.png"),)),
    )
    assert page.text.count("No picture") == 3
    assert page.text.count("gone.png") == 1
    assert len(page.images) == 1 + 4


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", 'a"onload="x', "../../etc/passwd", "é ß %20?#", "日本", ""]
)
def test_names_are_harmless_and_unique(scans: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    hit = Hit(scans / "page.png", image=name)
    page = written(out, *(Answer(name, scans / "query.png", hits=(hit,)) for _ in range(2)))
    assert page.scripts == [{}]
    assert page.text.count(name) >= 2 if name else True
    assert len({image["src"] for image in page.images}) == len(page.images) == 10
    assert all((out / unquote(str(image["src"]))).is_file() for image in page.images)
    assert all(set(image) == {"src", "alt", "loading", "width", "height"} for image in page.images)
    assert {path.name for path in out.iterdir()} == {"report.html", "pictures"}
    assert all(re.fullmatch(r"[\w.-]{1,80}", path.name, re.ASCII) for path in (out / "pictures").iterdir())


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_a_name_that_is_no_utf8_can_be_written(scans: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"scan-\xff.png")
    (scans / "page.png").rename(scans / name)
    page = written(tmp_path / "out", Answer(name, scans / "query.png", hits=(Hit(scans / name, image=name),)))
    assert "scan-\ufffd.png" in page.text
    assert len(page.images) == 5


def test_every_hit_can_be_judged_as_the_command_reads_it(scans: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"<b>\"caf\xe9'.png")
    answer = Answer(
        name, scans / "query.png", Region(1, 2, 30, 40), hits=(Hit(scans / "page.png", image=name, page=2),)
    )
    page = written(tmp_path / "out", answer, Answer("lost", scans / "lost.png", hits=(Hit(scans / "page.png"),)))
    decisions = tmp_path / "decisions.jsonl"
    decisions.write_text("\n".join(json.dumps({**json.loads(pair), "verdict": "same"}) for pair in page.pairs))
    assert read_decisions(decisions) == [
        Judgement(
            *(str(scans / "query.png"), 0, Region(1, 2, 30, 40), name, 2, Region(40, 30, 60, 50), "same"),
        ),
        Judgement(str(scans / "lost.png"), 0, None, "scans/p01.png", 0, Region(40, 30, 60, 50), "same"),
    ]


def test_the_old_report_stays_until_the_new_one_is_whole(scans: Path, tmp_path: Path) -> None:
    written(tmp_path, Answer("first", scans / "query.png"))
    before = (tmp_path / "report.html").read_bytes()
    writer = ReportWriter(tmp_path)
    writer.add(Answer("second", scans / "query.png"))
    assert (tmp_path / "report.html").read_bytes() == before
    writer.close()
    assert "second" in Page(tmp_path / "report.html").text


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"taken.*another folder"):
        ReportWriter(tmp_path / "taken" / "report")


@pytest.mark.parametrize(
    ("false_alarms", "verdict", "words"),
    [
        (0.0, "Practically certain", "less than once in a trillion searches"),
        (1e-30, "Practically certain", "less than once in a trillion searches"),
        (5e-8, "Safe", "about once in 20 million searches"),
        (1e-3, "Safe", "about once in a thousand searches"),
        (0.04, "Likely", "about once in 25 searches"),
        (0.9, "Doubtful", "about once in 1 searches"),
        (3.0, "Weak", "about 3 matches as good as this in every search"),
    ],
)
def test_says_honestly_what_chance_could_do(false_alarms: float, verdict: str, words: str) -> None:
    got, meaning = chance(false_alarms)
    assert got == verdict
    assert words in meaning


def test_classes_that_do_not_exclude_each_other_are_drawn_as_bars() -> None:
    """Of each class right, missed and false, in lengths that can be compared."""
    counts = [[[5, 3], [1, 9]], [[16, 0], [2, 0]]]  # [true][told], of each class
    drawn = ElementTree.fromstring(confusion_of_labels(["wood <cut>", "é" * 90], counts))
    names = [text.text or "" for text in drawn.findall(".//{*}text")]
    assert "wood <cut>" in names
    assert "9 / 1 / 3" in names
    assert "0 / 2 / 0" in names
    bars = [float(bar.get("width", 0)) for bar in drawn.findall(".//{*}rect") if bar.get("height") == "22"]
    right, missed, false = bars[:3]
    assert (right / missed, right / false) == pytest.approx((9, 3), rel=0.01)
    assert bars[3] == bars[5] == 0
    assert bars[4] == pytest.approx(2 * missed, rel=0.01)
    assert max(float(bar.get("x", 0)) + float(bar.get("width", 0)) for bar in drawn.findall(".//{*}rect")) <= float(
        drawn.get("width", 0)
    )

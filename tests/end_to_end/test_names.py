"""Every path that a command takes may have blanks, signs and letters of any script in it."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import calque
from tests.conftest import page_with, picture
from tests.docs.test_docs import all_commands, command_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.compiled

PLACE = "my désk – 机 100% #1 & 'co'"
NAMES = ("стр. 1 «é».png", "頁 2 %20+.png", "p 3;a,b.png", "مخطوط 4=ü.png")
INDEX = "índex 図 [a].calque"
SCANS = "scans Ω"

ELSEWHERE = {
    "push": "needs a server: tests/unit/test_vector_server.py",
    "caption": "needs a network: tests/unit/test_captions.py",
    "damage train": "trains a network: tests/end_to_end/test_training.py",
    "damage apply": "needs what it trains: tests/end_to_end/test_training.py",
    "detect train": "trains a network: tests/end_to_end/test_training.py",
    "detect evaluate": "needs what it trains: tests/end_to_end/test_training.py",
    "faces": "needs weights: tests/end_to_end/test_detect.py",
    "train": "needs some thousand features: tests/end_to_end/test_cli.py",
    "serve": "does not end: tests/web/test_command.py",
    "doctor": "takes no path",
    "demo": "makes its own names: tests/unit/test_demo.py",
    "classify": "is a group",
    "damage": "is a group",
}

WRITES = ("-o", "--crops", "--alto", "--page-xml", "--proof", "--bench", "--overlays", "--export")

CALLS: list[tuple[str, list[str], int]] = [
    ("search", [INDEX, f"{SCANS}/{NAMES[0]}", "-o", "proof é/", "--crops", "cut 切/"], 0),
    ("search", [INDEX, "--queries", "quêries 1.jsonl", "--format", "jsonl"], 0),
    ("info", [INDEX, "--images", "--where", f"image='{SCANS}/{NAMES[1]}'"], 0),
    ("groups", [INDEX, "-o", "grøups 1/"], 0),
    ("trace", ["phötos 2", INDEX, "-o", "traced é/", "--crops", "c é/", "--alto", "a é/", "--page-xml", "p é/"], 0),
    (
        "compare",
        [f"{SCANS}/{NAMES[0]}", f"phötos 2/{NAMES[0]}", "-o", "ö 1.gif", "--proof", "ö 2.png", "--bench", "ö 3/"],
        0,
    ),
    ("embed", [INDEX, "--model", "palette"], 0),
    ("similar", [INDEX, f"{SCANS}/{NAMES[0]}", "--positive", f"{SCANS}/{NAMES[1]}", "-o", "alike é/"], 0),
    ("map", [INDEX, "-o", "mäp 図/", "--projection", "pca"], 0),
    ("find", [INDEX, "頁"], 0),
    ("judge", [INDEX, f"{SCANS}/{NAMES[0]}", f"phötos 2/{NAMES[0]}", "same", "--note", "é"], 0),
    ("judge", [INDEX, "--export", "trüth 1.json"], 0),
    ("evaluate", [INDEX, "--truth", "trüth 1.json"], 0),
    ("segment", [SCANS, "-o", "found é/", "--model", "classical", "--format", "alto", "--crops", "--overlay"], 0),
    ("segment", [SCANS, "--model", "zones:found é/", "--format", "coco"], 0),
    ("detect", [SCANS, "--model", "layout", "-o", "sèen 1.json", "--format", "coco", "--overlays", "drawn é/"], 0),
    ("detect import", [INDEX, "sèen 1.json"], 0),
    ("detect export", [INDEX, "--format", "yolo", "--images", "-o", "yölo 1/"], 0),
    ("detect measure", ["yölo 1/", "--dpi", "300", "--histogram", "sizes é.png"], 0),
    ("classify train", ["läbels 1.csv", "-o", "mödel 1.h5", "--group", "image"], 0),
    ("classify apply", ["mödel 1.h5", INDEX, "--write", "kind"], 0),
    ("classify evaluate", ["mödel 1.h5", "-o", "repört 1/"], 0),
    ("classify suggest", ["mödel 1.h5", SCANS], 0),
    ("add", [INDEX, "--metadata", "täble 1.csv", "--zones", "found é/"], 0),
    ("backup", [INDEX, "bäckup 1.calque"], 0),
    ("check", ["bäckup 1.calque", "--deep"], 0),
    ("upgrade", [INDEX, "--backup", "öld 1.calque"], 0),
    ("remove", [INDEX, f"{SCANS}/{NAMES[2]}"], 0),
    ("compact", [INDEX], 0),
]


def run(*words: object) -> Any:
    return CliRunner().invoke(calque, [*map(str, words)], standalone_mode=False, catch_exceptions=False)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which everything has such a name, and an index; what one call writes the next ones read."""
    desk = tmp_path_factory.mktemp("names") / PLACE
    for folder in (SCANS, "phötos 2", "patches ü"):
        (desk / folder).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        page = page_with(picture(("camera", "coins", "brick", "astronaut")[number], 380), number)
        Image.fromarray(page).save(desk / SCANS / name)
    Image.fromarray(picture("camera", 400)).save(desk / "phötos 2" / NAMES[0])
    random = np.random.default_rng(0)
    rows = ["file,label"]
    for number in range(12):
        colour = ((200, 40, 40), (40, 40, 200))[number % 2]
        patch = np.clip(random.normal(colour, 25, (48, 48, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(cv2.blur(patch, (3, 3))).save(desk / "patches ü" / f"n° {number}.png")
        rows.append(f"patches ü/n° {number}.png,{'röt' if number % 2 else '藍'}")
    (desk / "läbels 1.csv").write_text("\n".join(rows), encoding="utf-8")
    (desk / "täble 1.csv").write_text(f"file;title\n{NAMES[1]};Élégance\n", encoding="utf-8")
    query = {"id": "é", "image": f"{SCANS}/{NAMES[3]}"}
    (desk / "quêries 1.jsonl").write_text(json.dumps(query, ensure_ascii=False) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        done = run("add", INDEX, SCANS, "phötos 2", "--no-layout", "--workers", 0)
        assert done.return_value == 0, done.stderr
        yield desk


def test_every_command_is_asked() -> None:
    assert {name for name, _, _ in CALLS} | set(ELSEWHERE) == set(all_commands())


@pytest.mark.parametrize(
    ("name", "words", "status"), CALLS, ids=[f"{name}-{n}" for n, (name, _, _) in enumerate(CALLS)]
)
def test_names_of_any_script(desk: Path, name: str, words: list[str], status: int) -> None:
    workers = any("--workers" in parameter.opts for parameter in command_of(name).params)
    done = run(*name.split(), *words, *(("--workers", 0) if workers else ()))
    assert done.return_value == status, (done.stdout, done.stderr)
    for option, target in pairwise(words):
        if option in WRITES and not target.startswith("--"):
            written = desk / target
            assert written.is_file() or any(written.iterdir()), target


def test_answers_name_images_as_they_are(desk: Path) -> None:
    done = run("search", INDEX, "--queries", "quêries 1.jsonl", "--format", "jsonl")
    answer = json.loads(done.stdout)
    assert answer["id"] == "é"
    assert answer["hits"][0]["image"] == f"{SCANS}/{NAMES[3]}"
    assert Path(answer["hits"][0]["image"]).is_file()


def test_what_is_written_has_names_that_every_system_takes(desk: Path) -> None:
    names = [path.name for path in desk.rglob("*")]
    assert len(names) > 60
    assert [
        name for name in names if re.search(r'[<>:"\\|?*\x00-\x1f]|[. ]$|^(con|nul|aux|prn)(\.|$)', name, re.I)
    ] == []

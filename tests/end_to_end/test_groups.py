"""`calque groups` and `calque trace` on pages with pictures in known places, through the real command."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

import index.links
from cli.main import calque as command_line
from index.groups import group_as_dict, groups
from index.links import LINKS_FILE, Links, find_links
from index.store import Index
from tests.conftest import REPOSITORY, picture

pytestmark = pytest.mark.compiled

SIZE = (480, 640)


def sheet(seed, *placed):
    """Return a sheet of rough paper, with pictures at places."""
    width, height = SIZE
    paper = np.random.default_rng(seed).normal(225, 6, (height, width)).clip(0, 255).astype(np.uint8)
    for pixels, x, y in placed:
        paper[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
    return paper


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Sheets: ``p1`` and ``p2`` show two pictures each, in one arrangement; others show one of them, or another."""
    folder = tmp_path_factory.mktemp("source") / "scans"
    folder.mkdir()
    camera, coins, astronaut = (picture(name, 210) for name in ("camera", "coins", "astronaut"))
    sheets = {
        "p1": [(camera, 60, 60), (coins, 100, 380)],
        "p2": [(camera, 90, 80), (coins, 130, 400)],
        "p3": [(camera, 220, 300)],
        "p4": [(coins[:, :150], 40, 200)],
        "p5": [(cv2.flip(astronaut, 1), 120, 200)],
        "p6": [(255 - astronaut, 60, 60)],
        "p7": [(picture("rocket", 210), 100, 200)],
    }
    for seed, (name, placed) in enumerate(sheets.items()):
        cv2.imwrite(str(folder / f"{name}.jpg"), sheet(seed, *placed), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return folder


@pytest.fixture(scope="module")
def made(scans, tmp_path_factory):
    """An index of `scans`; its links are found by the first test that wants them."""
    path = tmp_path_factory.mktemp("index") / "scans.calque"
    with Index.create(path) as opened:
        opened.add([scans], workers=0)
    return path


EXPECTED = [["p1", "p2", "p3"], ["p1", "p2", "p4"], ["p5", "p6"]]


def stems(told):
    """Return each group of a printed answer as the names of its sheets."""
    return sorted(sorted(os.path.basename(m["image"])[:2] for m in group["members"]) for group in told)  # noqa: PTH119


@pytest.fixture
def within(capsys):
    """Return what runs ``calque WORDS…`` in this process, which starts sooner than one of its own."""

    def run(*words):
        capsys.readouterr()
        status = command_line.main([str(word) for word in words], prog_name="calque", standalone_mode=False)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(words, status, printed.out, printed.err)

    return run


def test_groups_of_an_index(calque, within, made, tmp_path):
    told = calque("groups", made, "--format", "json", "-o", tmp_path / "report")
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    assert stems(answer) == EXPECTED
    assert "3 groups of 8 pictures" in told.stderr
    astronauts = next(group for group in answer if len(group["members"]) == 2)
    assert {m["relation"] for m in astronauts["members"]} == {"same", "mirrored+inverted"}
    assert [m["reference"] for m in astronauts["members"]].count(True) == 1
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert page.count('<article class="print') == 8
    assert page.count(' data-pair="') == 5
    assert len(list((tmp_path / "report" / "pictures").iterdir())) == 8
    assert "http://" not in page.replace("http://www.w3.org", "")

    lines = within("groups", made, "--format", "jsonl", "-q").stdout.splitlines()
    assert [json.loads(line) for line in lines] == answer
    rows = list(csv.DictReader(io.StringIO(within("groups", made, "--format", "csv", "-q").stdout)))
    assert [row["image"] for row in rows] == [m["image"] for group in answer for m in group["members"]]
    assert len(within("groups", made, "-q").stdout.splitlines()) == 9
    assert within("groups", made, "--format", "graphml").stdout.count("<node ") == 8
    assert len(json.loads(within("groups", made, "--format", "coco").stdout)["annotations"]) == 8


def test_groups_of_nothing(within, tmp_path):
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((60, 60), 200, np.uint8))
    with Index.create(tmp_path / "one.calque") as opened:
        opened.add([blank], workers=0)
    told = within("groups", tmp_path / "one.calque")
    assert (told.returncode, told.stdout) == (1, "")
    assert "0 groups" in told.stderr


def grouped(path):
    with Index.open(path) as opened, Links(path) as links:
        find_links(opened, links, threads=2)
        return [group_as_dict(group) for group in groups(opened, links).groups]


def test_what_is_added_later_is_asked_alone_and_what_is_removed_is_gone(scans, made, tmp_path, monkeypatch):
    once = grouped(made)
    parts = tmp_path / "parts.calque"
    with Index.create(parts) as opened:
        opened.add([scans / f"p{number}.jpg" for number in (1, 3, 4, 5)], workers=0)
    assert stems(grouped(parts)) == [["p1", "p3"], ["p1", "p4"]]
    with Index.open(parts, writable=True) as opened:
        opened.add([scans], workers=0)
    with Index.open(parts) as opened, Links(parts) as links:
        asked = find_links(opened, links)
        assert asked == (3, [])
        assert find_links(opened, links) == (0, [])
    assert stems(grouped(parts)) == stems(once) == EXPECTED

    with Index.open(parts, writable=True) as opened:
        opened.remove([str(scans / "p2.jpg")])
    assert stems(grouped(parts)) == [["p1", "p3"], ["p1", "p4"], ["p5", "p6"]]


def test_an_interrupted_search_for_links_goes_on(made, tmp_path, monkeypatch):
    once = grouped(made)
    again = tmp_path / "again.calque"
    shutil.copytree(made, again, ignore=shutil.ignore_patterns(f"{LINKS_FILE}*"))
    monkeypatch.setattr(index.links, "_BATCH", 2)

    def interrupt(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with Index.open(again) as opened, Links(again) as links:
        with pytest.raises(KeyboardInterrupt):
            find_links(opened, links, progress=interrupt)
        assert len(links.asked()) == 4
        assert find_links(opened, links).images == 3
    assert grouped(again) == once


def test_an_image_whose_file_has_gone_is_told(within, scans, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(scans, copy)
    with Index.create(tmp_path / "copy.calque") as opened:
        opened.add([copy / "p5.jpg", copy / "p6.jpg", copy / "p7.jpg"], workers=0)
    (copy / "p7.jpg").unlink()
    told = within("groups", tmp_path / "copy.calque", "--format", "json")
    assert told.returncode == 1
    assert "p7.jpg" in told.stderr
    assert stems(json.loads(told.stdout)) == [["p5", "p6"]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Photographs, some of which are on the sheets, one that cannot be read."""
    folder = tmp_path_factory.mktemp("archive") / "photographs"
    folder.mkdir()
    for name in ("astronaut", "brick", "camera", "coins", "gravel", "rocket"):
        cv2.imwrite(str(folder / f"{name}.png"), picture(name, 320))
    return folder


def traced(run, archive, made, *more):
    return run("trace", archive, made, "--format", "csv", *more)


def test_trace_of_a_folder_and_of_an_index(within, archive, made, tmp_path):
    told = traced(within, archive, made)
    assert told.returncode == 0, told.stderr
    rows = list(csv.DictReader(io.StringIO(told.stdout)))
    places = sorted((os.path.basename(r["photo"])[:-4], os.path.basename(r["image"])[:2]) for r in rows)  # noqa: PTH119
    assert places == [
        *(("astronaut", "p5"), ("astronaut", "p6")),
        *(("camera", "p1"), ("camera", "p2"), ("camera", "p3")),
        *(("coins", "p1"), ("coins", "p2"), ("coins", "p4"), ("rocket", "p7")),
    ]
    assert "4 of 6 photographs found, at 9 places" in told.stderr
    with Index.create(tmp_path / "archive.calque") as opened:
        opened.add([archive], workers=0)
    again = traced(within, tmp_path / "archive.calque", made, "-o", tmp_path / "out")
    assert again.stdout == told.stdout
    assert (tmp_path / "out" / "report.html").read_text("utf-8").count('class="sheaf"') == 4


def test_a_killed_trace_ends_with_the_table_of_an_undisturbed_one(within, archive, made, tmp_path):
    (archive / "broken.png").write_text("no picture")
    try:
        undisturbed = traced(within, archive, made)
        assert undisturbed.returncode == 1
        assert "broken.png" in undisturbed.stderr
        out = tmp_path / "out"
        command = [sys.executable, "-c", "from cli.main import main; main()", "trace", str(archive), str(made)]
        moment = random.Random(5)
        for point in ("trace.in_transaction", "trace.in_transaction:2", None, None, None):
            environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "CALQUE_FAULT": point or ""}
            running = subprocess.Popen(
                [*command, "-o", str(out)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            if point is None:
                time.sleep(moment.uniform(0.2, 3.0))
                running.send_signal(signal.SIGKILL)
            assert running.wait() in (-signal.SIGKILL, 1)
        done = traced(within, archive, made, "-o", out)
    finally:
        (archive / "broken.png").unlink()
    assert done.returncode == 1
    assert done.stdout == undisturbed.stdout


def test_a_journal_is_of_one_trace(calque, within, archive, made, tmp_path):
    out = tmp_path / "out"
    assert traced(within, archive / "camera.png", made, "-o", out).returncode == 0
    other = traced(calque, archive / "camera.png", made, "-o", out, "--max-false-alarms", "0.5")
    assert other.returncode == 2
    assert "another trace" in other.stderr
    assert len(other.stderr.splitlines()) == 1
    more = traced(within, archive, made, "-o", out)
    assert more.stdout == traced(within, archive, made).stdout


def test_photographs_must_be_somewhere(calque, made, tmp_path):
    for source, status, words in ((tmp_path, 2, "no pictures there"), (tmp_path / "absent", 1, "no such file")):
        told = calque("trace", source, made, "--format", "json")
        assert told.returncode == status
        assert words in told.stderr
        assert "Traceback" not in told.stderr

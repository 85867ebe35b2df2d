"""The whole command line on a small collection, each command as a process of its own."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from matcher.types import Region

if TYPE_CHECKING:
    from tests.conftest import Calque, Collection

SURE = 1e-3


@pytest.fixture
def own_index(scans_index: Path, tmp_path: Path) -> Path:
    """A copy of the index of the collection, to be changed."""
    return Path(shutil.copytree(scans_index, tmp_path / "own.calque"))


def sure_hits(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [hit for hit in answer["hits"] if hit["false_alarms"] <= SURE]


def iou(first: list[float], second: list[float]) -> float:
    return Region(*first).iou(Region(*second))


def images_in(index: Path, calque: Calque) -> int:
    return int(json.loads(calque("info", index, "--format", "json").stdout)["images"])


def test_a_photograph_is_found_on_its_page(
    scans_index: Path, collection: Collection, photograph: Path, calque: Calque
) -> None:
    done = calque("search", scans_index, photograph, "--format", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    (hit,) = sure_hits(answer)
    assert (hit["rank"], hit["image"], hit["page"], hit["relation"]) == (1, "scans/a/camera.jpg", 0, "same")
    assert abs(abs(hit["rotation"]) - 2) < 1
    assert iou(hit["region"], collection.boxes["a/camera.jpg"]) > 0.8
    assert {"id", "image", "region", "seconds", "hits"} <= set(answer)
    assert {"score", "inliers", "polygon", "transform"} <= set(hit)


def test_a_box_on_a_page_is_found_on_another_impression(
    scans_index: Path, collection: Collection, calque: Calque, tmp_path: Path
) -> None:
    box = collection.boxes["b/coins.jpg"]
    other = tmp_path / "other.png"
    with Image.open(collection.page("b/coins.jpg")) as page:
        page.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    mirrored_box = [720 - box[0] - box[2], *box[1:]]
    done = calque("search", scans_index, other, "--region", ",".join(map(str, mirrored_box)), "--format", "json")
    assert done.returncode == 0, done.stderr
    hit = sure_hits(json.loads(done.stdout))[0]
    assert (hit["image"], hit["relation"]) == ("scans/b/coins.jpg", "mirrored")
    assert iou(hit["region"], box) > 0.7


def test_nothing_found_is_exit_status_1(scans_index: Path, calque: Calque, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.png"
    Image.effect_noise((400, 400), 60).save(stranger)
    done = calque("search", scans_index, stranger, "--max-false-alarms", SURE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing found" in done.stderr


def test_every_format_gives_the_same_hits(scans_index: Path, photograph: Path, calque: Calque) -> None:
    def search(form: str) -> str:
        return calque("search", scans_index, photograph, "--max-false-alarms", SURE, "--format", form).stdout

    hits = json.loads(search("json"))["hits"]
    (line,) = search("jsonl").splitlines()
    assert json.loads(line)["hits"] == hits
    rows = list(csv.DictReader(io.StringIO(search("csv"))))
    assert [(row["image"], int(row["inliers"])) for row in rows] == [(hit["image"], hit["inliers"]) for hit in hits]
    head, *lines = search("table").splitlines()
    assert head.split() == [
        "rank",
        "image",
        "page",
        "region",
        "relation",
        "rotation",
        "inliers",
        "false",
        "alarms",
        "score",
        "zone",
    ]
    assert [row.split()[1] for row in lines] == [hit["image"] for hit in hits]


def test_a_batch_is_answered_in_order_and_a_bad_line_costs_nothing_else(
    scans_index: Path, collection: Collection, photograph: Path, calque: Calque, tmp_path: Path
) -> None:
    shutil.copy(photograph, tmp_path / "near.png")
    lines = [
        {"id": "photo", "image": str(photograph)},
        "{not json",
        {"id": "missing", "image": "missing.jpg"},
        {"id": "box", "image": str(collection.page("a/brick.jpg")), "region": collection.boxes["a/brick.jpg"]},
        {"id": "outside", "image": str(photograph), "region": [9000, 9000, 10, 10]},
        {"id": "typo", "image": str(photograph), "regoin": None},
        {"id": "beside the file", "image": "near.png", "region": None, "page": 0},
    ]
    queries = tmp_path / "queries.jsonl"
    queries.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    done = calque("search", scans_index, "--queries", queries, "--format", "jsonl")
    assert done.returncode == 1, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [
        "photo",
        "2",
        "missing",
        "box",
        "outside",
        "typo",
        "beside the file",
    ]
    failed = {answer["id"] for answer in answers if answer.get("error")}
    assert failed == {"2", "missing", "outside", "typo"}
    assert all(answer["hits"] == [] for answer in answers if answer["id"] in failed)
    assert f"{queries}, line 2:" in answers[1]["error"]
    assert "regoin" in answers[5]["error"]
    assert sure_hits(answers[0])[0]["image"] == sure_hits(answers[6])[0]["image"] == "scans/a/camera.jpg"
    assert done.stderr.count("calque: query ") == len(failed)


def test_the_report_shows_every_hit_and_opens_without_network(
    scans_index: Path, photograph: Path, calque: Calque, tmp_path: Path
) -> None:
    done = calque("search", scans_index, photograph, "--max-false-alarms", SURE, "-o", tmp_path / "proof")
    assert done.returncode == 0, done.stderr
    report = tmp_path / "proof" / "report.html"
    assert str(report) in done.stderr
    text = report.read_text("utf-8")
    assert "camera.jpg" in text
    assert 'src="http' not in text


def test_compare_finds_and_draws(collection: Collection, photograph: Path, calque: Calque, tmp_path: Path) -> None:
    overlay, proof = tmp_path / "overlay.png", tmp_path / "proof.png"
    page = collection.page("a/camera.jpg")
    done = calque("compare", photograph, page, "--format", "json", "-o", overlay, "--proof", proof)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["found"] is True
    assert iou(result["matches"][0]["region"], collection.boxes["a/camera.jpg"]) > 0.8
    assert result["matches"][0]["false_alarms"] < SURE
    for path in (overlay, proof):
        with Image.open(path) as drawn:
            assert min(drawn.size) > 200


def test_compare_of_strangers_is_exit_status_1(collection: Collection, photograph: Path, calque: Calque) -> None:
    done = calque("compare", photograph, collection.page("b/coins.jpg"))
    assert done.returncode == 1, done.stderr
    assert done.stdout.split() == ["verdict", "not", "found"]


def test_adding_again_skips_what_is_unchanged_and_replaces_what_changed(
    collection: Collection, calque: Calque, tmp_path: Path
) -> None:
    folder, index = tmp_path / "scans", tmp_path / "own.calque"
    shutil.copytree(collection.folder, folder)

    def add() -> dict[str, Any]:
        done = calque("add", index, folder, "--workers", "1", "--format", "json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    assert (add()["added"], images_in(index, calque)) == (8, 8)
    again = add()
    assert (again["added"], again["unchanged"]) == (0, 8)
    shutil.copy(folder / "a/camera.jpg", folder / "b/coins.jpg")
    changed = add()
    assert (changed["replaced"], changed["unchanged"]) == (1, 7)
    picture = ",".join(map(str, collection.boxes["a/camera.jpg"]))
    done = calque("search", index, folder / "a/camera.jpg", "--region", picture, "--format", "json")
    assert {hit["image"] for hit in sure_hits(json.loads(done.stdout))} == {
        str(folder / "a/camera.jpg"),
        str(folder / "b/coins.jpg"),
    }


def test_remove_then_compact(own_index: Path, photograph: Path, calque: Calque) -> None:
    done = calque("remove", own_index, "scans/a/camera.jpg")
    assert done.returncode == 0, done.stderr
    assert images_in(own_index, calque) == 7
    assert calque("search", own_index, photograph, "--max-false-alarms", SURE).returncode == 1
    assert calque("compact", own_index).returncode == 0
    assert calque("check", own_index, "--deep").returncode == 0
    assert calque("search", own_index, photograph, "--max-false-alarms", SURE).returncode == 1
    missing = calque("remove", own_index, "scans/a/camera.jpg")
    assert missing.returncode == 1
    assert "scans/a/camera.jpg" in missing.stderr


def test_check_finds_a_flipped_bit(own_index: Path, calque: Calque) -> None:
    assert calque("check", own_index, "--deep").returncode == 0
    segment = max((own_index / "segments").iterdir(), key=lambda path: path.stat().st_size)
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 0x10
    segment.write_bytes(damaged)
    done = calque("check", own_index, "--deep")
    assert done.returncode == 1
    assert segment.name in done.stdout


def test_metadata_from_a_table_with_the_pages_and_without(
    collection: Collection, calque: Calque, tmp_path: Path
) -> None:
    index, table, later = tmp_path / "own.calque", tmp_path / "table.csv", tmp_path / "later.csv"
    pages = [collection.page("a/camera.jpg"), collection.page("b/coins.jpg")]
    table.write_text("filename;date;title\ncamera.jpg;1912-05;Vogue\ncoins;1925;Münzen\nlost.jpg;1900;?\n", "cp1252")
    done = calque("add", index, *pages, "--metadata", table, "--workers", "1", "--format", "json")
    assert done.returncode == 1, done.stderr
    assert "table.csv: line 4: 'lost.jpg' is the name of no image" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["added"], summary["failed"], summary["unmatched"]) == (2, 0, 1)

    later.write_text("Shelfmark,title,place\na/camera.jpg,,Paris\n")
    done = calque("add", index, "--metadata", later, "--metadata-key", "shelfmark", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["unmatched"] == 0
    listed = calque("info", index, "--images", "--format", "json", "--where", "date<1920")
    (image,) = json.loads(listed.stdout)
    assert image["metadata"] == {
        "filename": "camera.jpg",
        "date": "1912-05",
        "Shelfmark": "a/camera.jpg",
        "place": "Paris",
    }
    listed = calque("info", index, "--images", "--format", "json", "--where", "title~münz")
    assert [found["image"] for found in json.loads(listed.stdout)] == [str(pages[1])]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "name a SOURCE, or give --metadata or --zones"),
        (("--metadata", "table.csv"), "own.calque is no index"),
        (("--metadata", "missing.csv"), "missing.csv: no such file"),
        (("--metadata", "table.csv", "--metadata-key", "shelf"), "no column called shelf"),
        ((".", "--metadata-key", "shelf"), "--metadata-key names a column of the table"),
        ((".", "--zones", "table.csv"), "table.csv: damaged XML"),
    ],
)
def test_add_with_nothing_to_add_makes_nothing(
    words: tuple[str, ...], reason: str, calque: Calque, tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text("path,date\np1.jpg,1912\n")
    done = calque("add", "own.calque", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert not (tmp_path / "own.calque").exists()


def test_interrupted_add_leaves_a_valid_index_and_goes_on(
    collection: Collection, calque: Calque, tmp_path: Path
) -> None:
    index = tmp_path / "own.calque"
    command = [sys.executable, "-c", "from cli.main import main; main()", "add", str(index), str(collection.folder)]
    process = subprocess.Popen(
        [*command, "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell, children would inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (index / "catalogue.sqlite").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    # A machine may be quick enough to be done before the signal arrives.
    assert process.returncode in (0, 130)
    if process.returncode == 130:
        assert "the index is valid, run the same command again to go on" in stderr
        assert "Traceback" not in stderr
    assert calque("check", index).returncode == 0
    assert calque("add", index, collection.folder, "--workers", "1").returncode == 0
    assert images_in(index, calque) == 8


def test_a_reader_that_leaves_early_is_no_error(scans_index: Path, photograph: Path) -> None:
    command = f"{sys.executable} -c 'from cli.main import main; main()' search {scans_index} {photograph} --format json"
    done = subprocess.run(f"{command} | true", shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["serach", "x"], "serach"),
        (["search", "x.calque"], "--queries"),
        (["search", "x.calque", "a.jpg", "--region", "1,2,3"], "X,Y,WIDTH,HEIGHT"),
        (["search", "x.calque", "a.jpg", "--region", "1,2,0,5"], "X,Y,WIDTH,HEIGHT"),
        (["search", "x.calque", "a.jpg", "--relations", "upside-down"], "mirrored+inverted"),
        (["compare", "a.jpg", "b.jpg", "-o", "drawing.doc"], ".png"),
    ],
)
def test_wrong_usage_is_exit_status_2_and_says_what_would_be_right(words: list[str], says: str, calque: Calque) -> None:
    done = calque(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr

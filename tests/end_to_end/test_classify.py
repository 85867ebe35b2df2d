"""Classes of pictures through the command line: trained, measured, applied, asked what to label next."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from cli.errors import explain
from cli.main import calque as group
from matcher.errors import InputError
from tests.conftest import REPOSITORY

WOOD, STONE, SKY = (120, 70, 20), (128, 128, 128), (90, 150, 230)


def drawn(colour, seed):
    """Return a picture of blots of about a colour."""
    random = np.random.default_rng(seed)
    picture = np.full((90, 120, 3), 235, np.uint8)
    for _ in range(14):
        tone = np.clip(np.array(colour) + random.integers(-25, 25, 3), 0, 255).tolist()
        centre = (int(random.integers(0, 120)), int(random.integers(0, 90)))
        cv2.circle(picture, centre, int(random.integers(6, 26)), tone, -1)
    return picture


@pytest.fixture(scope="module")
def sorted_pictures(tmp_path_factory) -> Path:
    """Folders of twelve pictures for each of three classes, one of each twice, and what is no image."""
    folder = tmp_path_factory.mktemp("labels") / "sorted"
    for place, (name, colour) in enumerate((("wood", WOOD), ("stone", STONE), ("sky é", SKY))):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            picture = drawn(colour, 100 * place + number)
            cv2.imwrite(str(folder / name / f"p {number}.png"), picture[..., ::-1])
        cv2.imwrite(str(folder / name / "copy.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])
    return folder


def run(*words):
    """Run a command in this process and return its status and what it wrote."""
    # Click keeps a command's option of help as it is first made, and docs/cli.md is made in the same process.
    options = {"standalone_mode": False, "help_option_names": ["--help"]}
    done = CliRunner().invoke(group, [str(word) for word in words], **options)
    if done.exception is not None:
        raise done.exception
    return done.return_value, done.stdout, done.stderr


@pytest.fixture(scope="module")
def trained(sorted_pictures, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "kind.h5"
    status, out, _ = run(
        "classify", "train", sorted_pictures, "-o", path, "--folds", "3", "--workers", "0", "--format", "json"
    )
    figures = json.loads(out)
    assert status == 0
    assert figures["accuracy"] > 0.9
    assert (figures["examples"], figures["groups"]) == (39, 36)  # copies are of one group with what they are of
    return path


def test_a_model_is_applied_to_scans_in_every_format(trained, sorted_pictures, tmp_path):
    (tmp_path / "new").mkdir()
    for number, colour in enumerate((WOOD, STONE, SKY)):
        cv2.imwrite(str(tmp_path / "new" / f"{number}.png"), drawn(colour, 7000 + number)[..., ::-1])
    (tmp_path / "new" / "3.jpg").write_text("no image")
    status, out, err = run("classify", "apply", "--workers", "0", trained, tmp_path / "new", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 1  # one could not be read
    assert "3.jpg: not an image" in err
    assert [row["label"] for row in rows] == ["wood", "stone", "sky é"]
    assert all(
        float(row["probability"]) == max(float(row[name]) for name in ("wood", "stone", "sky é")) for row in rows
    )
    _, out, _ = run(
        "classify", "apply", "--workers", "0", trained, tmp_path / "new", "--format", "jsonl", "--min-probability", "1"
    )
    assert [json.loads(line)["labels"] for line in out.splitlines()] == [[], [], []]


def test_labels_are_noted_in_an_index_and_learned_from_again(trained, sorted_pictures, tmp_path):
    index = tmp_path / "x.calque"
    assert run("add", index, sorted_pictures, "--workers", "0", "--no-layout")[0] == 0
    assert run("embed", index, "--model", "palette", "--workers", "0")[0] == 0
    status, out, _ = run("classify", "apply", "--workers", "0", trained, index, "--write", "kind", "--format", "json")
    assert status == 0
    told = {row["image"]: row["labels"][0] for row in json.loads(out)}
    assert np.mean([Path(image).parent.name == label for image, label in told.items()]) > 0.9
    _, listed, _ = run(
        "info", index, "--images", "--where", "kind = wood and kind_probability > 0.5", "--format", "json"
    )
    noted = json.loads(listed)
    assert len(noted) == sum(label == "wood" for label in told.values())
    assert all(one["metadata"]["kind"] == "wood" for one in noted)
    status, out, _ = run(
        "classify",
        "train",
        index,
        "--label",
        "kind",
        "-o",
        tmp_path / "again.h5",
        "--folds",
        "2",
        "--format",
        "json",
        "--workers",
        "0",
    )
    assert status == 0
    assert json.loads(out)["accuracy"] > 0.9
    sure = run(
        "classify",
        "apply",
        "--workers",
        "0",
        trained,
        index,
        "--write",
        "kind",
        "--min-probability",
        "1",
        "--format",
        "json",
    )
    assert sure[0] == 0
    with pytest.raises(Exception, match="no image has 'kind'"):
        run("info", index, "--images", "--where", "kind = wood")


def test_pictures_on_pages_are_classified_by_themselves(trained, tmp_path):
    from index.annotations import Zone
    from index.store import Index
    from matcher.types import Region

    page = np.full((400, 500, 3), 255, np.uint8)
    places = {"wood": (20, 30), "sky é": (300, 250)}
    for (name, (x, y)), colour in zip(places.items(), (WOOD, SKY), strict=True):
        page[y : y + 90, x : x + 120] = drawn(colour, 8000 + len(name))
    cv2.imwrite(str(tmp_path / "page.png"), page[..., ::-1])
    with Index.create(tmp_path / "x.calque", {"layout": ""}) as index:
        index.add([tmp_path / "page.png"], workers=0)
        (image,) = index.images()
        index.set_regions("user", {image.id: [Zone("illustration", Region(*at, 120, 90)) for at in places.values()]})
    status, out, _ = run(
        "classify",
        "apply",
        "--workers",
        "0",
        trained,
        tmp_path / "x.calque",
        "--regions",
        "--write",
        "kind",
        "--format",
        "json",
    )
    assert status == 0
    assert [(row["region"], row["labels"]) for row in json.loads(out)] == [
        ([20, 30, 120, 90], ["wood"]),
        ([300, 250, 120, 90], ["sky é"]),
    ]
    with Index.open(tmp_path / "x.calque") as index:
        assert index.metadata(image.id)["kind"] == "sky é|wood"


def test_the_report_shows_confusions_calibration_and_errors(trained, sorted_pictures, tmp_path):
    status, out, _ = run("classify", "evaluate", trained, "-o", tmp_path / "own", "--format", "json")
    figures = json.loads(out)
    assert status == 0
    assert sum(map(sum, figures["confusion"])) == 39
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    rows = []
    for number in range(6):
        cv2.imwrite(str(fresh / f"<b>{number}.png"), drawn(SKY, 9000 + number)[..., ::-1])
        rows.append(f"<b>{number}.png,{'wood' if number % 2 else 'sky é'}")
    (fresh / "labels.csv").write_text("image,label\n" + "\n".join(rows) + "\ngone.png,wood\n", encoding="utf-8")
    status, out, err = run("classify", "evaluate", trained, fresh / "labels.csv", "-o", tmp_path / "new")
    assert status == 1
    assert "line 8: 'gone.png' is no file" in err
    page = (tmp_path / "new" / "report.html").read_text("utf-8")
    assert page.count('<article class="error">') == 3
    assert "<b>1.png" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert len(list((tmp_path / "new" / "pictures").glob("*.jpg"))) == 3
    drawing = (tmp_path / "new" / "pictures" / "confusion.svg").read_text("utf-8")
    assert "wood told as sky é: 3 of 3" in drawing


def test_labels_alone_are_cross_validated(sorted_pictures):
    status, out, _ = run(
        "classify",
        "evaluate",
        sorted_pictures,
        "--model",
        "structure",
        "--folds",
        "2",
        "--format",
        "json",
        "--workers",
        "0",
    )
    assert status == 0
    assert json.loads(out)["embedder"].startswith("structure-")


def test_what_a_model_has_learned_from_is_not_measured_nor_suggested(trained, sorted_pictures, tmp_path):
    with pytest.raises(Exception, match="trained on all of these"):
        run("classify", "evaluate", trained, sorted_pictures, "--workers", "0")
    status, out, _ = run("classify", "suggest", "--workers", "0", trained, sorted_pictures)
    assert (status, out.count("\n")) == (1, 1)  # the headings
    mixed = tmp_path / "mixed.png"
    halves = np.concatenate([drawn(WOOD, 1)[:, :60], drawn(SKY, 2)[:, 60:]], axis=1)
    cv2.imwrite(str(mixed), halves[..., ::-1])
    cv2.imwrite(str(tmp_path / "plain.png"), drawn(STONE, 3)[..., ::-1])
    status, out, _ = run("classify", "suggest", "--workers", "0", trained, tmp_path, "--format", "json")
    suggested = json.loads(out)
    assert status == 0
    assert [Path(row["path"]).name for row in suggested] == ["mixed.png", "plain.png"]
    assert suggested[0]["uncertainty"] > suggested[1]["uncertainty"]


def test_a_model_of_another_embedder_is_refused_with_both_signatures(trained, sorted_pictures):
    with pytest.raises(Exception, match=r"trained on vectors of palette-1.*these are of structure-1"):
        run("classify", "apply", "--workers", "0", trained, sorted_pictures, "--model", "structure")


def test_wrong_usage_ends_with_one_line_and_writes_nothing(trained, sorted_pictures, tmp_path):
    with pytest.raises(InputError, match="holds no folders called as classes") as raised:
        run("classify", "train", sorted_pictures / "wood", "-o", tmp_path / "x.h5")
    assert explain(raised.value).count("\n") == 0
    with pytest.raises(InputError, match="there is no folder"):
        run("classify", "train", sorted_pictures, "-o", tmp_path / "gone" / "x.h5")
    with pytest.raises(Exception, match="--write notes labels in the metadata of an index"):
        run("classify", "apply", trained, sorted_pictures, "--write", "kind")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_training_leaves_no_file(sorted_pictures, tmp_path):
    """Killed while the file is on disk and not yet in its place: a model that was there before is still there."""
    output = tmp_path / "kind.h5"
    output.write_bytes(b"what was there before")
    command = [sys.executable, "-c", "from cli.main import main; main()", "classify", "train", str(sorted_pictures)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "CALQUE_FAULT": "file.synced"}
    done = subprocess.run(
        [*command, "-o", str(output), "--folds", "2", "--workers", "0"],
        env=environment,
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL
    assert output.read_bytes() == b"what was there before"


def test_a_network_is_trained_further_and_words_tell_classes(sorted_pictures, tmp_path):
    pytest.importorskip("transformers")
    from tests.checkpoints import write_checkpoint

    clip = write_checkpoint("clip", tmp_path / "clip")
    model = tmp_path / "tuned.h5"
    words = ("--model", f"hf:{clip}", "--folds", "2", "--workers", "0", "--format", "json")
    status, out, _ = run("classify", "train", sorted_pictures, "-o", model, "--fine-tune", "1", *words)
    trained = json.loads(out)
    assert status == 0
    assert "+tuned(" in trained["embedder"]
    status, out, _ = run("classify", "apply", model, sorted_pictures, "--workers", "0", "--format", "json")
    assert (status, len(json.loads(out))) == (0, 39)
    moved = clip.rename(tmp_path / "moved")
    with pytest.raises(Exception, match="clip"):
        run("classify", "apply", model, sorted_pictures, "--workers", "0")
    assert run("classify", "apply", model, sorted_pictures, "--workers", "0", "--model", f"hf:{moved}")[0] == 0
    with pytest.raises(Exception, match="has no network that can be trained further"):
        run("classify", "apply", model, sorted_pictures, "--workers", "0", "--model", "palette")
    told = ("--text-labels", "ship,cat,dog", "--model", f"hf:{moved}", "--format", "json")
    status, out, _ = run("classify", "train", "-o", tmp_path / "words.h5", *told)
    assert (status, json.loads(out)["classes"]) == (0, ["ship", "cat", "dog"])
    status, out, _ = run(
        "classify", "apply", tmp_path / "words.h5", sorted_pictures, "--workers", "0", "--format", "json"
    )
    assert {label for row in json.loads(out) for label in row["labels"]} <= {"ship", "cat", "dog"}
    with pytest.raises(Exception, match="learned from words, not from examples"):
        run("classify", "evaluate", tmp_path / "words.h5")

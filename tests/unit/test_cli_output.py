"""Formats on stdout, progress on stderr, and the line that an error becomes."""

from __future__ import annotations

import csv
import errno
import io
import json

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from cli.errors import explain
from cli.main import calque
from cli.output import write_record, write_rows, write_table
from cli.progress import Progress
from matcher.errors import InputError

ROWS = [
    {"rank": 1, "image": "b/ä, 2.jpg", "region": [1.5, 2.0, 30.0, 4.0], "false_alarms": 1.23456789e-12, "extra": None},
    {"rank": 12, "image": "c.jpg", "region": [0.0, 0.0, 1.0, 1.0], "false_alarms": 0.5, "extra": True},
]
COLUMNS = ["rank", "image", "region", "false_alarms"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def written(form: str) -> str:
    out = io.StringIO()
    write_rows(ROWS, COLUMNS, form, out)
    return out.getvalue()


def test_json_holds_every_key_at_full_precision() -> None:
    assert json.loads(written("json")) == ROWS


def test_json_lines_hold_one_row_a_line() -> None:
    assert [json.loads(line) for line in written("jsonl").splitlines()] == ROWS


def test_csv_reads_back_with_boxes_as_typed_on_the_command_line() -> None:
    first, second = csv.DictReader(io.StringIO(written("csv")))
    assert first == {"rank": "1", "image": "b/ä, 2.jpg", "region": "1.5,2.0,30.0,4.0", "false_alarms": "1.23456789e-12"}
    assert second["image"] == "c.jpg"


def test_csv_without_rows_still_has_its_head() -> None:
    out = io.StringIO()
    write_rows([], COLUMNS, "csv", out)
    assert out.getvalue() == "rank,image,region,false_alarms\n"


def test_a_table_is_aligned_and_numbers_stand_to_the_right() -> None:
    assert written("table").splitlines() == [
        "rank  image       region      false alarms",
        "   1  b/ä, 2.jpg  1.5,2,30,4     1.235e-12",
        "  12  c.jpg       0,0,1,1              0.5",
    ]


def test_a_table_shows_control_characters_instead_of_obeying_them() -> None:
    out = io.StringIO()
    write_table([["a\nb\x1b[2J", None, False]], ["name", "x", "y"], out)
    assert out.getvalue().splitlines()[1] == r"a\nb\x1b[2J  -  no"


def test_a_record_is_one_object_or_one_value_a_line() -> None:
    out = io.StringIO()
    write_record({"n_images": 3, "sizes": {"a": 1, "b": 2.5}}, "table", out)
    assert out.getvalue() == "n images  3\nsizes     a 1, b 2.5\n"
    out = io.StringIO()
    write_record({"n": 3}, "jsonl", out)
    assert out.getvalue() == '{"n": 3}\n'


def test_progress_on_a_terminal_is_redrawn_with_rate_and_time_left() -> None:
    out, clock = Terminal(), Clock()
    with Progress("images", total=100, stream=out, clock=clock) as progress:
        clock.now += 5
        progress.update(10)
        progress.update(11)  # too soon to be read
    assert out.getvalue() == "\r\x1b[K[##......................] 10/100 images, 2.0 images/s, 0:45 left\n"


def test_progress_elsewhere_is_a_plain_line_every_ten_seconds() -> None:
    out, clock = io.StringIO(), Clock()
    with Progress("images", stream=out, clock=clock) as progress:
        for done in range(1, 26):
            clock.now += 1
            progress.update(done, 7200)
    assert out.getvalue().splitlines() == [
        "10/7200 images, 1.0 images/s, 1:59:50 left",
        "20/7200 images, 1.0 images/s, 1:59:40 left",
    ]


def test_quiet_progress_still_tells_failures() -> None:
    out, clock = Terminal(), Clock()
    with Progress("images", total=3, quiet=True, stream=out, clock=clock) as progress:
        clock.now += 60
        progress.update(2)
        progress.message("x.jpg: unreadable")
    assert out.getvalue() == "x.jpg: unreadable\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("a.jpg: empty; give a scan"), ["a.jpg: empty; give a scan"]),
        (OSError(errno.ENOSPC, "No space left on device", "x/s.h5"), ["x/s.h5", "No space left", "make room"]),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), ["/x", "Permission denied", "right"]),
        (ZeroDivisionError("division\nby zero"), ["ZeroDivisionError", "division by zero", "CALQUE_DEBUG=1"]),
        (click.ClickException("no such thing"), ["no such thing"]),
        (MemoryError(), ["memory", "--workers"]),
    ],
)
def test_every_error_becomes_one_line(error: Exception, words: list[str]) -> None:
    line = explain(error)
    assert line.startswith("calque: error: ")
    assert "\n" not in line
    assert all(word in line for word in words)


def test_the_shell_completes_commands_and_options() -> None:
    complete = ShellComplete(calque, {}, "calque", "_CALQUE_COMPLETE")
    assert {item.value for item in complete.get_completions([], "se")} == {"search", "segment", "serve"}
    assert {item.value for item in complete.get_completions(["check"], "--re")} == {"--repair"}


def test_the_doctor_names_what_is_missing() -> None:
    done = CliRunner().invoke(calque, ["doctor", "--format", "json"], standalone_mode=False)
    found = {row["what"]: row for row in json.loads(done.stdout)}
    assert found["Python"]["state"] == "ok"
    assert found["numpy"]["state"] == "ok"
    assert all(row["state"] in ("ok", "missing", "error") for row in found.values())
    assert all(row["remedy"] for name, row in found.items() if row["state"] == "missing" and name.startswith("weights"))

"""A few hundred of the damaged files of `benchmarks.fuzz`: readers give a result or one line, and never hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_readers_give_a_result_or_one_line(tmp_path: Path) -> None:
    words = ["--inputs", "340", "--seed", "3", "--seconds", "60", "--json", str(tmp_path / "told.json")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *rows, total = json.loads((tmp_path / "told.json").read_text("utf-8"))["rows"]
    assert total["inputs"] == 340
    assert all(row["read"] for row in rows if row["reader"] != "truth")  # what the damage left whole

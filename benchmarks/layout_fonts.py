"""The type faces that training pages are set in: all under open licences, fetched from npm and Debian by name.

```
python -m benchmarks.layout_fonts /tmp/fonts
```
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

__all__ = ["DEBIAN", "NPM", "fetch"]

# fmt: off
NPM = (
    "abril-fatface@5.3.0", "almendra@5.3.0", "amiri@5.3.0", "anton@5.3.0", "astloch@4.5.7", "cardo@5.3.0",
    "cinzel@5.3.0", "cinzel-decorative@5.3.0", "cormorant-garamond@5.3.0", "diplomata@5.3.0", "eagle-lake@5.3.0",
    "eb-garamond@5.3.0", "emilys-candy@5.3.0", "fleur-de-leah@5.2.8", "fondamento@5.3.0", "frank-ruhl-libre@5.3.0",
    "germania-one@5.3.0", "gfs-didot@5.3.0", "grenze-gotisch@5.3.0", "herr-von-muellerhoff@5.3.0",
    "homemade-apple@5.3.0", "im-fell-double-pica@5.3.0", "im-fell-dw-pica@5.3.0", "im-fell-english@5.3.0",
    "im-fell-french-canon@5.3.0", "im-fell-great-primer-sc@5.3.0", "jacquard-24@5.3.0", "jim-nightshade@5.1.1",
    "la-belle-aurore@5.3.0", "libre-baskerville@5.3.0", "libre-bodoni@5.3.0", "libre-caslon-text@5.3.0",
    "limelight@5.3.0", "medievalsharp@5.3.0", "metamorphous@5.3.0", "monsieur-la-doulaise@5.3.0", "new-rocker@5.3.0",
    "old-standard-tt@5.3.0", "oswald@5.3.0", "petit-formal-script@5.3.0", "pirata-one@5.3.0",
    "playfair-display@5.3.0", "roboto-slab@5.3.0", "rye@5.3.0", "special-elite@5.3.0", "tangerine@5.3.0",
    "texturina@5.3.0", "tinos@5.3.0", "ultra@5.3.0", "uncial-antiqua@5.3.0", "unifrakturcook@5.3.0",
    "unifrakturmaguntia@5.3.0", "vast-shadow@5.3.0",
)
"""Packages ``@fontsource/NAME``: Open Font License 1.1, but Roboto Slab, Special Elite, Homemade Apple and Tinos, which
are under Apache 2.0. Astloch's package, an older one, says MIT of itself."""

DEBIAN = (
    "fonts-adf-baskervald", "fonts-adf-oldania", "fonts-blankenburg", "fonts-essays1743", "fonts-femkeklaver",
    "fonts-gotico-antiqua", "fonts-goudybookletter", "fonts-isabella", "fonts-junicode", "fonts-kristi",
)
"""Packages of Debian 12, main."""
# fmt: on

_STYLES = ("latin-400-normal", "latin-400-italic", "latin-700-normal")


def fetch(folder: Path) -> None:
    """Put the faces into a folder; npm, apt-get and dpkg-deb must be there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for package in NPM:
            subprocess.run(["npm", "pack", "--silent", f"@fontsource/{package}"], cwd=scratch, check=True)
        for archive in scratch.glob("*.tgz"):
            _unpack(archive.read_bytes(), folder)
        subprocess.run(["apt-get", "download", "-q", *DEBIAN], cwd=scratch, check=True)
        for archive in scratch.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, scratch / "debian"], check=True)
        for face in sorted((scratch / "debian").rglob("*.[ot]tf")):
            (folder / face.name).write_bytes(face.read_bytes())


def _unpack(archive: bytes, folder: Path) -> None:
    """Take the styles that are wanted out of a package of npm."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar.getmembers():
            name = Path(member.name).name
            content = tar.extractfile(member)
            if content is not None and name.endswith(".woff") and any(style in name for style in _STYLES):
                (folder / name).write_bytes(content.read())


def main() -> None:
    """Fetch from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    fetch(parser.parse_args().folder)


if __name__ == "__main__":
    main()

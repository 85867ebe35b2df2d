"""The house rules that can be counted: public names, size of files, what an import costs, what is shipped."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cli.main import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("matcher", "index", "cli", "webui")
ROOMS = (*PACKAGES, "benchmarks", "tests", "docs")
LONGEST = 500
HEAVY = {"numpy", "scipy", "cv2", "h5py", "numba", "torch", "sklearn", "skimage", "PIL", "pypdfium2"}


def sources(*folders: str) -> list[str]:
    return sorted(str(path.relative_to(REPOSITORY)) for name in folders for path in (REPOSITORY / name).rglob("*.py"))


def defined_names(node: ast.stmt) -> list[str]:
    """Return the names that a top-level statement defines (imports define none of the module's own)."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def heavy_modules_after(code: str) -> set[str]:
    """Return which of `HEAVY` a fresh interpreter has loaded after running `code`."""
    ask = f"{code}\nimport sys\nprint(*({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", ask], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def asking_for_help(*words: str) -> str:
    """Return the code that runs ``calque WORDS… --help`` and goes on."""
    call = f"main({[*words, '--help']!r})"
    return f"from cli.main import main\ntry:\n    {call}\nexcept SystemExit as end:\n    assert end.code == 0"


@pytest.mark.parametrize("path", sources(*PACKAGES))
def test_all_lists_exactly_the_public_names(path: str) -> None:
    tree = ast.parse((REPOSITORY / path).read_text("utf-8"))
    listings = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value and "__all__" in defined_names(node)
    ]
    assert len(listings) == 1, "a module has one literal __all__"
    defined = {name for node in tree.body for name in defined_names(node)}
    assert sorted(listings[0]) == sorted(name for name in defined if not name.startswith("_"))


@pytest.mark.parametrize("path", sources(*ROOMS))
def test_no_file_is_long(path: str) -> None:
    assert len((REPOSITORY / path).read_text("utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert heavy_modules_after(f"import {package}") == set()


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)], ids=lambda words: " ".join(words) or "calque")
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    assert heavy_modules_after(asking_for_help(*words)) == set()


def test_help_of_the_group_imports_no_command() -> None:
    commands = {module for module, _ in COMMANDS.values()}
    code = f"{asking_for_help()}\nimport sys\nassert not {commands!r} & set(sys.modules)"
    assert heavy_modules_after(code) == set()


def test_the_wheel_holds_exactly_the_packages(tmp_path: Path) -> None:
    """Nothing else of the repository may end up among other people's packages."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", *PACKAGES):
        # Built from links in a folder of its own, so that no build/ is left in, nor taken from, the repository.
        (copy / name).symlink_to(REPOSITORY / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == set(PACKAGES)
    shipped = {name for name in names if name.startswith("index/data/")}
    assert shipped == {f"index/data/{path.name}" for path in (REPOSITORY / "index" / "data").iterdir()}

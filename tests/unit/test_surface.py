"""The house rules that can be counted: public names, size of files, what an import costs, what is shipped."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from functools import cache
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
    """Return the names that a top-level statement binds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse((REPOSITORY / path).read_text("utf-8"))


def heavy_modules_after(code: str) -> set[str]:
    """Return which of `HEAVY` a fresh interpreter has loaded after running `code`."""
    ask = f"{code}\nimport sys\nprint(*({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", ask], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def asking_for_help(*words: str) -> str:
    """Return the code that runs ``calque WORDS… --help`` and goes on."""
    call = f"main({[*words, '--help']!r})"
    return f"from cli.main import main\ntry:\n    {call}\nexcept SystemExit as end:\n    assert end.code == 0"


@cache
def imported_elsewhere() -> set[tuple[str, str]]:
    """Return (module, name) of all that the packages import from each other."""
    return {
        (node.module, alias.name)
        for path in sources(*PACKAGES)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES
        for alias in node.names
    }


@pytest.mark.parametrize("path", sources(*PACKAGES))
def test_all_is_what_others_may_use(path: str) -> None:
    """Public are functions and classes without underscore, and whatever another module imports."""
    body = tree_of(path).body
    defined = {name for node in body for name in defined_names(node)}
    listings = [
        ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value and "__all__" in defined_names(node)
    ]
    assert len(listings) == 1, "a module has one literal __all__"
    listed = set(listings[0])
    assert listed <= defined, "listed, but not there"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    named = {node.name for node in body if isinstance(node, kinds) and not node.name.startswith("_")}
    assert named <= listed, "public by its name, but not listed"
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    used = {name for source, name in imported_elsewhere() if source == module}
    submodules = {Path(other).stem for other in sources(*PACKAGES) if path == f"{Path(other).parent}/__init__.py"}
    assert used - submodules <= listed, "used by another module, but not listed"


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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == set(PACKAGES)
    shipped = {name for name in names if name.startswith("index/data/")}
    assert shipped == {f"index/data/{path.name}" for path in (REPOSITORY / "index" / "data").iterdir()}

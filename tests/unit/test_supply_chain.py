"""What is read from files is data: nothing that a file or a server says is run. Versions are pinned."""

from __future__ import annotations

import ast
import re
import runpy
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from matcher.weights import WEIGHTS
from tests.unit.test_surface import PACKAGES, REPOSITORY, sources, tree_of

if TYPE_CHECKING:
    from pathlib import Path

PICKLERS = {"pickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}
LOADERS = {"load", "loads", "Unpickler", "read_pickle"}


def calls(path: str) -> list[tuple[str, ast.Call]]:
    """Return the calls in a file, and how what is called is written."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]


def unsafe(path: str) -> list[str]:
    """Return what in a file would run what it reads."""
    found = []
    for name, call in calls(path):
        module, _, function = name.rpartition(".")
        keywords = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if name in ("eval", "exec", "compile", "os.system", "os.popen") or keywords.get("shell") == "True":
            found.append(name)
        if module.split(".")[-1] in PICKLERS and function in LOADERS:
            found.append(name)
        if name == "torch.load" and keywords.get("weights_only") != "True":
            found.append(name)
        if keywords.get("allow_pickle") == "True" or keywords.get("trust_remote_code") == "True":
            found.append(name)
        if module == "yaml" and function in ("load", "unsafe_load", "full_load"):
            found.append(name)
    return found


@pytest.mark.parametrize("path", sources(*PACKAGES))
def test_nothing_that_is_read_is_run(path: str) -> None:
    assert unsafe(path) == []


@pytest.mark.parametrize("path", sources(*PACKAGES))
def test_xml_is_parsed_without_entities_only(path: str) -> None:
    imports = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom | ast.Import)]
    modules = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    if not any(name.startswith(("xml.", "lxml")) for name in modules):
        return
    # The standard library may write, and name types; what parses is defusedxml.
    parsing = [
        name for name, _ in calls(path) if name.split(".")[-1] in ("fromstring", "iterparse", "XMLParser", "XML")
    ]
    assert not parsing or any(name.startswith("defusedxml") for name in modules), parsing


def pins() -> set[str]:
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    return {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}


def test_every_dependency_is_pinned_and_what_it_needs_in_turn() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*map(Requirement, [*project["dependencies"], *(line for extra in extras for line in extra)])]
    names, seen = set(), set()
    while wanted:
        needed = wanted.pop()
        if (needed.name, *sorted(needed.extras)) in seen:
            continue
        seen.add((needed.name, *sorted(needed.extras)))
        names.add(canonicalize_name(needed.name))
        try:
            requires = distribution(needed.name).requires or []
        except PackageNotFoundError:  # Of an extra that is not installed no more is known than its name.
            continue
        wanted += [
            one
            for one in map(Requirement, requires)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *needed.extras))
        ]
    assert names <= pins(), names - pins()


def test_the_tools_that_make_installs_are_pinned() -> None:
    lines = re.findall(r"pip install (.*-c constraints\.txt.*)", (REPOSITORY / "Makefile").read_text("utf-8"))
    words = {word for line in lines for word in line.split() if re.fullmatch(r"[a-z][\w-]+", word)}
    assert len(lines) == (REPOSITORY / "Makefile").read_text("utf-8").count("pip install")
    assert {"pip-audit", "cyclonedx-bom"} <= words
    assert words <= pins(), words - pins()


HARMED = {"name": "pillow", "version": "9.0.0", "vulns": [{"id": "CVE-1", "fix_versions": ["9.0.1"]}]}
SOUND = {"name": "click", "version": "8.5.1", "vulns": []}
UNKNOWN = {"name": "click", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("audited", "canary", "status", "told"),
    [
        ([SOUND], [HARMED], 0, "audited 1 versions: 0 known to be vulnerable"),
        ([SOUND, HARMED], [HARMED], 1, "VULNERABLE: pillow 9.0.0: CVE-1, mended in 9.0.1"),
        ([SOUND, UNKNOWN], [HARMED], 0, "not known to the service: click"),
        ([UNKNOWN], [HARMED], 3, "NOT AUDITED: the service knows none of the versions"),
        ([SOUND], [SOUND], 3, "NOT AUDITED"),
        ([SOUND], [UNKNOWN], 3, "NOT AUDITED"),
        ([], [], 3, "NOT AUDITED"),
    ],
)
def test_an_audit_that_nobody_answered_is_none(audited: list[dict], canary: list[dict], status: int, told: str) -> None:
    ended, lines = runpy.run_path(str(REPOSITORY / ".ci" / "audit.py"))["judged"](audited, canary)
    assert ended == status
    assert any(line.startswith(told) for line in lines)


def test_what_is_downloaded_has_a_hash() -> None:
    for name, wanted in WEIGHTS.items():
        assert wanted.url.startswith("https://"), name
        assert wanted.sha256 == "" or re.fullmatch("[0-9a-f]{64}", wanted.sha256), name


def test_the_finder_finds(tmp_path: Path) -> None:
    wrong = "eval(a)\npickle.loads(b)\ntorch.load(c)\nnp.load(d, allow_pickle=True)\nsubprocess.run(e, shell=True)\n"
    (tmp_path / "wrong.py").write_text(wrong, encoding="utf-8")
    assert len(unsafe(str(tmp_path / "wrong.py"))) == 5
    (tmp_path / "right.py").write_text("torch.load(c, weights_only=True)\njson.loads(d)\n", encoding="utf-8")
    assert unsafe(str(tmp_path / "right.py")) == []

"""Do the tests notice? Modules with one thing changed, and whether a chosen part of the tests then fails.

A mutant is a module of which one operator, comparison, number, condition or call was changed (DeMillo, Lipton &
Sayward, Computer 1978). Left out are types, names, docstrings, the texts of errors, and `_kernels.py`: numba compiles
these, and property tests hold them equal to plain twins. A child of this process imports the mutant in place of the
module and runs the tests of a few files until one fails; a mutant that lets them run for ever counts as found, too.
Mutants are drawn at random by the seed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # schemathesis alone takes seconds to load

import ast
import resource
import select
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import cv2
import h5py  # noqa: F401  what children need and no mutant touches
import hypothesis  # noqa: F401
import numpy as np
import pytest
import scipy.stats  # noqa: F401
import skimage.data  # noqa: F401

import index._kernels  # noqa: F401
import matcher._kernels  # noqa: F401
from benchmarks.runner import arguments, machine, report, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType

__all__ = ["TESTS", "Mutant", "main", "mutants", "outcome"]

ROOT = Path(__file__).parents[1]

TESTS = {
    "matcher/geometry.py": ["tests/unit/test_geometry.py", "tests/unit/test_significance.py"],
    "matcher/significance.py": ["tests/unit/test_significance.py", "tests/unit/test_geometry.py"],
    "index/postings.py": ["tests/unit/test_postings.py"],
    "index/store.py": [
        "tests/unit/test_store.py",
        "tests/unit/test_annotations.py",
        "tests/unit/test_backup.py",
        "tests/crash/test_corruption.py",
    ],
}
"""Modules, and the tests that a mutant of each has to face, the quickest first."""

_CPU_SECONDS = 180
_OURS = ("benchmarks", "cli", "index", "matcher", "webui")
_COMPILED = ("_kernels", "_instructions")
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of a module: where it is, what was there, what is there now, and the whole module with it."""

    module: str
    line: int
    before: str
    after: str
    tree: ast.Module


def mutants(module: str, source: str) -> list[Mutant]:
    """Return all mutants of a module's source."""
    found = []
    sites = list(_sites(ast.parse(source)))
    for number, (node, kinds) in enumerate(sites):
        for kind in kinds:
            tree = ast.parse(source)
            (changed, _) = list(_sites(tree))[number]
            before = ast.unparse(node)
            _change(changed, kind)
            found.append(Mutant(module, getattr(node, "lineno", 0), before, ast.unparse(changed), tree))
    return found


def _sites(tree: ast.Module) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """Yield each node that can be changed, and how, always in the same order."""

    def visit(node: ast.AST) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
        if isinstance(node, ast.Raise) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            return  # texts of errors; types
        if isinstance(node, (ast.JoinedStr, ast.arg, ast.Import, ast.ImportFrom)):
            return
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield node, ("compare",)
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            yield node, ("operate",)
        elif isinstance(node, ast.BoolOp):
            yield node, ("connect",)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            yield node, ("unsign",)
        elif isinstance(node, ast.AugAssign) and type(node.op) in _OPERATORS:
            yield node, ("operate",)
        elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
            yield node, ("constant",)
        elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
            yield node, ("negate",)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield node, ("omit",)
        elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
            yield node, ("nothing",)
        elif isinstance(node, (ast.Break, ast.Continue)):
            yield node, ("leave",)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child)

    for statement in tree.body:
        yield from visit(statement)


def _change(node: ast.AST, kind: str) -> None:
    """Change a node in its place."""
    if isinstance(node, ast.Compare):
        node.ops = [_COMPARISONS[type(node.ops[0])]()]
    elif isinstance(node, (ast.BinOp, ast.AugAssign)):
        node.op = _OPERATORS[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
        if isinstance(node.op, ast.Not):
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, (ast.Expr, ast.Return)):
        node.value = ast.Constant(None)
    else:
        copied = ast.Pass()
        node.__class__, node.__dict__ = type(copied), {**copied.__dict__, **node.__dict__}
    ast.fix_missing_locations(node)


class _Witness:
    """Notes what test failed first."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = f"{report.nodeid} cannot be collected"


def outcome(mutant: Mutant | None, tests: Sequence[str], seconds: float) -> str:
    """Let a child run `tests` with a mutant, or nothing changed; return which failed, or nothing if all passed."""
    theirs, ours = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        os.setpgid(0, 0)
        _run(mutant, tests, ours)
    os.close(ours)
    told = b""
    try:
        ready, _, _ = select.select([theirs], [], [], seconds)
        told = os.read(theirs, 1 << 12) if ready else b"took for ever"
    finally:
        os.close(theirs)
        for target in (lambda: os.killpg(child, signal.SIGKILL), lambda: os.kill(child, signal.SIGKILL)):
            with suppress(ProcessLookupError):
                target()
        os.waitpid(child, 0)
    return told.decode() or "the process ended"


def _run(mutant: Mutant | None, tests: Sequence[str], pipe: int) -> NoReturn:
    """Import the mutant in place of its module, run tests, tell the outcome; never returns."""
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    os.chdir(ROOT)
    for name in list(sys.modules):  # what knows the module as it is
        if name.partition(".")[0] in _OURS and not name.endswith(_COMPILED):
            del sys.modules[name]
    if mutant is not None:
        path, original = str(ROOT / mutant.module), SourceFileLoader.get_code

        def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
            if Path(self.path).resolve() == Path(path):
                return compile(mutant.tree, path, "exec")
            return original(self, fullname)

        SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    witness = _Witness()
    with tempfile.TemporaryDirectory(prefix="calque-mutant-") as folder:
        words = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "_hypothesis_pytestplugin",
            "--hypothesis-seed=0",
            "--basetemp",
            f"{folder}/t",
            *tests,
        ]
        status = pytest.main(words, plugins=[witness])
    passed = status == pytest.ExitCode.OK
    os.write(pipe, (b"passed" if passed else (witness.failed or f"pytest says {status}").encode()))
    os._exit(0)


def main(words: Sequence[str] | None = None) -> int:
    """Run the campaign; exit status 1 if fewer than 85 % of the mutants were found."""
    parser = arguments(__doc__.partition("\n")[0], dataset=False)
    parser.add_argument("--mutants", type=int, default=150, metavar="N", help="how many, 0 for all (default: 150)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=900.0, help="what a mutant may take (default: 900)")
    parser.add_argument("--modules", default=",".join(TESTS), help=f"of {','.join(TESTS)}")
    options = parser.parse_args(words)
    cv2.setNumThreads(1)
    modules = options.modules.split(",")
    known = {module: mutants(module, (ROOT / module).read_text(encoding="utf-8")) for module in modules}
    for module in modules:
        if (told := outcome(None, TESTS[module], options.seconds)) != "passed":
            print(f"{module}: the tests fail without a mutant ({told})", file=sys.stderr)
            return 2
    pool = [mutant for module in modules for mutant in known[module]]
    order = np.random.default_rng(options.seed).permutation(len(pool))[: options.mutants or None]
    tried: list[tuple[Mutant, str]] = []
    for number, place in enumerate(sorted(order.tolist()), 1):
        mutant, start = pool[place], time.monotonic()
        tried.append((mutant, outcome(mutant, TESTS[mutant.module], options.seconds)))
        line = f"{number}/{len(order)} {mutant.module}:{mutant.line}: {tried[-1][1]} ({time.monotonic() - start:.0f} s)"
        print(line, file=sys.stderr, flush=True)
    rows = []
    for module in [*modules, "all"]:
        of = [told for mutant, told in tried if module in (mutant.module, "all")]
        killed = sum(told != "passed" for told in of)
        share = f"{killed / len(of):.3f}" if of else "–"
        there = sum(len(known[name]) for name in modules if module in (name, "all"))
        rows.append({"module": module, "mutants": there, "tried": len(of), "killed": killed, "share": share})
    print(table(rows))
    survivors = [mutant for mutant, told in tried if told == "passed"]
    for mutant in survivors:
        before, after = (text.replace("\n", " ⏎ ")[:100] for text in (mutant.before, mutant.after))
        print(f"{mutant.module}:{mutant.line}: {before}  →  {after}")
    listed = [{"module": m.module, "line": m.line, "before": m.before, "after": m.after} for m in survivors]
    report({"machine": machine(), "seed": options.seed, "rows": rows, "survivors": listed}, options.json)
    return 1 if len(survivors) > 0.15 * len(tried) else 0


if __name__ == "__main__":
    sys.exit(main())

"""The documentation says what the code does."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli.lazy import LazyGroup
from cli.main import COMMANDS, calque

REPOSITORY = Path(__file__).resolve().parents[2]
command_line_docs = runpy.run_path(str(REPOSITORY / "docs" / "make_cli_docs.py"))["command_line_docs"]
GUIDES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])


def calls_of_calque(text: str) -> list[list[str]]:
    """Return the words of every `calque …` call in the fenced console blocks of a Markdown text."""
    calls = []
    for block in re.findall(r"^```(?:console|sh|bash|shell)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        # Output stands in the same blocks: only lines with a prompt, or none at all in the block, are calls.
        lines = block.replace("\\\n", " ").splitlines()
        prompted = [line.strip()[2:] for line in lines if line.strip().startswith("$ ")]
        for line in prompted or lines:
            words = shlex.split(line, comments=True)
            if words and Path(words[0]).name == "calque":
                calls.append(words[1:])
    return calls


def documented_calls() -> list[tuple[str, list[str]]]:
    return [(path.name, call) for path in GUIDES if path.exists() for call in calls_of_calque(path.read_text("utf-8"))]


def test_the_committed_command_line_docs_are_the_generated_ones() -> None:
    # In a process of its own: click remembers a command's options for help, and other tests run commands by themselves.
    code = "import runpy; print(runpy.run_path('docs/make_cli_docs.py')['command_line_docs'](), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=True
    )
    assert (REPOSITORY / "docs" / "cli.md").read_text("utf-8") == done.stdout, "run `make docs`"


def command_of(name: str) -> click.Command:
    """Return the command of a name, such as ``add``, or one of a group's, such as ``classify train``."""
    command: click.Command = calque
    for part in name.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), part)
        assert found is not None
        command = found
    return command


def all_commands() -> list[str]:
    """Return the names of all commands, those of groups behind their group."""
    names = []
    for name in COMMANDS:
        command = command_of(name)
        inner = command.list_commands(click.Context(command)) if isinstance(command, click.Group) else ()
        names += [name, *(told for part in inner if not command_of(told := f"{name} {part}").hidden)]
    return names


@pytest.mark.parametrize("name", all_commands())
def test_every_command_is_documented_with_an_example(name: str) -> None:
    heading = "#" * (2 + name.count(" "))
    section = command_line_docs().split(f"\n{heading} calque {name}\n")[1].split("\n##")[0]
    examples = section.split("Examples:")[1]
    assert f"calque {name} " in examples or name == "demo"
    assert examples.startswith("\n    calque ")  # one a line, not run together
    assert "Usage: calque" in section


@pytest.mark.parametrize("name", all_commands())
def test_every_option_is_explained(name: str) -> None:
    command = command_of(name)
    silent = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert not silent


@pytest.mark.parametrize(("document", "call"), documented_calls(), ids=lambda value: str(value))
def test_documented_calls_exist(document: str, call: list[str]) -> None:
    """Every call shown parses: the command, its options and the number of its arguments are real."""
    words = call[: min((i for i, word in enumerate(call) if word in {"|", ">", "&&", ";"}), default=len(call))]
    if not words or words[0].startswith("-"):
        return
    assert words[0] in COMMANDS, f"{document} names an unknown command"
    name = words.pop(0)
    while isinstance(command := command_of(name), LazyGroup):
        if type(command) is not LazyGroup and words[0] not in command.table:
            break  # a group that does something itself, too
        name = f"{name} {words.pop(0)}"
    if "--help" not in words:
        command_of(name).make_context(name, words, resilient_parsing=False)


def test_calls_are_found_in_console_blocks() -> None:
    text = "x\n```console\n$ calque info a.calque | head\nimages 3\n```\n```text\ncalque nonsense\n```\n"
    assert calls_of_calque(text) == [["info", "a.calque", "|", "head"]]

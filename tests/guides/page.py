"""A guide as a script: its commands run in their order, and print what the page shows.

Blocks of `console` have commands, after `$ `, and what they print. Figures may be others, as may spaces and
rules of tables; a line or a part of one that is `...` is anything. Blocks that begin with a
comment are files, whose name is the comment.

The pages speak of `app1:8000` and of ports 8080 and 9901: `Place` has what these really are in a test.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.tools import run

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FIGURE = re.compile(r"\d[\d,.:]*")
_RULE = re.compile(r"^ ?[─]+ ?$")


@dataclass(frozen=True, slots=True)
class Command:
    """What to type, and the lines that it prints."""

    text: str
    shown: Sequence[str]


class Guide:
    """A page of docs/guides."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "docs" / name).read_text(encoding="utf-8")

    def file(self, name: str, number: int = 0) -> str:
        """The text of a file of the page; the first version of it, or a later one."""
        found: list[str] = [text for _, text in _BLOCK.findall(self.text) if text.startswith(f"# {name}\n")]
        return found[number]

    def part(self, language: str) -> str:
        """The only block in that language."""
        (found,) = [text for kind, text in _BLOCK.findall(self.text) if kind == language]
        return str(found)

    def commands(self, heading: str = "") -> list[Command]:
        """Those of a section, or of the whole page."""
        text = self.text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] if heading else self.text
        assert text, heading
        found: list[tuple[str, list[str]]] = []
        for kind, block in _BLOCK.findall(text):
            for line in block.splitlines() if kind == "console" else ():
                if line.startswith("$ "):
                    found.append((line[2:], []))
                elif found[-1][0].endswith("\\"):
                    found[-1] = (f"{found[-1][0][:-1]} {line.strip()}", [])
                else:
                    found[-1][1].append(line)
        return [Command(*one) for one in found]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the commands of a page run: a directory, the page's names and their addresses, variables."""

    directory: Path
    names: Mapping[str, str]
    environ: Mapping[str, str] = field(default_factory=dict)

    async def runs(self, commands: Iterable[Command]) -> None:
        """Each of them prints what is shown."""
        code = 0
        for command in commands:
            code, lines = await self._done(
                f"(exit {code}); {command.text}" if "$?" in command.text else command.text
            )
            assert is_shown(lines, command.shown), f"{command.text}\n" + "\n".join(lines)

    async def _done(self, text: str) -> tuple[int, list[str]]:
        """The exit code of a command, and what it prints, in the words of the page."""
        done = await run("bash", "-c", self.real(text), says=b"", **self._environ())
        return done.code, self.told(done.text).splitlines()

    def real(self, text: str) -> str:
        """A text of the page with the addresses of the test."""
        for name, address in self.names.items():
            text = re.sub(rf"(?<![\w.]){re.escape(name)}\b", address, text)
        return text

    def told(self, text: str) -> str:
        """A text of the test with the names of the page."""
        for name, address in self.names.items():
            text = text.replace(address, name)
        return text

    def _environ(self) -> dict[str, str]:
        """With a command `balancer` that is the one under test, and a wide terminal."""
        command = self.directory / "bin" / "balancer"
        if not command.exists():
            command.parent.mkdir(exist_ok=True)
            command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m balancer "$@"\n')
            command.chmod(0o755)
        path = f"{command.parent}:{os.environ['PATH']}"
        here = {"PATH": path, "COLUMNS": "200", "PWD": str(self.directory), "PYTHONPATH": str(ROOT)}
        return {**here, "BASH_ENV": self._start(), **self.environ}

    def _start(self) -> str:
        """A file that bash reads first: commands run in the directory."""
        file = self.directory / ".start"
        file.write_text(f"cd {shlex.quote(str(self.directory))}\n")
        return str(file)


def is_shown(lines: Sequence[str], shown: Sequence[str]) -> bool:
    """Whether lines are those of the page but for figures, spaces and rules."""
    parts = ["(?:.*\n)*" if line.strip() == "..." else _pattern(line) for line in _plain(shown)]
    return re.fullmatch("".join(parts), "".join(f"{line}\n" for line in _plain(lines))) is not None


def _plain(lines: Sequence[str]) -> list[str]:
    plain = (" ".join(_FIGURE.sub("0", line).split()) for line in lines)
    return [line for line in plain if line and not _RULE.match(line)]


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part.strip()) for part in line.split("...")) + "\n"

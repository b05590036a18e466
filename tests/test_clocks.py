"""Time and randomness are constructor arguments: only a few places may read the machine's own."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import balancer

PACKAGE = Path(balancer.__file__).parent
# The one module that reads the clocks, and the composition roots, which pass clocks and generators on.
# The process that orders a certificate is one: it ends with the order.
# The conformance suite is a test, and a trial build picks nothing: their generators have a constant seed.
FREE = (
    "clock.py",
    "runtime/",
    "acme/",
    "demo/",
    "console/",
    "cli.py",
    "policies/conformance/",
    "policies/registry.py",
)

# Injected types, which may therefore be named everywhere.
INJECTED = {"random.Random", "datetime.datetime", "datetime.UTC", "datetime.timezone"}
LENGTHS = {"datetime.timedelta"}  # no reading of a clock, even if it is called
MODULES = ("time", "random", "datetime", "secrets", "uuid")
NOW = ("now", "utcnow", "today")


def _offences(tree: ast.AST) -> Iterator[str]:
    """Uses of the machine's time or randomness, as `line: what`."""
    aliases: dict[str, str] = {}  # local name -> dotted origin
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    annotations = {id(inner) for node in ast.walk(tree) for inner in _annotation(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute) or id(node) in annotations:
            continue
        name = _dotted(node, aliases)
        if name is None or name in MODULES or name.partition(".")[0] not in MODULES:
            continue
        if name in LENGTHS or (name in INJECTED and not _is_called(node, tree)):
            continue
        if name.startswith("datetime.datetime.") and not name.endswith(NOW):
            continue
        yield f"line {node.lineno}: {name}"


def _annotation(node: ast.AST) -> Iterator[ast.AST]:
    for place in ("annotation", "returns"):
        annotation = getattr(node, place, None)
        if isinstance(annotation, ast.AST):
            yield from ast.walk(annotation)


def _dotted(node: ast.Name | ast.Attribute, aliases: dict[str, str]) -> str | None:
    attributes: list[str] = []
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute):
        attributes.append(inner.attr)
        inner = inner.value
    if not isinstance(inner, ast.Name) or inner.id not in aliases:
        return None
    return ".".join([aliases[inner.id], *reversed(attributes)])


def _is_called(node: ast.AST, tree: ast.AST) -> bool:
    """`Random()` creates a generator that should have been passed in."""
    return any(isinstance(call, ast.Call) and call.func is node for call in ast.walk(tree))


def _restricted() -> list[Path]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return [path for path in paths if not path.relative_to(PACKAGE).as_posix().startswith(FREE)]


def test_only_listed_places_read_the_machines_time_and_randomness() -> None:
    offences = [
        f"{path.relative_to(PACKAGE.parent)}, {offence}"
        for path in _restricted()
        for offence in _offences(ast.parse(path.read_text()))
    ]
    assert offences == []


CASES = {
    "module call": ("import time\ntime.time()", ["line 2: time.time"]),
    "under another name": ("import time as t\nt.monotonic()", ["line 2: time.monotonic"]),
    "imported function": ("from time import monotonic\nmonotonic()", ["line 2: time.monotonic"]),
    "passed on": ("import time\nclock = time.monotonic_ns", ["line 2: time.monotonic_ns"]),
    "chance": ("import random\nrandom.random()", ["line 2: random.random"]),
    "the date of today": ("from datetime import datetime\ndatetime.now()", ["line 2: datetime.datetime.now"]),
    "a generator of its own": ("from random import Random\nRandom()", ["line 2: random.Random"]),
    "a generator handed in": ("from random import Random\ndef f(r: Random): r.random()", []),
    "a date from a number": ("from datetime import datetime\ndatetime.fromtimestamp(0)", []),
    "an attribute of that name": ("class A: pass\nA.time = 1\nA.time.random()", []),
}


@pytest.mark.parametrize("case", CASES)
def test_the_search_finds_every_use(case: str) -> None:
    code, expected = CASES[case]
    assert list(_offences(ast.parse(code))) == expected

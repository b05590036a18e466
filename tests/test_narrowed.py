"""No attribute is compared with None where mypy takes the answer to be known: mypyc does not look again.

    self._timer = None
    self._due()  # may set it
    if self._timer is None:  # compiled: a TypeError, if it is set

mypy itself reports such a test only if code becomes unreachable by it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mypy import build
from mypy.main import process_options
from mypy.nodes import ComparisonExpr, Expression, MemberExpr, NameExpr, Node, TypeInfo, Var
from mypy.types import AnyType, Instance, NoneType, Type, UnionType, get_proper_type

from tests.hot_rooms import ROOT, hot_files

pytestmark = pytest.mark.slow  # 20 s: mypy without its cache


def test_no_test_for_none_has_a_known_answer() -> None:
    assert checked(hot_files()) == []


PLANTED = """
class Timer:
    def __init__(self, call: "Timer") -> None:
        self.armed: int | None = None
        self.call = call

    def fire(self) -> bool:
        self.armed = None
        self.call.fire()
        return bool(self.call) and self.armed is None

    def fine(self) -> bool:
        self.call.fire()
        return self.armed is None
"""


def test_a_known_answer_is_found(tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text(PLANTED)
    assert checked([file]) == ["planted, line 10: self.armed"]


def checked(files: list[Path]) -> list[str]:
    """Module, line and attribute of each test in `files`."""
    config = ["--no-incremental", "--config-file", str(ROOT / "pyproject.toml")]
    given, options = process_options([*config, *map(str, files)])
    options.export_types = options.preserve_asts = True
    result = build.build(given, options)
    assert result.errors == []
    return [
        f"{source.module}, line {node.line}: {text_of(node.operands[0])}"
        for source in given
        for node in nodes(result.graph[source.module].tree, set())
        if isinstance(node, ComparisonExpr) and is_known(node, result.types)
    ]


def is_known(node: ComparisonExpr, types: dict[Expression, Type]) -> bool:
    left, right = node.operands[:2]
    if not isinstance(left, MemberExpr) or node.operators[0] not in ("is", "is not"):
        return False
    if not isinstance(right, NameExpr) or right.fullname != "builtins.None" or left not in types:
        return False
    kind = get_proper_type(types[left])
    if isinstance(kind, UnionType):
        return not any(isinstance(get_proper_type(item), NoneType) for item in kind.items)
    return not isinstance(kind, AnyType) and not (
        isinstance(kind, Instance) and kind.type.fullname == "builtins.object"
    )


def nodes(value: object, seen: set[int]) -> Iterator[Node]:
    """All nodes of a syntax tree. mypy is compiled too: its visitors cannot be subclassed."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from nodes(each, seen)
    elif isinstance(value, Node) and not isinstance(value, TypeInfo | Var) and id(value) not in seen:
        seen.add(id(value))
        yield value
        for kind in type(value).__mro__:
            for name in getattr(kind, "__mypyc_attrs__", ()):
                if name not in ("info", "node", "type"):
                    yield from nodes(getattr(value, name, None), seen)


def text_of(node: Expression) -> str:
    if isinstance(node, MemberExpr):
        return f"{text_of(node.expr)}.{node.name}"
    return node.name if isinstance(node, NameExpr) else "..."

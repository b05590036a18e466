"""The rules for code that is compiled (CONTRIBUTING.md), as far as the syntax shows whether they are kept."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hot_rooms import PACKAGE, ROOT, SETTINGS, hot_files, module_of

HOT = hot_files()
every_file = pytest.mark.parametrize("file", HOT, ids=[module_of(file).partition(".")[2] for file in HOT])

# Protocols in hot rooms: called seldom, or only a type of attributes that are bound once.
PROTOCOLS = {
    "balancer.clock.Clock",
    "balancer.connections.intake.Owner",
    "balancer.connections.intake.Resting",
    "balancer.outliers.local_ejector.Asker",
    "balancer.policies.sampling.Candidate",
    "balancer.proxy.waiting_bodies.Holder",
    "balancer.queueing.queue.Waiter",
    "balancer.upstreams.state.HasState",
}
NOT_HOT = {
    "balancer.lateness",
    "balancer.messages",
    "balancer.spec.explained",
    "balancer.spec.instance",
    "balancer.spec.part",
    "balancer.spec.tls",
    "balancer.spec.traced",
    "balancer.spec.worker",
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function or module, without those of functions in it."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, FUNCTIONS):
            yield from own_nodes(child)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node


def decorators(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(each).partition("(")[0] for each in node.decorator_list}


def bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).partition("[")[0] for base in node.bases]


def is_native(node: ast.ClassDef) -> bool:
    """Whether mypyc makes it a native class: not an enum, an exception, a named tuple or a protocol."""
    others = {"Enum", "StrEnum", "IntEnum", "Exception", "NamedTuple", "Protocol", "BalancerError",
              "OperatorError"}  # fmt: skip
    return not others.intersection(bases(node))


@every_file
def test_constants_are_final(file: Path) -> None:
    """Else each use is a look-up in the dict of the module, with a check of its type."""
    loose = []
    for node in tree_of(file).body:
        if isinstance(node, ast.Assign):
            loose += [f"line {node.lineno}: {ast.unparse(target)}" for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            annotation = ast.unparse(node.annotation)
            if not annotation.startswith("Final") and annotation != "TypeAlias":
                loose.append(f"line {node.lineno}: {ast.unparse(node.target)}")
    types = re.compile(r"line \d+: _?[A-Z]([a-z][A-Za-z]*)?$")
    assert [one for one in loose if not types.match(one)] == []


def test_protocols_are_those_of_the_list() -> None:
    """A protocol's method is looked up by its name at each call; that of a base class is an indirect jump."""
    found = {
        f"{module_of(file)}.{node.name}"
        for file in HOT
        for node in classes(tree_of(file))
        if "Protocol" in bases(node)
    }
    assert found == PROTOCOLS


def test_what_hot_rooms_import_is_compiled_too() -> None:
    """But for what requests do not pass: specifications, messages to the supervisor."""
    hot = {module_of(file) for file in HOT}
    plain = {
        node.module
        for file in HOT
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("balancer.")
        and node.module not in hot
    }
    assert plain == NOT_HOT


@every_file
def test_sums_say_where_they_start(file: Path) -> None:
    """Without it the type of a sum of floats is `float | int`, and the compiled sum may expect an int."""
    calls = [node for node in ast.walk(tree_of(file)) if isinstance(node, ast.Call)]
    sums = [call for call in calls if ast.unparse(call.func) == "sum"]
    assert [f"line {call.lineno}" for call in sums if len(call.args) < 2 and not call.keywords] == []


@every_file
def test_caught_errors_of_different_types_have_different_names(file: Path) -> None:
    """In compiled code a name has one type in a function: that of the first `except ... as`."""
    mixed = []
    for function in functions(tree_of(file)):
        types: dict[str, str] = {}
        for node in own_nodes(function):
            if isinstance(node, ast.ExceptHandler) and node.name and node.type:
                kind = ast.unparse(node.type)
                if types.setdefault(node.name, kind) != kind:
                    mixed.append(f"line {node.lineno}: {node.name} is a {types[node.name]}")
    assert mixed == []


@every_file
def test_classes_have_one_base(file: Path) -> None:
    """A native class has one native base: roles that one object plays are in one line."""
    extra = {"Generic", "Protocol"}
    assert [
        node.name
        for node in classes(tree_of(file))
        if len([base for base in bases(node) if base not in extra]) > 1
    ] == []


@every_file
def test_roles_can_be_played_by_plain_classes(file: Path) -> None:
    """Fakes and plug-ins are plain classes, which may inherit from a native one only if it says so."""
    roles = [node for node in classes(tree_of(file)) if "ABC" in bases(node) or file.name == "roles.py"]
    assert [node.name for node in roles if "mypyc_attr" not in decorators(node)] == []


@every_file
def test_attributes_are_declared(file: Path) -> None:
    """As slots: an attribute that a compiled class would refuse then fails as plain Python too."""
    without = []
    for node in classes(tree_of(file)):
        slots = any(
            isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "__slots__" for part in node.body
        )
        if (
            not slots
            and is_native(node)
            and not any("slots=True" in ast.unparse(d) for d in node.decorator_list)
        ):
            without.append(node.name)
    assert without == []


def test_contributing_lists_what_is_compiled() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Code that is compiled")[2].partition("\n## ")[0]
    first = section.partition("\n\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_/]+(?:\.py)?)`", first))
    assert named == {*SETTINGS["rooms"], *SETTINGS["files"], *SETTINGS["plain"]}


def test_the_list_is_of_files_that_exist() -> None:
    names = [*SETTINGS["rooms"], *SETTINGS["files"], *SETTINGS["plain"]]
    assert [name for name in names if not (PACKAGE / name).exists()] == []

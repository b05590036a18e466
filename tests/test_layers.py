"""The architecture as a test: allowed imports (docs/request-life.md), and what a worker must not load."""

import ast
import gc
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import balancer

PACKAGE = Path(balancer.__file__).parent

# Room -> layer. A module imports only from lower layers, or from its own room.
LAYERS: dict[str, int] = {
    "build": 0,
    "acme": 0,
    "certificates": 0,
    "errors": 0,
    "clock": 0,
    "counters": 0,
    "edges": 0,
    "lateness": 0,
    "http": 1,
    "upstreams": 1,
    "config": 1,
    "spec": 1,
    "policies": 2,
    "telemetry": 2,
    "messages": 2,
    "limits": 3,
    "queueing": 3,
    "sticky": 3,
    "outliers": 3,
    "connections": 3,
    "pools": 4,
    "proxy": 5,
    "health": 5,
    "discovery": 5,
    "clients": 6,
    "admin": 6,
    "overview": 5,
    "runtime": 7,
    "demo": 7,
    "console": 7,
    "cli": 7,
    "__main__": 7,
}
# Rooms that may import less than their layer allows.
ONLY: dict[str, frozenset[str]] = {"policies": frozenset(["errors", "clock", "upstreams"])}
NEVER: dict[str, frozenset[str]] = {"proxy": frozenset(["clients", "health", "discovery", "admin", "config"])}
# Rooms above another room of the same layer: cli, demo and the entry point start what is in runtime; counters
# are of histograms too.
ABOVE: dict[str, frozenset[str]] = {
    "cli": frozenset(["runtime", "demo", "console"]),
    "__main__": frozenset(["cli", "runtime"]),
    "counters": frozenset(["edges"]),
}

# Package -> the only places (a room, or a module with its dots) that may import it.
THIRD_PARTY: dict[str, frozenset[str]] = {
    "pydantic": frozenset(["config"]),
    "pydantic_core": frozenset(["config"]),
    "pydantic_settings": frozenset(["config"]),
    "yaml": frozenset(["config"]),
    "dns": frozenset(["discovery.service_lookup"]),
    "cryptography": frozenset(["certificates", "acme"]),
    **dict.fromkeys(("acme", "josepy", "requests"), frozenset(["acme"])),
    "aiohttp": frozenset(["admin", "demo"]),
    "prometheus_client": frozenset(["telemetry.metrics"]),
    "opentelemetry": frozenset(["telemetry.otlp"]),
    "typer": frozenset(["cli", "demo", "console"]),
    "rich": frozenset(["cli", "demo", "console"]),
    "httptools": frozenset(["http"]),
    "mypy_extensions": frozenset(["policies", "pools", "sticky", "connections", "proxy", "clients"]),
    "msgspec": frozenset(["spec", "admin"]),
    "orjson": frozenset(["http", "telemetry", "admin", "config", "overview"]),
    "uvloop": frozenset(["runtime", "cli", "demo"]),
}
# Packages that a room must not import, although all others may.
BANNED: dict[str, frozenset[str]] = {
    "policies": frozenset(["asyncio"]),
    "http": frozenset(["asyncio", "socket", "ssl"]),
    "upstreams": frozenset(["asyncio", "socket", "ssl"]),
}
# Modules that a worker may not load: they cost start-up time and memory in every worker.
NOT_IN_WORKERS = (
    "aiohttp",
    "pydantic",
    "prometheus_client",
    "opentelemetry",
    "yaml",
    "typer",
    "rich",
    "cryptography",
    "acme",
)
# Modules that the supervisor may not load: they go with the process that reads the settings. The numbers are
# in docs/decisions/0097-three-processes-start.md.
NOT_IN_SUPERVISOR = (
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "yaml",
    "typer",
    "rich",
    "cryptography",
    "acme",
    "josepy",
    "requests",
    "dns",
    "opentelemetry",  # only if traces are on
)
# It may not load these before its workers are ready,
NOT_BEFORE_WORKERS = (*NOT_IN_SUPERVISOR, "aiohttp", "prometheus_client")
# nor these before it has started the other processes.
NOT_TO_BEGIN_WITH = (*NOT_BEFORE_WORKERS, "asyncio", "uvloop", "msgspec", "logging", "ssl")


@dataclass(frozen=True, slots=True)
class Import:
    """One import: `module` (dotted, under balancer, or a third party's) by `importer`, at `line`. `names` are
    the imported names, empty if it is the module itself."""

    importer: str
    module: str
    line: int
    names: tuple[str, ...] = ()

    @property
    def room(self) -> str:
        return self.importer.partition(".")[0]

    def __str__(self) -> str:
        return f"balancer.{self.importer}, line {self.line}: imports {self.module}"


def _name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield _name_of(path), ast.parse(path.read_text(), str(path))


def _imports_of(name: str, tree: ast.AST) -> Iterator[Import]:
    """Imports anywhere in the module, in functions and under TYPE_CHECKING too: a cycle in types is a
    cycle."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(name, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"balancer.{name}, line {node.lineno}: relative imports hide the room"
            assert node.module is not None
            if node.module == "balancer":
                yield from (Import(name, f"balancer.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield Import(name, node.module, node.lineno, tuple(alias.name for alias in node.names))


@cache
def _imports() -> tuple[Import, ...]:
    """All imports; parsed on first use, not by every process that collects tests. In 3.11 ast.parse fails
    when the garbage collector interrupts it with a finaliser that formats a traceback, as the warning about
    another test's leak does."""
    gc.disable()
    try:
        return tuple(one for name, tree in _modules() for one in _imports_of(name, tree))
    finally:
        gc.enable()


def _may_import(importer: str, imported: str) -> bool:
    if importer == imported:
        return True
    if imported in ABOVE.get(importer, ()):
        return True
    if imported in NEVER.get(importer, ()):
        return False
    if importer in ONLY and imported not in ONLY[importer]:
        return False
    return LAYERS[imported] < LAYERS[importer]


def _inside() -> Iterator[tuple[Import, str]]:
    for one in _imports():
        parts = one.module.split(".")
        if parts[0] == "balancer" and len(parts) > 1 and not parts[1].startswith("__version__"):
            yield one, parts[1]


def test_every_room_has_its_layer() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert rooms - {"__init__"} <= LAYERS.keys(), (
        "a new room: give it its layer here and in docs/request-life.md"
    )


def test_modules_import_only_from_lower_layers() -> None:
    assert [str(one) for one, room in _inside() if not _may_import(one.room, room)] == []


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    """A path through the modules that leads back to its start, [] if there is none."""
    done: set[str] = set()
    for start in sorted(graph):
        trail: list[str] = []
        ways = [iter([start])]
        while ways:
            module = next(ways[-1], None)
            if module is None:
                ways.pop()
                if trail:
                    done.add(trail.pop())
            elif module in trail:
                return [*trail[trail.index(module) :], module]
            elif module not in done:
                trail.append(module)
                ways.append(iter(sorted(graph[module])))
    return []


def _graph() -> dict[str, set[str]]:
    """Module -> the modules that it imports, modules of a package by their own names."""
    graph: dict[str, set[str]] = {_name_of(path): set() for path in PACKAGE.rglob("*.py")}
    for one in _imports():
        module = one.module.removeprefix("balancer.")
        parts = {part for name in one.names if (part := f"{module}.{name}") in graph}
        if module in graph and (len(parts) < len(one.names) or not one.names):
            parts.add(module)
        graph[one.importer] |= parts
    return graph


def test_no_import_cycles_exist() -> None:
    assert _cycle(_graph()) == []


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        pytest.param({"a": {"b"}, "b": {"c"}, "c": set()}, [], id="a chain"),
        pytest.param({"a": {"b", "c"}, "b": {"c"}, "c": set()}, [], id="two ways to the same module"),
        pytest.param({"a": {"b"}, "b": {"a"}}, ["a", "b", "a"], id="two modules"),
        pytest.param({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"], id="behind a third"),
        pytest.param({"a": {"a"}}, ["a", "a"], id="a module that imports itself"),
    ],
)
def test_cycles_are_found(graph: dict[str, set[str]], cycle: list[str]) -> None:
    assert _cycle(graph) == cycle


@pytest.mark.parametrize("package", THIRD_PARTY)
def test_third_party_packages_stay_in_their_rooms(package: str) -> None:
    homes = THIRD_PARTY[package]
    strays = [
        str(one)
        for one in _imports()
        if one.module.partition(".")[0] == package and one.room not in homes and one.importer not in homes
    ]
    assert strays == []


def test_only_listed_third_party_packages_are_imported() -> None:
    known = {"balancer", *THIRD_PARTY, *sys.stdlib_module_names}
    assert [str(one) for one in _imports() if one.module.partition(".")[0] not in known] == []


@pytest.mark.parametrize("room", BANNED)
def test_pure_rooms_do_no_io(room: str) -> None:
    banned = BANNED[room]
    strays = [one for one in _imports() if one.room == room and one.module.partition(".")[0] in banned]
    assert [str(one) for one in strays] == []


def _loaded_after(code: str) -> set[str]:
    """The modules that an interpreter has loaded after `code`."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return set(run.stdout.split())


def _packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.integration
@pytest.mark.parametrize("module", ["balancer", "balancer.runtime.worker", "balancer.runtime.build"])
def test_workers_load_no_heavy_modules(module: str) -> None:
    loaded = _loaded_after(f"import {module}")
    assert module in loaded
    assert "importlib.metadata" not in loaded  # only policies of installed packages need it
    assert sorted(_packages(loaded).intersection(NOT_IN_WORKERS)) == []


@pytest.mark.integration
@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        pytest.param("import balancer.__main__", NOT_TO_BEGIN_WITH, id="command line"),
        pytest.param("import balancer.runtime.start", NOT_TO_BEGIN_WITH, id="start"),
        pytest.param("import balancer.runtime.launch", NOT_BEFORE_WORKERS, id="supervisor"),
        pytest.param(
            "import balancer.runtime.launch, balancer.runtime.admin as a; a.load()",
            NOT_IN_SUPERVISOR,
            id="with its admin server",
        ),
    ],
)
def test_the_supervisor_loads_what_it_needs_when_it_needs_it(code: str, unwanted: tuple[str, ...]) -> None:
    assert sorted(_packages(_loaded_after(code)).intersection(unwanted)) == []


@pytest.mark.integration
@pytest.mark.parametrize("name", ["config.loader", "config.settings", "policies.registry"])
def test_only_the_reader_loads_settings_and_policies(name: str) -> None:
    assert f"balancer.{name}" not in _loaded_after("import balancer.runtime.launch, balancer.admin.server")
    assert f"balancer.{name}" in _loaded_after("import balancer.runtime.planning")

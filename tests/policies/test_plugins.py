"""Plug-in policies are found, or refused with cause and remedy, and none breaks the others."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from balancer.console.policies import print_policies
from balancer.policies import registry
from balancer.policies.conformance import check_policy
from tests.policies.contexts import context

Install = Callable[..., None]

GOOD = '''
from balancer.policies.base import Policy
from balancer.policies.round_robin import RoundRobin

class Turns(RoundRobin):
    """In turn, as before.

    And so on.
    """
    summary = ""

    def __init__(self, context, *, first: int = 0):
        super().__init__(context)
        if first < 0:
            raise ValueError(f"first is {first}; write 0 or more")
        self.first = first

class Keyed(Turns):
    needs_key = True
    key_source = "path"

def by_function(context, *, first: int = 0):
    return Keyed(context, first=first)

class Outer:
    Inner = Turns

class Stranger:
    pass

class Fails(RoundRobin):
    def __init__(self, context):
        raise RuntimeError("no luck")

def picky(context, *, size: int = 0):
    raise ValueError("size is 0")

def returns_none(context):
    return None

number = 7
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Writes importable modules, and a distribution with entry points if any are given."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(
        entry_points: dict[str, str] | None = None, package: str = "fine-policies", **modules: str
    ) -> None:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        if entry_points is not None:
            info = tmp_path / f"{package.replace('-', '_')}-1.2.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
            lines = "".join(f"{name} = {value}\n" for name, value in entry_points.items())
            (info / "entry_points.txt").write_text(f"[balancer.policies]\n{lines}")

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["plug:Turns", "plug:Outer.Inner", "plug:by_function"])
def test_a_plug_in_is_loaded_by_module_and_attribute(install: Install, name: str) -> None:
    install(plug=GOOD)
    assert registry.problem(name, {"first": 3}) is None
    assert registry.build(name, {"first": 3}, context()).first == 3  # type: ignore[attr-defined]  # the plug-in's


@pytest.mark.parametrize("name", ["plug:Keyed", "plug:by_function"])
def test_name_and_description_of_a_plug_in(install: Install, name: str) -> None:
    install(plug=GOOD)
    assert registry.needs_key(name)
    assert registry.key_source(name) == "path"
    assert registry.summary("plug:Turns") == "In turn, as before"


BAD: dict[str, tuple[str, str]] = {
    "absent:Policy": (
        "policy",
        "cannot be imported: there is no module absent; install it, or name its folder in PYTHONPATH",
    ),
    "plug.absent:Policy": (
        "policy",
        "cannot be imported: there is no module plug.absent; install it, or name its folder in PYTHONPATH",
    ),
    "hungry:Policy": (
        "policy",
        "cannot be imported: it needs the module absent, which is not installed; install that too",
    ),
    "typo:Policy": (
        "policy",
        "cannot be imported: SyntaxError: invalid syntax (typo.py, line 2); fix the module",
    ),
    "broken:Policy": (
        "policy",
        "cannot be imported: ZeroDivisionError: division by zero (broken.py, line 3); fix the module",
    ),
    "leaving:Policy": ("policy", "cannot be imported: SystemExit: 3 (leaving.py, line 1); fix the module"),
    "plug:Truns": ("policy", "is not there: plug has no Truns; did you mean Turns?"),
    "plug:Outer.Deep": ("policy", "is not there: plug has no Outer.Deep; name what it defines"),
    "plug:": ("policy", "is not module:attribute; write for example my_policies:Fairest"),
    ":Turns": ("policy", "is not module:attribute; write for example my_policies:Fairest"),
    "a b:Turns": ("policy", "is not module:attribute; write for example my_policies:Fairest"),
    "plug:number": ("policy", "is not a policy but int; name a subclass of Policy"),
    "plug:Stranger": ("policy", "is not a policy; it must be a subclass of balancer.policies.base.Policy"),
    "plug:returns_none": ("policy", "builds NoneType, not a policy; it must return a Policy"),
    "plug:picky": ("policy", "refuses its own defaults: size is 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_unusable_plug_in_is_refused_with_the_cause(install: Install, name: str) -> None:
    install(
        plug=GOOD,
        hungry="import absent",
        typo="\ndef",
        broken="def f():\n    pass\n1 / 0",
        leaving="raise SystemExit(3)",
    )
    assert registry.problem(name, {}) == BAD[name]


def test_an_error_in_the_constructor_is_reported_as_the_policys(install: Install) -> None:
    install(plug=GOOD)
    found = registry.problem("plug:Fails", {})
    assert found is not None
    assert found[0] == "policy"
    assert found[1].startswith("cannot be built: RuntimeError: no luck (plug.py, line ")
    assert found[1].endswith("); fix it")


WITHOUT_CANDIDATES = """
from balancer.policies.base import Policy

class First(Policy):
    def rebuild(self, candidates):
        self.share = 1 / len(candidates)

class Second(Policy):
    def rebuild(self, candidates):
        self.candidates = candidates
    def pick(self, key, tried):
        return self.candidates[0]
"""


@pytest.mark.parametrize("name", ["First", "Second"])
def test_a_policy_that_fails_without_candidates_is_reported_at_the_start(install: Install, name: str) -> None:
    install(plug=WITHOUT_CANDIDATES)
    found = registry.problem(f"plug:{name}", {})
    assert found is not None
    assert found[0] == "policy"
    assert found[1].startswith("fails without candidates: ")


def test_options_of_a_plug_in_are_checked(install: Install) -> None:
    install(plug=GOOD)
    assert registry.problem("plug:Turns", {"fist": 1}) == (
        "policy_options",
        "has fist, which plug:Turns does not take; did you mean first?",
    )
    assert registry.problem("plug:Turns", {"first": -1}) == (
        "policy_options",
        "is refused: first is -1; write 0 or more",
    )


def test_an_entry_point_is_a_name_like_any_other(install: Install) -> None:
    install({"turns": "plug:Turns"}, plug=GOOD)
    assert "turns" in registry.names()
    assert registry.problem("turns", {"first": 2}) is None
    check_policy(lambda context: registry.build("turns", {"first": 2}, context))
    assert registry.problem("turn", {}) == ("policy", "is not a policy; did you mean turns?")


def test_an_entry_point_that_cannot_be_loaded_names_its_distribution(install: Install) -> None:
    install({"lost": "absent:Policy [fast]"})
    assert registry.problem("lost", {}) == (
        "policy",
        "is registered by fine-policies 1.2 as absent:Policy [fast], which cannot be imported: there is no "
        "module absent; install it, or name its folder in PYTHONPATH",
    )


def test_a_broken_plug_in_does_not_break_the_others(install: Install) -> None:
    install(
        {"lost": "broken:Policy", "no_policy": "plug:number", "random": "plug:Turns", "turns": "plug:Turns"},
        plug=GOOD,
        broken="1 / 0",
    )
    install({"turns": "plug:Keyed"}, package="other-policies")
    listed = {(each.name, each.origin): each for each in registry.listing()}
    assert [each.name for each in registry.listing() if not each.error] == [
        *sorted(registry.BUILT_IN),
        "turns",
    ]
    assert str(listed["turns", "fine-policies 1.2"].options[0]) == "first=0"
    errors = {place: each.error for place, each in listed.items() if each.error}
    assert errors.pop(("lost", "fine-policies 1.2")).startswith(
        "is registered by fine-policies 1.2 as broken"
    )
    assert errors == {
        ("no_policy", "fine-policies 1.2"): "is not a policy but int; name a subclass of Policy",
        ("random", "fine-policies 1.2"): "the one that is built in is used",
        ("turns", "other-policies 1.2"): "the one that is from fine-policies 1.2 is used",
    }
    assert isinstance(registry.build("round_robin", {}, context()), registry.BUILT_IN["round_robin"])  # type: ignore[arg-type]  # a class


def test_built_in_policies_load_no_plug_ins(install: Install) -> None:
    install({"lost": "broken:Policy"}, broken="1 / 0")
    for name in registry.BUILT_IN:
        registry.build(name, {}, context())
    assert "broken" not in sys.modules


def test_the_table_lists_all_policies_with_options_and_origin(install: Install) -> None:
    install({"lost": "broken:Policy", "turns": "plug:Turns"}, plug=GOOD, broken="1 / 0")
    console = Console(width=200, highlight=False, markup=False, color_system=None)
    with console.capture() as capture:
        print_policies(console)
    rows = {line.split()[0]: line for line in capture.get().splitlines() if line.strip()}
    assert rows.keys() >= {*registry.BUILT_IN, "lost", "turns"}
    for name in registry.BUILT_IN:
        assert rows[name].rstrip().endswith("built in")
    assert "bounded_load=0.0" in rows["consistent_hash"]
    assert "In turn, as before" in rows["turns"]
    assert "first=0" in rows["turns"]
    assert rows["turns"].rstrip().endswith("fine-policies 1.2")
    assert "cannot be used: is registered by fine-policies 1.2 as broken:Policy" in rows["lost"]

"""One command for several instances: all are asked, each line names its instance, failures are named."""

from collections.abc import Iterator
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from balancer.console.client import AdminClient, UnreachableError
from balancer.console.everywhere import SomeFailedError, everywhere
from balancer.console.places import Place
from balancer.errors import OperatorError


def clients(count: int) -> list[AdminClient]:
    return [AdminClient(Place(f"10.0.0.{number}", 9901)) for number in range(1, count + 1)]


def act(client: AdminClient) -> Iterator[Text]:
    if client.place.host == "10.0.0.2":
        raise UnreachableError("nothing answers")
    yield Text("app1 is draining")
    yield Text("app1 has nothing in flight")


def said_by(count: int, out: StringIO) -> list[str]:
    console = Console(file=out, width=80)
    with pytest.raises(SomeFailedError, match=f"^1 of {count} instances failed: 10.0.0.2:9901$"):
        everywhere(clients(count), console, act)
    return out.getvalue().splitlines()


def test_one_instance_is_not_named() -> None:
    out = StringIO()
    everywhere(clients(1), Console(file=out, width=80), act)
    assert out.getvalue() == "app1 is draining\napp1 has nothing in flight\n"


def test_a_failure_of_the_only_instance_is_raised_as_it_is() -> None:
    with pytest.raises(UnreachableError, match=r"^nothing answers$"):
        everywhere(clients(2)[1:], Console(file=StringIO()), act)


def test_all_instances_are_changed_and_those_that_failed_are_named() -> None:
    lines = said_by(3, StringIO())
    assert sorted(lines) == [
        "10.0.0.1:9901  app1 has nothing in flight",
        "10.0.0.1:9901  app1 is draining",
        "10.0.0.2:9901  failed: nothing answers",
        "10.0.0.3:9901  app1 has nothing in flight",
        "10.0.0.3:9901  app1 is draining",
    ]
    for host in ("10.0.0.1", "10.0.0.3"):
        assert [line.split()[2:] for line in lines if line.startswith(host)] == [
            ["is", "draining"],
            ["has", "nothing", "in", "flight"],
        ]


def test_a_table_stands_below_its_instance() -> None:
    def tables(client: AdminClient) -> Iterator[Table]:
        table = Table("setting", box=None)
        table.add_row(client.place.host)
        yield table

    out = StringIO()
    everywhere(clients(2), Console(file=out, width=80), tables)
    lines = [line.strip() for line in out.getvalue().splitlines()]
    for host in ("10.0.0.1", "10.0.0.2"):
        at = lines.index(f"{host}:9901")
        assert lines[at + 1 : at + 3] == ["setting", host]


def test_a_mistake_of_ours_is_not_hidden() -> None:
    def wrong(client: AdminClient) -> Iterator[Text]:
        raise KeyError("inflight")
        yield Text()

    with pytest.raises(KeyError):
        everywhere(clients(2), Console(file=StringIO()), wrong)


def test_a_failure_after_some_lines_counts() -> None:
    def late(client: AdminClient) -> Iterator[Text]:
        yield Text("app1 is draining")
        raise OperatorError("app1 still has 1 in flight")

    out = StringIO()
    with pytest.raises(SomeFailedError, match=r"^2 of 2 instances failed"):
        everywhere(clients(2), Console(file=out, width=80), late)
    assert out.getvalue().count("app1 is draining") == 2

"""`make live`: whose a failure is, what the counters say, and the verdict."""

from collections import Counter

import pytest

from loadtests.live import counters, settings, sockets
from loadtests.live.figures import Part, measure
from loadtests.live.kills import Kill
from loadtests.live.long_lived import LongLived, Sort
from loadtests.live.performance import Run
from loadtests.live.play import Held
from loadtests.live.processes import Holdings
from loadtests.live.settings import Values
from loadtests.live.stage import Seen
from loadtests.live.verdict import broken_promises
from loadtests.open_loop.records import Kind, Record

KILL = Kill(10.0, frozenset({"127.1.0.1:4000"}))


def record(kind: Kind = Kind.OK, begun: float = 10.0, client: str = "127.1.0.1:4000") -> Record:
    return Record(1, "GET", begun, 0.001, 0.5, kind, 502 if kind is Kind.STATUS else 0, client)


def failed(*records: Record) -> tuple[Counter[str], Counter[str]]:
    figures = measure(Part("kill", 0.0, 100.0), Seen([*records]), [KILL])
    return figures.failed, figures.own


@pytest.mark.parametrize(
    ("one", "is_own"),
    [
        pytest.param(record(Kind.RESET), True, id="sent before its client saw the reset"),
        pytest.param(record(Kind.CUT, begun=9.8), True, id="it was running"),
        pytest.param(record(Kind.RESET, client="127.1.0.2:4000"), False, id="another worker's client"),
        pytest.param(record(Kind.RESET, begun=9.0), False, id="before the kill"),
        pytest.param(record(Kind.RESET, begun=20.0), False, id="long after it"),
        pytest.param(record(Kind.STATUS), False, id="answered: a killed worker answers nothing"),
    ],
)
def test_whose_a_failure_is(one: Record, is_own: bool) -> None:
    kind = Counter({one.failure: 1})
    assert failed(one) == ((Counter(), kind) if is_own else (kind, Counter()))


def test_what_is_long_lived_is_cut_by_kind() -> None:
    ends = [
        LongLived(Sort.WEBSOCKET, "127.0.0.1:1", 1.0, 20.0, 3, "ConnectionClosed"),
        LongLived(Sort.DOWNLOAD, "127.1.0.1:4000", 1.0, 19.0, 3, "it ended"),  # a slow reader
        LongLived(Sort.DOWNLOAD, "127.0.0.1:2", 1.0, 20.0, 3, ""),
    ]
    figures = measure(Part("kill", 0.0, 100.0), Seen([], ends), [KILL])
    assert figures.websockets_cut == {"ConnectionClosed": 1}
    assert figures.downloads_cut == {}
    assert figures.own == {"download": 1}


def test_each_part_has_what_ended_in_it() -> None:
    seen = Seen([record(begun=1.0), record(begun=2.0), record(begun=3.0)])
    assert measure(Part("reload", 2.0, 3.0), seen, []).requests == 1


def test_a_counter_must_not_fall() -> None:
    before = counters.parse('# TYPE a_total counter\na_total{pool="x y"} 5\nb_total 3\ninflight 9\n')
    after = counters.parse('a_total{pool="x y"} 4\ninflight 1\n')
    assert counters.fallen(before, after) == ['a_total{pool="x y"} fell from 5 to 4']
    assert counters.fallen(before, before) == []


def test_the_kernels_table_of_connections() -> None:
    table = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0
   1: 0100007F:1F90 0200017F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 20 4
"""
    assert sockets.parse(table) == [("127.1.0.2:40000", "12")]


def test_every_second_reload_needs_new_workers_and_all_come_back() -> None:
    values, live, seen = Values(), [], set()
    for number in range(20):
        values, is_live = settings.change(values, number)
        live.append(is_live)
        seen.add(values)
    assert live == [True, False] * 10
    assert len(seen) == 20
    assert (values.spare, values.weight, values.canary) == (False, 1, 10)


def test_the_first_replica_has_the_weight_and_the_last_is_the_spare() -> None:
    tree = settings.tree(Values(weight=3, spare=True), ["a:1", "b:1", "c:1", "d:1", "e:1"])
    assert tree["pools"]["main"] == {"upstreams": ["a:1?weight=3", "b:1", "c:1", "e:1"]}
    assert tree["pools"]["canary"] == {"upstreams": ["d:1"]}


MIB = 2**20


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        pytest.param(Holdings(104 * MIB, 201, 3), "", id="4 % more"),
        pytest.param(Holdings(106 * MIB, 200, 3), "memory 106.0 MiB", id="more memory"),
        pytest.param(Holdings(100 * MIB, 220, 3), "220 descriptors", id="more descriptors"),
    ],
)
def test_what_is_held_at_rest_comes_back(held: Holdings, sentence: str) -> None:
    warm, busy = Holdings(100 * MIB, 200, 3), Holdings(300 * MIB, 900, 9)
    moments = [Held("after the warm-up", warm, True), Held("after reload", busy, False)]
    run = Run("balancer", [], [*moments, Held("at rest", held, True)], [])
    prefix = "balancer, at rest: "
    assert [one[: len(prefix + sentence)] for one in broken_promises(run)] == [prefix + sentence] * bool(
        sentence
    )


def test_another_balancers_failures_are_shown_and_not_judged() -> None:
    figures = measure(Part("reload", 0.0, 100.0), Seen([record(Kind.RESET)]), [])
    assert broken_promises(Run("nginx", [figures], [], [])) == []
    assert broken_promises(Run("balancer", [figures], [], [])) == [
        "balancer, reload: failed requests: 1: 1 reset"
    ]

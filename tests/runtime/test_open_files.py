"""The open-file limit is raised as far as allowed, and connections fit it."""

import os
import resource
from collections.abc import Iterator

import pytest

from balancer.config.loader import load_with_origins
from balancer.errors import StartupError
from balancer.runtime.open_files import Reserve, Shares, affordable_connections, raise_limit, shares
from balancer.runtime.plan import Notice
from balancer.runtime.planning import plan
from balancer.spec.worker import Level


@pytest.fixture
def lowered() -> Iterator[int]:
    """Only the soft limit is lowered, so that it can be put back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_is_raised_to_the_hard_one(lowered: int) -> None:
    limit = raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (lowered, lowered)
    assert limit == lowered or lowered == resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("wanted", "open_files", "affordable"),
    [
        (20_000, 1 << 20, 20_000),
        (20_000, 40_000, 20_000),
        (20_000, 13_334, 20_000),  # each process has a third of them
        (20_000, 13_333, 19_698),  # less the reserve
        (20_000, 1024, 1236),
        (20_000, 4, 3),  # one for each worker
        (3, 1024, 3),
    ],
)
def test_connections_fit_the_limit(wanted: int, open_files: int, affordable: int) -> None:
    assert affordable_connections(wanted, open_files, workers=3) == affordable


@pytest.mark.parametrize(
    ("setting", "open_files", "affordable", "level"),
    [
        pytest.param("20000", 10_000, 4900, "warning", id="asked for"),
        pytest.param(None, 10_000, 4900, "info", id="by default"),
        pytest.param(None, 1024, 412, "warning", id="few are left"),
        pytest.param(None, 64, 1, "warning", id="one is left"),
    ],
)
def test_a_setting_that_does_not_fit_is_warned_of_and_so_is_a_low_limit(
    setting: str | None, open_files: int, affordable: int, level: Level
) -> None:
    environ = {"BALANCER_UPSTREAMS": "app1:8000"}
    if setting is not None:
        environ["BALANCER_LIMITS__MAX_CONNECTIONS"] = setting
    planned = plan(load_with_origins(environ), open_files)
    assert planned.instance.worker.listener.limits.max_connections == affordable
    (notice,) = planned.notices
    assert notice == Notice(
        level,
        f"the open-file limit is {open_files}: BALANCER_LIMITS__MAX_CONNECTIONS is lowered from 20000 to "
        f"{affordable}; to keep it, raise the hard limit (ulimit -Hn, or ulimits: nofile: of the container) "
        "to 40000",
    )


@pytest.mark.parametrize(
    ("open_files", "workers", "expected"),
    [
        pytest.param(1 << 20, 4, Shares(100, (1 << 20) - 312, 64), id="more than enough"),
        pytest.param(1024, 4, Shares(100, 720, 60), id="a shell's"),
        pytest.param(256, 2, Shares(51, 107, 12), id="few"),
        pytest.param(64, 1, Shares(4, 9, 1), id="very few"),
        pytest.param(16, 1, Shares(4, 8, 1), id="too few"),
    ],
)
def test_the_supervisors_descriptors_are_divided(open_files: int, workers: int, expected: Shares) -> None:
    assert shares(open_files, workers) == expected


def test_the_reserve_can_be_lent_and_taken_back() -> None:
    before = _open_files()
    reserve = Reserve(4)
    assert _open_files() == before + 4
    with reserve.lent():
        assert _open_files() == before
    assert _open_files() == before + 4
    reserve.close()
    assert _open_files() == before


def test_an_unavailable_reserve_is_an_error_and_missing_descriptors_are_refilled(lowered: int) -> None:
    reserve = Reserve(4)
    with reserve.lent():
        before = _open_files()
        third = [number for number in range(512) if not _is_open(number)][2]
        resource.setrlimit(resource.RLIMIT_NOFILE, (third, lowered))
    assert _open_files() == before + 2
    with pytest.raises(StartupError, match="the open-file limit is too low"):
        Reserve(1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, lowered))
    reserve.refill()
    assert _open_files() == before + 4
    reserve.close()


def _open_files() -> int:
    return sum(map(_is_open, range(512)))


def _is_open(number: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{number}")

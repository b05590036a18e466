"""Whether a suspect is ejected, and for how long."""

from dataclasses import dataclass

import pytest

from balancer.outliers.ejection_term import EjectionTerm, skip_reason
from balancer.spec.instance import EjectionSpec
from balancer.upstreams.state import AdminState, Cause, FirstCheck
from balancer.upstreams.traffic_history import SkipReason

SECOND = 1_000_000_000


@dataclass(frozen=True, eq=False)
class One:
    """A member of the pool, compared by identity."""

    admin_state: AdminState = AdminState.ACTIVE
    causes: frozenset[Cause] = frozenset()
    on_probation: bool = False
    backup: bool = False
    reachable: bool = True
    leaves_by_itself: bool = False
    silent_since_ns: int = 0
    first_check: FirstCheck = FirstCheck.DONE

    def is_reachable(self) -> bool:
        return self.reachable


def well(count: int) -> list[One]:
    return [One() for _ in range(count)]


def out(count: int, cause: Cause = Cause.OUTLIER) -> list[One]:
    return [One(causes=frozenset([cause])) for _ in range(count)]


TRIED = One(on_probation=True)
LEAVING = One(AdminState.DRAINING)
# The suspect, the others, the setting in percent -> why it is spared
VERDICTS: dict[str, tuple[One, list[One], int, SkipReason | None]] = {
    "one of two": (One(), well(1), 50, None),
    "one of three": (One(), well(2), 50, None),
    "two of three is more than half": (One(), [*well(1), *out(1)], 50, SkipReason.MAX_PERCENT),
    "two of four": (One(), [*well(2), *out(1)], 50, None),
    "three of four": (One(), [*well(1), *out(2)], 50, SkipReason.MAX_PERCENT),
    "nine of ten": (One(), [*well(1), *out(8)], 90, None),
    "at least one": (One(), well(1), 1, None),
    "at most one": (One(), [*well(8), *out(1)], 1, SkipReason.MAX_PERCENT),
    "never all": (One(), out(3), 100, SkipReason.LAST_ELIGIBLE),
    "the only one": (One(), [], 100, SkipReason.LAST_ELIGIBLE),
    "the other is unchecked": (
        One(),
        [One(first_check=FirstCheck.REQUIRED)],
        100,
        SkipReason.LAST_ELIGIBLE,
    ),
    "others fail their checks": (One(), out(3, Cause.ACTIVE_CHECK), 100, SkipReason.LAST_ELIGIBLE),
    "ejections by checks do not count": (One(), [*well(1), *out(2, Cause.ACTIVE_CHECK)], 25, None),
    "one on probation counts as ejected": (One(), [*well(1), TRIED], 50, SkipReason.MAX_PERCENT),
    "one on probation is not eligible": (One(), [TRIED], 100, SkipReason.LAST_ELIGIBLE),
    "the suspect itself does not count twice": (TRIED, [*well(2), *out(1)], 50, None),
    "draining upstreams do not count": (One(), [*well(2), *out(1), LEAVING], 50, None),
    "upstreams without an address do not count": (
        One(),
        [*well(1), *out(1), One(reachable=False)],
        50,
        SkipReason.MAX_PERCENT,
    ),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_which_suspects_are_spared(case: str) -> None:
    suspect, others, percent, expected = VERDICTS[case]
    assert skip_reason(suspect, [suspect, *others], percent) is expected


# Seconds of good time before each further ejection, None if it failed on probation -> seconds of each
SENTENCES: dict[str, tuple[list[float | None], list[float]]] = {
    "the first": ([], [10]),
    "repeatedly on probation": ([None, None, None], [10, 20, 30, 40]),
    "soon after": ([1, 9], [10, 20, 30]),
    "good time removes one": ([None, None, 10], [10, 20, 30, 30]),
    "more good time removes more": ([None, None, 25], [10, 20, 30, 20]),
    "long after": ([None, None, 1000], [10, 20, 30, 10]),
    "time on probation is not good time": ([None, 15, None], [10, 20, 20, 30]),
    "up to the maximum": ([None] * 6, [10, 20, 30, 40, 50, 55, 55]),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_how_long_an_ejection_lasts(case: str) -> None:
    pauses, expected = SENTENCES[case]
    term = EjectionTerm(EjectionSpec(time=10, max_time=55, max_percent=50))
    now = 5 * SECOND
    lasted = [term.begin(now)]
    for pause in pauses:
        now += round(lasted[-1] * SECOND) + 60 * SECOND  # of probation
        if pause is not None:
            term.end(now)
            now += round(pause * SECOND)
        lasted.append(term.begin(now))
    assert lasted == expected


def test_the_time_left_of_an_ejection() -> None:
    term = EjectionTerm(EjectionSpec(time=10, max_time=55, max_percent=50))
    term.begin(5 * SECOND)
    assert [term.left(at * SECOND) for at in (5, 8, 15, 100)] == [10.0, 7.0, 0.0, 0.0]

"""The eligibility truth table, and the candidates if no upstream is eligible."""

from dataclasses import dataclass

import pytest

from balancer.upstreams.state import (
    AdminState,
    Cause,
    FirstCheck,
    accepts_pinned,
    candidates,
    is_eligible,
    others_left,
    standing_by,
)

ACTIVE, DRAINING, MAINTENANCE = AdminState
CHECK, OUTLIER, STUCK = Cause
DONE, AWAITED, REQUIRED = FirstCheck

# Every admin state and first check, without a cause. With any cause the upstream is not eligible.
# (admin state, first check) -> eligible, keeps its sessions
TABLE = {
    (ACTIVE, DONE): (True, True),
    (ACTIVE, AWAITED): (True, True),
    (ACTIVE, REQUIRED): (False, False),
    (DRAINING, DONE): (False, True),
    (DRAINING, AWAITED): (False, True),
    (DRAINING, REQUIRED): (False, False),
    (MAINTENANCE, DONE): (False, False),
    (MAINTENANCE, AWAITED): (False, False),
    (MAINTENANCE, REQUIRED): (False, False),
}
CAUSES: list[list[Cause]] = [[], [CHECK], [OUTLIER], [STUCK], [CHECK, OUTLIER]]


@pytest.mark.parametrize("causes", CAUSES, ids=str)
@pytest.mark.parametrize("first_check", FirstCheck)
@pytest.mark.parametrize("admin_state", AdminState)
def test_consequences_of_each_state(
    admin_state: AdminState, first_check: FirstCheck, causes: list[Cause]
) -> None:
    eligible, keeps = TABLE[admin_state, first_check]
    assert is_eligible(admin_state, causes, first_check) is (eligible and not causes)
    assert accepts_pinned(admin_state, causes, first_check) is (keeps and not causes)


@dataclass(frozen=True)
class One:
    admin_state: AdminState = ACTIVE
    causes: frozenset[Cause] = frozenset()
    reachable: bool = True
    backup: bool = False
    on_probation: bool = False
    leaves_by_itself: bool = False
    silent_since_ns: int = 0
    first_check: FirstCheck = DONE

    def is_reachable(self) -> bool:
        return self.reachable


WELL, ILL = One(), One(causes=frozenset([CHECK]))
SPARE, ILL_SPARE = One(backup=True), One(causes=frozenset([CHECK]), backup=True)
SILENT = One(causes=frozenset([CHECK]), silent_since_ns=1)
TRIED = One(on_probation=True)
# Both unchecked: one was there at the start, one came later.
EARLY, NEW = One(first_check=AWAITED), One(first_check=REQUIRED)
NEW_SPARE = One(backup=True, first_check=REQUIRED)
LEAVING, OUT, NOWHERE = One(DRAINING), One(MAINTENANCE), One(reachable=False)
GOING = One(DRAINING, leaves_by_itself=True)
GOING_NOWHERE = One(DRAINING, reachable=False, leaves_by_itself=True)
GOING_ILL = One(DRAINING, frozenset([CHECK]), leaves_by_itself=True)
# members, whether panic is allowed -> candidates, in panic
CASES: dict[str, tuple[list[One], bool, list[One], bool]] = {
    "an empty pool": ([], True, [], False),
    "all healthy": ([WELL, WELL], True, [WELL, WELL], False),
    "one ejected": ([ILL, WELL], True, [WELL], False),
    "all ejected": ([ILL, ILL], True, [ILL, ILL], True),
    "all ejected, without panic": ([ILL, ILL], False, [], False),
    "panic leaves out upstreams taken out by operators": ([ILL, LEAVING, OUT], True, [ILL], True),
    "no panic for those alone": ([LEAVING, OUT], True, [], False),
    "without an address": ([NOWHERE, WELL], True, [WELL], False),
    "no panic without an address": ([NOWHERE], True, [], False),
    "a backup stands by": ([WELL, SPARE], True, [WELL], False),
    "a backup stands by while one other is left": ([ILL, WELL, SPARE], True, [WELL], False),
    "a backup takes over before panic": ([ILL, SPARE, ILL_SPARE], True, [SPARE], False),
    "a backup takes over if all are taken out": ([LEAVING, OUT, NOWHERE, SPARE], False, [SPARE], False),
    "panic prefers non-backups": ([ILL, ILL_SPARE], True, [ILL], True),
    "panic with backups only": ([OUT, ILL_SPARE], True, [ILL_SPARE], True),
    "on probation beside a healthy one": ([TRIED, WELL], True, [WELL], False),
    "on probation before the ejected": ([TRIED, ILL], True, [TRIED], False),
    "on probation and ejected": ([One(causes=frozenset([CHECK]), on_probation=True)], False, [], False),
    "a drain announced by the app is respected": ([GOING, WELL], True, [WELL], False),
    "in panic an announced drain is better than an ejection": ([GOING, ILL], True, [GOING], True),
    "in panic an announced drain is better than an ejected backup": ([GOING, ILL_SPARE], True, [GOING], True),
    "an announced drain with an ejection is no better": ([GOING_ILL, ILL], True, [ILL], True),
    "an announced drain without an address": ([GOING_NOWHERE, ILL], True, [ILL], True),
    "panic leaves out a silent upstream": ([SILENT, ILL], True, [ILL], True),
    "panic with silent upstreams only": ([SILENT, SILENT, OUT], True, [SILENT, SILENT], True),
    "an ejected backup is better than a silent upstream": ([SILENT, ILL_SPARE], True, [ILL_SPARE], True),
    "without panic an announced drain is respected": ([GOING, ILL], False, [], False),
    "unchecked at the start": ([EARLY, WELL], True, [EARLY, WELL], False),
    "the first checked upstream does not get all": (
        [WELL, EARLY, EARLY],
        True,
        [WELL, EARLY, EARLY],
        False,
    ),
    "unchecked, added later": ([NEW, WELL], True, [WELL], False),
    "added later, beside one unchecked since the start": ([NEW, EARLY], True, [EARLY], False),
    "added later, before the ejected": ([NEW, ILL], True, [NEW], False),
    "added later, before the ejected, without panic": ([NEW, ILL], False, [NEW], False),
    "all added later": ([NEW, NEW], True, [NEW, NEW], False),
    "added later, after one on probation": ([NEW, TRIED], True, [TRIED], False),
    "added later, after an eligible backup": ([NEW, ILL, SPARE], True, [SPARE], False),
    "added later, before an unchecked backup": ([NEW, NEW_SPARE], True, [NEW], False),
    "an unchecked backup before the ejected": ([ILL, NEW_SPARE], False, [NEW_SPARE], False),
    "added later, before an announced drain": ([GOING, NEW], True, [NEW], False),
    "unchecked and draining": ([One(DRAINING, first_check=REQUIRED), ILL], False, [], False),
    "unchecked without an address": ([One(reachable=False, first_check=REQUIRED)], True, [], False),
    "unchecked and ejected is ejected": (
        [One(causes=frozenset([OUTLIER]), first_check=REQUIRED)],
        False,
        [],
        False,
    ),
    "ejected and draining": ([One(DRAINING, frozenset([CHECK]))], True, [], False),
}


@pytest.mark.parametrize("case", CASES)
def test_candidates_of_a_pool(case: str) -> None:
    members, panic, expected, in_panic = CASES[case]
    assert candidates(members, panic) == (expected, in_panic)


SUSPECT = One()
LEFT = {
    "none": ([], False),
    "a healthy one": ([WELL], True),
    "an ejected one": ([ILL], False),
    "one on probation": ([TRIED], False),
    "a draining one": ([LEAVING], False),
    "one without an address": ([NOWHERE], False),
    "one unchecked since the start": ([EARLY], True),
    "an unchecked one added later": ([NEW], False),
    "one of many": ([ILL, LEAVING, WELL], True),
}


@pytest.mark.parametrize("case", LEFT)
def test_whether_other_upstreams_are_left(case: str) -> None:
    others, expected = LEFT[case]
    assert others_left(SUSPECT, [SUSPECT, *others]) is expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        pytest.param([WELL, SPARE], [SPARE], id="a healthy one"),
        pytest.param([WELL, ILL_SPARE], [], id="an ejected one"),
        pytest.param([WELL, One(DRAINING, backup=True)], [], id="a draining one"),
        pytest.param([WELL, One(reachable=False, backup=True)], [], id="one without an address"),
        pytest.param([WELL, One(backup=True, on_probation=True)], [], id="one on probation"),
        pytest.param([WELL, NEW_SPARE], [], id="an unchecked one added later"),
        pytest.param([ILL, SPARE], [], id="one that is already a candidate"),
    ],
)
def test_which_backups_stand_by(members: list[One], expected: list[One]) -> None:
    chosen, _ = candidates(members, True)
    assert standing_by(members, chosen, True) == expected


@pytest.mark.parametrize(
    ("members", "panic", "expected"),
    [
        pytest.param([NEW, ILL], True, [ILL], id="the ejected in panic"),
        pytest.param([NEW, ILL], False, [], id="none without panic"),
        pytest.param([NEW, ILL, ILL_SPARE], True, [ILL], id="ejected ones before ejected backups"),
        pytest.param([NEW, ILL_SPARE], True, [ILL_SPARE], id="ejected backups"),
        pytest.param([NEW, NEW_SPARE], True, [NEW_SPARE], id="unchecked backups"),
        pytest.param([NEW, LEAVING, OUT, NOWHERE], True, [], id="none that an operator took out"),
        pytest.param([NEW, WELL], True, [], id="none behind a healthy candidate"),
    ],
)
def test_which_backups_stand_by_if_the_candidates_are_unchecked(
    members: list[One], panic: bool, expected: list[One]
) -> None:
    chosen, _ = candidates(members, panic)
    assert standing_by(members, chosen, panic) == expected

"""The eligibility truth table, and who is left when nobody is eligible."""

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

# Every admin state and first check, each without a cause: what follows. With any cause the answer is no.
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
    "nobody": ([], True, [], False),
    "all well": ([WELL, WELL], True, [WELL, WELL], False),
    "one ill": ([ILL, WELL], True, [WELL], False),
    "all ill": ([ILL, ILL], True, [ILL, ILL], True),
    "all ill, without panic": ([ILL, ILL], False, [], False),
    "panic leaves out whom somebody wants out": ([ILL, LEAVING, OUT], True, [ILL], True),
    "no panic for them alone": ([LEAVING, OUT], True, [], False),
    "without an address": ([NOWHERE, WELL], True, [WELL], False),
    "no panic without an address": ([NOWHERE], True, [], False),
    "a backup stands by": ([WELL, SPARE], True, [WELL], False),
    "a backup stands by while one other is left": ([ILL, WELL, SPARE], True, [WELL], False),
    "a backup takes over before panic": ([ILL, SPARE, ILL_SPARE], True, [SPARE], False),
    "a backup takes over from those that are out": ([LEAVING, OUT, NOWHERE, SPARE], False, [SPARE], False),
    "panic is for the others": ([ILL, ILL_SPARE], True, [ILL], True),
    "panic with nobody but backups": ([OUT, ILL_SPARE], True, [ILL_SPARE], True),
    "those on probation come only where there are no others": ([TRIED, WELL], True, [WELL], False),
    "before the ejected": ([TRIED, ILL], True, [TRIED], False),
    "on probation and ill": ([One(causes=frozenset([CHECK]), on_probation=True)], False, [], False),
    "one that leaves of its own accord is spared": ([GOING, WELL], True, [WELL], False),
    "in panic it is better than one that is ill": ([GOING, ILL], True, [GOING], True),
    "and better than an ill backup": ([GOING, ILL_SPARE], True, [GOING], True),
    "if it is ill as well it is no better": ([GOING_ILL, ILL], True, [ILL], True),
    "but not without an address": ([GOING_NOWHERE, ILL], True, [ILL], True),
    "one that answers nobody is no help": ([SILENT, ILL], True, [ILL], True),
    "unless there is no other": ([SILENT, SILENT, OUT], True, [SILENT, SILENT], True),
    "a backup that answers is better": ([SILENT, ILL_SPARE], True, [ILL_SPARE], True),
    "without panic it is left alone": ([GOING, ILL], False, [], False),
    "unchecked at the start": ([EARLY, WELL], True, [EARLY, WELL], False),
    "the first one that is checked does not take all": (
        [WELL, EARLY, EARLY],
        True,
        [WELL, EARLY, EARLY],
        False,
    ),
    "unchecked and come later": ([NEW, WELL], True, [WELL], False),
    "beside one that is unchecked since the start": ([NEW, EARLY], True, [EARLY], False),
    "it comes before the ejected": ([NEW, ILL], True, [NEW], False),
    "without panic too": ([NEW, ILL], False, [NEW], False),
    "all have come later": ([NEW, NEW], True, [NEW, NEW], False),
    "it comes after one on probation": ([NEW, TRIED], True, [TRIED], False),
    "after an eligible backup": ([NEW, ILL, SPARE], True, [SPARE], False),
    "before a backup that is unchecked as well": ([NEW, NEW_SPARE], True, [NEW], False),
    "an unchecked backup comes before the ejected": ([ILL, NEW_SPARE], False, [NEW_SPARE], False),
    "and before those that leave": ([GOING, NEW], True, [NEW], False),
    "not if it drains": ([One(DRAINING, first_check=REQUIRED), ILL], False, [], False),
    "nor without an address": ([One(reachable=False, first_check=REQUIRED)], True, [], False),
    "unchecked and ejected is ejected": (
        [One(causes=frozenset([OUTLIER]), first_check=REQUIRED)],
        False,
        [],
        False,
    ),
    "ill and draining": ([One(DRAINING, frozenset([CHECK]))], True, [], False),
}


@pytest.mark.parametrize("case", CASES)
def test_candidates_of_a_pool(case: str) -> None:
    members, panic, expected, in_panic = CASES[case]
    assert candidates(members, panic) == (expected, in_panic)


SUSPECT = One()
LEFT = {
    "nobody": ([], False),
    "one who is well": ([WELL], True),
    "an ejected one": ([ILL], False),
    "one on probation": ([TRIED], False),
    "one who leaves": ([LEAVING], False),
    "one without an address": ([NOWHERE], False),
    "one unchecked since the start": ([EARLY], True),
    "one unchecked that came later": ([NEW], False),
    "one of many": ([ILL, LEAVING, WELL], True),
}


@pytest.mark.parametrize("case", LEFT)
def test_whether_other_upstreams_are_left(case: str) -> None:
    others, expected = LEFT[case]
    assert others_left(SUSPECT, [SUSPECT, *others]) is expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        pytest.param([WELL, SPARE], [SPARE], id="a well one beside others"),
        pytest.param([WELL, ILL_SPARE], [], id="an ill one"),
        pytest.param([WELL, One(DRAINING, backup=True)], [], id="one that drains"),
        pytest.param([WELL, One(reachable=False, backup=True)], [], id="one without an address"),
        pytest.param([WELL, One(backup=True, on_probation=True)], [], id="one on probation"),
        pytest.param([WELL, NEW_SPARE], [], id="one unchecked that came later"),
        pytest.param([ILL, SPARE], [], id="one that is a candidate already"),
    ],
)
def test_which_backups_stand_by(members: list[One], expected: list[One]) -> None:
    chosen, _ = candidates(members, True)
    assert standing_by(members, chosen, True) == expected


@pytest.mark.parametrize(
    ("members", "panic", "expected"),
    [
        pytest.param([NEW, ILL], True, [ILL], id="the ejected"),
        pytest.param([NEW, ILL], False, [], id="not without panic"),
        pytest.param([NEW, ILL, ILL_SPARE], True, [ILL], id="before ejected backups"),
        pytest.param([NEW, ILL_SPARE], True, [ILL_SPARE], id="which are better than nobody"),
        pytest.param([NEW, NEW_SPARE], True, [NEW_SPARE], id="as is an unchecked backup"),
        pytest.param([NEW, LEAVING, OUT, NOWHERE], True, [], id="but none that somebody wants out"),
        pytest.param([NEW, WELL], True, [], id="nobody behind one that is well"),
    ],
)
def test_which_backups_stand_by_if_the_candidates_are_unchecked(
    members: list[One], panic: bool, expected: list[One]
) -> None:
    chosen, _ = candidates(members, panic)
    assert standing_by(members, chosen, panic) == expected

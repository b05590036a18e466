"""In what state an upstream is (L1): what the operator wants, why it is ejected, whether it has been checked.

Three axes that know nothing of each other. State is changed through the supervisor's doors only, each time
with a cause; workers are told the result, and both sides ask the one function here what follows from it.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar


class AdminState(StrEnum):
    """What the operator, or the app itself, wants of an upstream."""

    ACTIVE = "active"
    DRAINING = "draining"  # no new work, running work ends
    MAINTENANCE = "maintenance"  # fully out, not even checked


def in_words(admin_state: str) -> str:
    """How a sentence that begins "app1:8000 is" goes on."""
    return "in maintenance" if admin_state == AdminState.MAINTENANCE else str(admin_state)


class Cause(StrEnum):
    """Why an upstream is ejected. Each is taken away only by who has set it."""

    ACTIVE_CHECK = "active_check"
    OUTLIER = "outlier"
    STUCK = "stuck"


class FirstCheck(StrEnum):
    """What active checks know of an upstream, or rather of what is now at its address."""

    DONE = "done"  # one has passed or failed since it is there; or nobody is checked
    AWAITED = "awaited"  # none has, and it was there when the instance started: it serves meanwhile
    REQUIRED = "required"  # none has, and it came later: it serves after the first one that passes


def is_eligible(admin_state: AdminState, causes: Collection[Cause], first_check: FirstCheck) -> bool:
    """Whether policies may pick an upstream in this state.

    | admin state | no cause, first check done or awaited | no cause, first check required | any cause |
    |---|---|---|---|
    | active      | yes | no (where none is eligible: yes) | no (in panic: yes) |
    | draining    | no  | no | no |
    | maintenance | no  | no | no |

    At the instance's start all serve until their own first result: else the first one that is checked would
    get all the traffic.
    """
    return admin_state is AdminState.ACTIVE and not causes and first_check is not FirstCheck.REQUIRED


def accepts_pinned(admin_state: AdminState, causes: Collection[Cause], first_check: FirstCheck) -> bool:
    """Whether an upstream in this state goes on serving the sessions that are pinned to it.

    | admin state | no cause, first check done or awaited | no cause, first check required | any cause |
    |---|---|---|---|
    | active      | yes | no (as a candidate: yes) | no (in panic: yes, as a candidate) |
    | draining    | yes | no | no |
    | maintenance | no  | no | no |
    """
    may_serve = not causes and first_check is not FirstCheck.REQUIRED
    return admin_state is not AdminState.MAINTENANCE and may_serve


class HasState(Protocol):
    """What `candidates` asks of an upstream; the supervisor's and the workers' both answer."""

    @property
    def admin_state(self) -> AdminState:
        """What is wanted of it."""

    @property
    def causes(self) -> Collection[Cause]:
        """Why it is ejected; empty when it is not."""

    @property
    def first_check(self) -> FirstCheck:
        """Whether anything is known of it."""

    @property
    def leaves_by_itself(self) -> bool:
        """Whether it drains because its app said so, and for no other reason."""

    @property
    def backup(self) -> bool:
        """Whether it is used only where no other upstream is eligible."""

    @property
    def on_probation(self) -> bool:
        """Whether it has been an outlier, and has not answered well since."""

    @property
    def silent_since_ns(self) -> int:
        """Since when it has answered nobody while others did, 0 where it is not known to be silent."""

    def is_reachable(self) -> bool:
        """Whether it has an address and a share of the load."""


MemberT = TypeVar("MemberT", bound=HasState)


def candidates(members: Sequence[MemberT], panic: bool) -> tuple[list[MemberT], bool]:
    """Who may be picked, and whether that is in panic: none is eligible, so others are used rather than none.

    Backup upstreams only where there is no other: first those that are eligible, before all that follows;
    then, where there are none but them. Where none is eligible, those that have not been checked come first:
    nothing is known against them. Then, in panic, those that leave of their own accord, as they still serve;
    then the ejected ones, and last those of them that answer nobody. An operator's drain and maintenance hold
    in panic too. `panic` says whether it is allowed. Those on probation are tried with a request now and then
    (`UpstreamPool.choose`), and are candidates only where there are no others.
    """
    reachable = [one for one in members if one.is_reachable() and one.admin_state is AdminState.ACTIVE]
    eligible = [one for one in reachable if _is_eligible(one)]
    trusted = [one for one in eligible if not one.on_probation]
    if trusted:
        return _first_choice(trusted), False
    unknown = eligible or [one for one in reachable if not one.causes]
    if unknown or not panic:
        return _first_choice(unknown), False
    leaving = [one for one in members if one.is_reachable() and one.leaves_by_itself and not one.causes]
    heard = [one for one in reachable if not one.silent_since_ns]
    return _first_choice(leaving or heard or reachable), bool(leaving or reachable)


def standing_by(members: Sequence[MemberT], chosen: Collection[MemberT], panic: bool) -> list[MemberT]:
    """Who gets what has failed at all of the candidates, who are `chosen`: the eligible backups.

    Where the candidates are unchecked the ejected ones, if `panic` allows that: as no upstream is eligible it
    may be the checks that are wrong, and then these serve, while those that have just come may not be up.
    """
    rest = [
        one
        for one in members
        if one not in chosen and one.is_reachable() and one.admin_state is AdminState.ACTIVE
    ]
    if panic and any(one.first_check is FirstCheck.REQUIRED for one in chosen):
        return _first_choice(rest)
    return [one for one in rest if one.backup and _is_eligible(one) and not one.on_probation]


def _is_eligible(one: HasState) -> bool:
    return is_eligible(one.admin_state, one.causes, one.first_check)


def _first_choice(members: list[MemberT]) -> list[MemberT]:
    return [one for one in members if not one.backup] or members


def others_left(suspect: HasState, members: Sequence[HasState]) -> bool:
    """Whether somebody besides `suspect` may be picked, panic and probation aside."""
    return any(
        one is not suspect and one.is_reachable() and _is_eligible(one) and not one.on_probation
        for one in members
    )

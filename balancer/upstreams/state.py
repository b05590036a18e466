"""The state of an upstream (L1): admin state, ejection causes, first check.

These axes are independent. State changes only through named functions of the supervisor, always with a cause;
it sends the result to the workers. Both sides derive eligibility with the same functions, which are here.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar


class AdminState(StrEnum):
    """The state that the operator, or the app itself, has set."""

    ACTIVE = "active"
    DRAINING = "draining"  # no new work, current work finishes
    MAINTENANCE = "maintenance"  # out of service, not even checked


def in_words(admin_state: str) -> str:
    """Completes a sentence that begins "app1:8000 is"."""
    return "in maintenance" if admin_state == AdminState.MAINTENANCE else str(admin_state)


class Cause(StrEnum):
    """Why an upstream is ejected. Only the mechanism that set a cause removes it."""

    ACTIVE_CHECK = "active_check"
    OUTLIER = "outlier"
    STUCK = "stuck"


class FirstCheck(StrEnum):
    """Whether active checks have a result for whatever is now at the upstream's address."""

    DONE = "done"  # a check has passed or failed since it was added; or there are no checks
    AWAITED = "awaited"  # no result yet, present since the instance started: it serves meanwhile
    REQUIRED = "required"  # no result yet, added later: it serves once a check has passed


def is_eligible(admin_state: AdminState, causes: Collection[Cause], first_check: FirstCheck) -> bool:
    """Whether policies may pick an upstream in this state.

    | admin state | no cause, first check done or awaited | no cause, first check required | any cause |
    |---|---|---|---|
    | active      | yes | no (if none is eligible: yes) | no (in panic: yes) |
    | draining    | no  | no | no |
    | maintenance | no  | no | no |

    When the instance starts, all serve until their own first result: otherwise the first one checked would
    get all the traffic.
    """
    return admin_state is AdminState.ACTIVE and not causes and first_check is not FirstCheck.REQUIRED


def accepts_pinned(admin_state: AdminState, causes: Collection[Cause], first_check: FirstCheck) -> bool:
    """Whether an upstream in this state keeps serving the sessions pinned to it.

    | admin state | no cause, first check done or awaited | no cause, first check required | any cause |
    |---|---|---|---|
    | active      | yes | no (as a candidate: yes) | no (in panic: yes, as a candidate) |
    | draining    | yes | no | no |
    | maintenance | no  | no | no |
    """
    may_serve = not causes and first_check is not FirstCheck.REQUIRED
    return admin_state is not AdminState.MAINTENANCE and may_serve


class HasState(Protocol):
    """The state that `candidates` reads; implemented by the supervisor's and the workers' upstreams."""

    @property
    def admin_state(self) -> AdminState:
        """The admin state."""

    @property
    def causes(self) -> Collection[Cause]:
        """Why it is ejected; empty if it is not."""

    @property
    def first_check(self) -> FirstCheck:
        """Whether active checks have a result."""

    @property
    def leaves_by_itself(self) -> bool:
        """Whether it drains only because its app announced it."""

    @property
    def backup(self) -> bool:
        """Whether it is used only if no other upstream is eligible."""

    @property
    def on_probation(self) -> bool:
        """Whether it was an outlier and has not succeeded since."""

    @property
    def silent_since_ns(self) -> int:
        """Since when it has answered nothing while others did, 0 if it is not known to be silent."""

    def is_reachable(self) -> bool:
        """Whether it has an address and a share of the load."""


MemberT = TypeVar("MemberT", bound=HasState)


def candidates(members: Sequence[MemberT], panic: bool) -> tuple[list[MemberT], bool]:
    """Returns the upstreams that may be picked, and whether in panic: none is eligible, so others are used.

    Within each step, backups are used only if there are no others. The first step that finds any decides:
    1. Eligible upstreams, backups included. Those on probation only if there are no others: otherwise
       `UpstreamPool.choose` tries them with a request now and then.
    2. Unchecked upstreams: nothing is known against them.
    3. In panic, those draining only because their app announced it: they still serve.
    4. In panic, ejected upstreams; those that are silent only if there are no others.

    An operator's drain and maintenance hold in panic too. `panic` says whether panic is allowed.
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
    """The upstreams to try after all candidates (`chosen`) have failed: the eligible backups.

    If the candidates are unchecked and `panic` allows it, the ejected ones instead: no upstream is eligible,
    so the checks may be wrong, and these may serve while newly added ones may not be up yet.
    """
    taken = {id(one) for one in chosen}
    rest = [
        one
        for one in members
        if id(one) not in taken and one.is_reachable() and one.admin_state is AdminState.ACTIVE
    ]
    if panic and any(one.first_check is FirstCheck.REQUIRED for one in chosen):
        return _first_choice(rest)
    return [one for one in rest if one.backup and _is_eligible(one) and not one.on_probation]


def _is_eligible(one: HasState) -> bool:
    return is_eligible(one.admin_state, one.causes, one.first_check)


def _first_choice(members: list[MemberT]) -> list[MemberT]:
    return [one for one in members if not one.backup] or members


def others_left(suspect: HasState, members: Sequence[HasState]) -> bool:
    """Whether any upstream besides `suspect` may be picked, panic and probation aside."""
    return any(
        one is not suspect and one.is_reachable() and _is_eligible(one) and not one.on_probation
        for one in members
    )

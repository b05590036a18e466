"""An explanation as sentences in order of time, but for its end."""

from collections.abc import Sequence

from balancer.spec.explained import AttemptSeen, ChoiceSeen, RouteTaken, SplitTaken, StepSeen, WaitSeen


def story(
    route: RouteTaken,
    split: SplitTaken | None,
    choices: Sequence[ChoiceSeen],
    waits: Sequence[WaitSeen],
    attempts: Sequence[AttemptSeen],
) -> list[StepSeen]:
    """What happened to a request."""
    steps = [_matched(route, split)]
    steps += [_chosen(one) for one in choices]
    steps += [_waited(one) for one in waits]
    for one in attempts:
        steps += _attempted(one)
    steps.sort(key=_at)
    return steps


def _at(step: StepSeen) -> float:
    return step.at


def _matched(route: RouteTaken, split: SplitTaken | None) -> StepSeen:
    text = f"took route {route.name}: {', '.join(route.conditions)}"
    if route.note:
        text = f"{text} ({route.note})"
    if split is not None:
        shares = ", ".join([f"{pool} {weight}" for pool, weight in split.weights.items()])
        text = f"{text}; side {split.pool} of {shares}, by {split.key}"
    return StepSeen(at=0.0, kind="route", text=text)


def _chosen(one: ChoiceSeen) -> StepSeen:
    if one.upstream is None:
        text = f"no upstream to choose: {_state_of(one)}"
    elif one.by == "pin":
        text = f"chose {one.upstream}: the client is pinned to it"
    elif one.by == "policy":
        text = f"chose {one.upstream} by {one.policy}"
        if one.candidates:
            text = f"{text}, {_state_of(one)}"
    elif one.by == "backup":
        text = f"chose {one.upstream}: a backup, as no other is left"
    else:
        text = f"chose {one.upstream}: a trial on probation"
    return StepSeen(at=one.at, kind="choice", text=text)


def _state_of(choice: ChoiceSeen) -> str:
    """Of its candidates, as listed."""
    if not choice.candidates:
        words = "there are no candidates"
    else:
        states = [one.state for one in choice.candidates]
        words = f"{states.count('free')} of {len(states)} candidates free"
        for state in ("full", "tried"):
            if state in states:
                words = f"{words}, {states.count(state)} {state}"
    if choice.passed_over:
        words = f"{words}, {len(choice.passed_over)} not eligible"
    return words


def _waited(one: WaitSeen) -> StepSeen:
    text = (
        "waited in the queue for a slot"
        if one.what == "queue"
        else f"waited for a connection to {one.upstream}"
    )
    if one.duration is not None:
        text = f"{text} for {one.duration:.1f} ms"
    if one.result:
        text = f"{text}: {one.result}"
    return StepSeen(at=one.at, kind=one.what, text=text)


def _attempted(one: AttemptSeen) -> list[StepSeen]:
    steps = []
    at = one.ended or 0.0
    if one.sent is None:
        text = f"no connection to {one.upstream}: {one.result}"
    else:
        how = "an idle connection" if one.reused else "a new connection"
        steps.append(StepSeen(at=one.sent, kind="sent", text=f"sent to {one.upstream} over {how}"))
        if one.first_byte is None:
            text = f"{one.upstream} did not answer: {one.result}"
        elif one.result.isdigit():
            text = f"{one.upstream} answered {one.result}"
            at = one.first_byte
        else:
            text = f"{one.upstream} began to answer, then {one.result}"
    if one.detail:
        text = f"{text}, {one.detail}"
    steps.append(StepSeen(at=at, kind="attempt", text=text))
    return steps

"""Whether a promise was kept in a window of time (L7). Pure."""

from collections.abc import Sequence

from balancer.admin.view import SloCounts, SloView
from balancer.runtime.tally import LEAST, Tally, exceeds
from balancer.spec.slo import SloSpec

_WORST_FIRST = (False, None, True)


def judged(slo: SloSpec, tally: Tally) -> SloView:
    """What is promised, and how it was kept in the time that `tally` has counted.

    `met` is None while there were too few requests to tell: less than LEAST. A share is exceeded by
    LEAST_EXCESS requests at least.
    """
    requests = tally.begun
    slow, failed = tally.slower(slo.latency), tally.errors
    met = None
    if requests >= LEAST:
        met = not (exceeds(slow, 1 - slo.percentile, requests) or exceeds(failed, slo.errors, requests))
    return SloView(
        latency=slo.latency,
        percentile=_percentile(slo),
        errors=slo.errors,
        slow_share=slow / requests if requests else None,
        failed_share=failed / requests if requests else None,
        met=met,
        n=requests,
    )


def counts(slo: SloSpec, tally: Tally) -> SloCounts:
    """What is promised, with what `tally` has counted."""
    return SloCounts(
        latency=slo.latency,
        percentile=_percentile(slo),
        errors=slo.errors,
        window=slo.window,
        requests=tally.begun,
        slow=tally.slower(slo.latency),
        failed=tally.errors,
    )


def _percentile(slo: SloSpec) -> float:
    return round(slo.percentile * 100, 6)


def judged_together(sides: Sequence[tuple[SloSpec, Tally]]) -> SloView | None:
    """The same for several sides: of all their requests if they promise the same, else that of the worst
    one. None if nothing is promised."""
    if not sides:
        return None
    first, *others = (_values(slo) for slo, _ in sides)
    if all(each == first for each in others):
        return judged(sides[0][0], Tally.of([tally for _, tally in sides]))
    return min((judged(*side) for side in sides), key=lambda view: (_WORST_FIRST.index(view.met), -view.n))


def in_words(view: SloView) -> str:
    """What was missed: the end of a sentence; "" if nothing was."""
    if view.met is not False or view.slow_share is None or view.failed_share is None:
        return ""
    missed = []
    if exceeds(round(view.slow_share * view.n), 1 - view.percentile / 100, view.n):
        missed.append(
            f"{view.slow_share:.2%} of its responses began later than {view.latency * 1000:g} ms "
            f"(promised: {_percent(100 - view.percentile)} at most)"
        )
    if exceeds(round(view.failed_share * view.n), view.errors, view.n):
        most = _percent(view.errors * 100)
        missed.append(f"{view.failed_share:.2%} of its requests failed (promised: {most} at most)")
    return ", and ".join(missed)


def _percent(share: float) -> str:
    """`1%`, `0.05%`, of a share times 100."""
    return f"{share:.6g}%"


def _values(slo: SloSpec) -> tuple[float, ...]:
    return slo.latency, slo.percentile, slo.errors, slo.window

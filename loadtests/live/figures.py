"""What the clients have seen in each part of a run, and which failures are a killed worker's own."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtests.live.kills import Kill, ended_by, reset_by
from loadtests.live.long_lived import LongLived, Sort
from loadtests.live.stage import Seen
from loadtests.open_loop.figures import Latency, latency
from loadtests.open_loop.records import Kind


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a run: its changes, and their seconds each. Times by the monotonic clock."""

    name: str
    begun: float
    ended: float
    took: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """One part. Failures by kind; those in `own` are a killed worker's, and in no other count.

    `latency` includes `lag`, how late the load sent its requests.
    """

    part: Part
    requests: int
    failed: Counter[str]
    websockets_cut: Counter[str]
    downloads_cut: Counter[str]
    own: Counter[str]
    latency: Latency
    lag: Latency


def measure(part: Part, seen: Seen, kills: Sequence[Kill]) -> Figures:
    """The figures of what has ended in this part."""
    requests = [one for one in seen.requests if part.begun <= one.ended < part.ended]
    lasting = [one for one in seen.long_lived if part.begun <= one.ended < part.ended and one.why]
    failed = [one for one in requests if one.kind is not Kind.OK]
    own = [one for one in failed if one.kind is not Kind.STATUS and reset_by(one.client, one.ended, kills)]
    cut = [one for one in lasting if not ended_by(one.client, one.begun, one.ended, kills)]
    of_workers = {id(one) for one in own}
    return Figures(
        part,
        len(requests),
        Counter(one.failure for one in failed if id(one) not in of_workers),
        _why(cut, Sort.WEBSOCKET),
        _why(cut, Sort.DOWNLOAD),
        Counter(one.failure for one in own) + Counter(one.sort.value for one in lasting if one not in cut),
        latency([one.took for one in requests if id(one) not in of_workers]),
        latency([one.lag for one in requests]),
    )


def _why(ends: Iterable[LongLived], sort: Sort) -> Counter[str]:
    return Counter(one.why for one in ends if one.sort is sort)

"""How many requests an upstream is given at once, found by watching it (pure).

Beside the way of a request: the pool looks at its upstreams some twenty times a second and tells each one's
limit what it sees; the limit says how many may be there from now on, 0 for as many as come.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from balancer.pools.queue_evidence import QueueEvidence
from balancer.pools.stretch import Look, Measuring, Stretch

# What a stretch needs to be judged: seconds and answers. While a limit is in force up to four answers for
# each place, as what is decided then costs throughput when it is wrong.
_OPEN_SECONDS, _OPEN_ANSWERS = 0.049, 5
_HELD_SECONDS, _HELD_ANSWERS, _MOST_ANSWERS = 0.099, 10, 40
_LONGEST = 2.0  # seconds; of fewer answers in that time nothing can be said
# For so long next to no answers, while so many leave.
_SILENT, _GONE = 0.5, 20
_FIRST_CUT = 5  # the first limit is so much less than what is there
_CAREFUL_CUT = 2  # where no more comes than usual, and the app may be slower after all
_HEADROOM = 1.5  # places beyond what is being worked on: who waits there keeps the upstream busy
# The first limit shows whether it was a line. If it was, the upstream answers as many as before.
_STILL = 0.6
_HARDLY = 0.45  # with so much less one stretch is enough to say that it was none
_PATIENCE = 5  # stretches in which clients leave, which tell nothing, before it is given up
_DOUBTS = 2  # stretches in a row with fewer answers
_QUIET = 1.0  # seconds after an alarm that was none
_STEP = 0.75  # a limit so much lower than the one before is compared with it
_FOLLOWS = 0.8  # part of a higher limit by which the rate has to rise, for the limit to have been too low
_PROBES = 4.0  # seconds between two tries whether more would be answered
_BINDING = 0.5  # part of the looks that find it full; with fewer a limit says nothing of the upstream
_UNUSED = 2.0  # seconds in which nobody wants more than it allows, after which there is no limit any more
_SETTLED_AFTER = 5.0  # seconds at most until what was sent before a limit has been answered


@dataclass(frozen=True, slots=True)
class ConcurrencyBounds:
    """Between what a limit is found, in requests; `least` is at least 1."""

    least: int
    most: int


class _Phase(Enum):
    OPEN = auto()  # no limit
    TRIAL = auto()  # the first limit, which has to show that there is a line
    HELD = auto()  # a limit that follows what the upstream can do


class ConcurrencyLimit:
    """One upstream's limit, of one worker: it is found from this worker's part of the traffic.

    No limit until a line is proven (`QueueEvidence`). Then a fifth of what is there: enough to keep the
    upstream busy, so that those who wait do it here instead of there and nobody is served later. If it
    answers fewer requests than before, then there was no line: the app is slower than it was, and the limit
    goes away. Else the limit goes to what is being worked on by Little's law (answers a second times their
    time without a line) with headroom, and follows that. Each larger step down has to leave the number of
    answers as it was, or is taken back: then a request takes longer than before, and that is learned. So
    nothing is ever throttled in order to measure. A limit that is not reached any more goes away.
    """

    __slots__ = ("_anchor", "_answered_until", "_bounds", "_doubts", "_evidence", "_measuring",
                 "_phase", "_probe_at", "_probed", "_quiet_until", "_rate_before", "_settled_by",
                 "_tries", "_used", "limit")  # fmt: skip

    def __init__(self, bounds: ConcurrencyBounds, like: ConcurrencyLimit | None = None) -> None:
        """`like`: another upstream's limit, to begin with while that is in force. Who joins a pool that is
        overloaded would else be given all that waits, before there is anything to compare it with."""
        self.limit = 0
        self._bounds = bounds
        self._evidence = QueueEvidence()
        self._phase = _Phase.OPEN
        self._measuring: Measuring | None = None
        self._quiet_until = 0.0
        # while there is a limit
        self._used = 0.0  # when it was last reached
        self._settled_by = 0.0  # not later; 0 when what was sent before the limit has been answered
        self._answered_until = -1  # that many answers settle it; -1 while there are more than the limit
        self._rate_before = 0.0
        self._tries = self._doubts = 0
        self._anchor: tuple[int, float] | None = None  # a limit, and the rate it had
        self._probed: tuple[int, float] | None = None  # the same, before a higher one that is on trial
        self._probe_at = 0.0
        if like is not None and like.limit:
            self.limit = like.limit
            self._phase = _Phase.HELD
            self._used = like._used
            self._evidence.begin_like(like._evidence)

    def look(self, look: Look, pressed: bool, waited_for: bool = True) -> int:
        """Take `look` into account; gives the limit from now on. `pressed`: another upstream of the pool is
        full by a limit of its own, so what it does not get comes here. `waited_for`: somebody waits for a
        place, or went elsewhere for want of one here."""
        measuring = self._measuring
        if measuring is None or measuring.went_back(look):
            self._measuring = Measuring(look)
            return self.limit
        if self._phase is _Phase.OPEN:
            self._look_open(look, measuring, pressed)
        else:
            self._look_held(look, measuring, waited_for)
        return self.limit

    # --- no limit

    def _look_open(self, look: Look, measuring: Measuring, pressed: bool) -> None:
        evidence = self._evidence
        evidence.look(look.now, look.awaiting)
        seconds, answers = measuring.look(look, False)
        if pressed and look.awaiting > 3 * (evidence.usual_awaiting + 1):
            self._close(look, _FIRST_CUT if evidence.swelled else _CAREFUL_CUT)
        elif seconds >= _OPEN_SECONDS and answers >= _OPEN_ANSWERS:
            self._measuring = Measuring(look)
            if evidence.weigh(look.now, measuring.end()) and look.now >= self._quiet_until:
                self._close(look, _FIRST_CUT if evidence.swelled else _CAREFUL_CUT)
        elif _is_silent(measuring, seconds, answers) and evidence.weigh_silence(measuring.end()):
            self._close(look)
        elif seconds > _LONGEST:
            self._measuring = Measuring(look)
            evidence.begin_anew()

    def _close(self, look: Look, cut: int = _FIRST_CUT) -> None:
        evidence = self._evidence
        self._phase = _Phase.TRIAL
        self._rate_before = evidence.rate_while_suspicious(look.now)
        self._tries = self._doubts = 0
        self._anchor = self._probed = None
        self._probe_at = look.now + _PROBES
        self._used = look.now
        self._set(max(look.mine / cut, self._least_sensible(look)), look)

    def _least_sensible(self, look: Look) -> float:
        """Twice what was being worked on before the line, this worker's part of it."""
        part = look.mine / look.awaiting if look.awaiting else 1.0
        return 2 * self._rate_before * self._evidence.service * part

    # --- a limit in force

    def _look_held(self, look: Look, measuring: Measuring, waited_for: bool) -> None:
        full = waited_for and look.mine >= self.limit
        if full:
            self._used = look.now
        elif look.now - self._used > _UNUSED:
            if self._probed is None:
                self._open(look)
                return
            # More than is wanted is no answer to a probe; what there was before it may still be wanted.
            self._used = look.now
            before, _ = self._probed
            self._probed = None
            self._set(before, look)
        if self._settled_by:
            self._settle(look)
            return
        seconds, answers = measuring.look(look, full)
        wanted = max(_HELD_ANSWERS, min(4 * self.limit, _MOST_ANSWERS))
        if self._probed is not None:
            wanted *= 2
        if (seconds >= _HELD_SECONDS and answers >= wanted) or (
            seconds >= _LONGEST and answers >= _OPEN_ANSWERS
        ):
            self._measuring = Measuring(look)
            stretch = measuring.end()
            if stretch.full >= _BINDING:
                self._judge(look, stretch)
        elif _is_silent(measuring, seconds, answers):
            self._measuring = Measuring(look)
            self._wait_for_the_living(look, measuring.end())

    def _wait_for_the_living(self, look: Look, stretch: Stretch) -> bool:
        """Whether so many leave that a stretch says nothing: it is busy with those who are gone, as too many
        were let in. Fewer are then, down to twice what was being worked on before the line."""
        if stretch.left <= stretch.answers / 5:
            return False
        self._set(max(self.limit / 2, self._least_sensible(look)), look)
        return True

    def _settle(self, look: Look) -> None:
        """What was sent before the limit tells nothing of it: wait until that has been answered."""
        self._measuring = Measuring(look)
        answers = sum(look.answers)
        if look.now > self._settled_by or 0 <= self._answered_until <= answers:
            self._settled_by = 0.0
        elif self._answered_until < 0 and look.mine <= self.limit:
            self._answered_until = answers + look.awaiting

    def _judge(self, look: Look, stretch: Stretch) -> None:
        rate = stretch.rate
        if self._phase is _Phase.TRIAL:
            if self._tries < _PATIENCE and self._wait_for_the_living(look, stretch):
                self._tries += 1
                return
            if rate < _STILL * self._rate_before:
                self._doubts += 1 if rate > _HARDLY * self._rate_before else _DOUBTS
                if self._doubts >= _DOUBTS:
                    self._evidence.service = max(stretch.mean, self._evidence.service)
                    self._evidence.unloaded = max(stretch.low, self._evidence.unloaded)
                    self._quiet_until = look.now + _QUIET
                    self._open(look)
                return
            self._phase = _Phase.HELD
            self._probe_at = look.now + _PROBES
        limit = self.limit
        if self._probed is not None:
            before, rate_before = self._probed
            self._probed = None
            if rate < rate_before * (1 + _FOLLOWS * (limit / before - 1)):
                self._set(before, look)
                return
            # It does more where it may: the limit was what it stood at.
            self._evidence.believe(stretch.mean)
            self._anchor = limit, rate
            self._probe(look, rate)
            return
        if self._anchor is None or limit >= self._anchor[0]:
            self._anchor = limit, rate
        elif limit <= _STEP * self._anchor[0]:
            before, rate_before = self._anchor
            if rate < 0.95 * rate_before * (1 + limit / before) / 2:
                # Nearer to what it would be without a line than to what it was. Once may be chance.
                self._doubts += 1
                if self._doubts < _DOUBTS:
                    return
                self._doubts = 0
                self._evidence.service = max(stretch.mean, self._evidence.service)
                self._anchor = None
                self._set(before, look)
                return
            self._anchor = limit, rate
        self._doubts = 0
        self._follow(look, stretch)

    def _follow(self, look: Look, stretch: Stretch) -> None:
        self._evidence.held(stretch)
        limit = self.limit
        if look.now >= self._probe_at:
            self._probe(look, stretch.rate)
            return
        goal = stretch.own_rate * self._evidence.service * _HEADROOM + 1
        if 0.6 * limit < goal < 2 * limit:
            goal = (goal + limit) / 2  # half of such a difference is chance
        self._set(max(limit / 3, min(limit * 1.5 + 1, goal)), look)

    def _probe(self, look: Look, rate: float) -> None:
        """Now and then a little more is let in: if that is answered, too, a request takes longer by now than
        was supposed, and the limit was too low."""
        self._probed = self.limit, rate
        self._probe_at = look.now + _PROBES
        self._set(self.limit * _HEADROOM + 1, look)

    def _set(self, goal: float, look: Look) -> None:
        limit = max(self._bounds.least, min(self._bounds.most, round(goal)))
        if limit < self.limit or not self.limit:
            self._settled_by = look.now + _SETTLED_AFTER
            self._answered_until = -1
        self.limit = limit
        self._measuring = Measuring(look)

    def _open(self, look: Look) -> None:
        self.limit = 0
        self._phase = _Phase.OPEN
        self._settled_by = 0.0
        self._measuring = Measuring(look)
        self._evidence.begin_anew()


def _is_silent(measuring: Measuring, seconds: float, answers: int) -> bool:
    return seconds >= _SILENT and answers < _OPEN_ANSWERS and measuring.left >= _GONE

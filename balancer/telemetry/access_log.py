"""The access log (L2): a worker renders a line when an exchange has ended, and hands them over by batches.

The supervisor, which alone writes to stdout, passes them on as they are.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from balancer.telemetry.combined_line import CombinedRenderer
from balancer.telemetry.log_entry import Entry
from balancer.telemetry.log_line import FIELDS, LineRenderer
from balancer.telemetry.logfmt_line import LogfmtRenderer

MAX_BATCH: Final = 20_000  # lines
JSON: Final = "json"
LOGFMT: Final = "logfmt"
COMBINED: Final = "combined"
FORMATS: Final = (JSON, LOGFMT, COMBINED)


def _renderer(format: str, fields: tuple[str, ...]) -> Callable[[Entry], str]:
    if format == COMBINED:
        return CombinedRenderer().render
    return LogfmtRenderer(fields).render if format == LOGFMT else LineRenderer(fields).render


class AccessLog:
    """Collects lines between sweeps. For each exchange: `begin`, fill the entry, `add`.

    `sample` is the share of exchanges logged, 0.0 to 1.0, of those without trouble: those with are all
    logged. If the log is not `enabled`, `begin` need not be called.
    """

    __slots__ = ("_batch", "_entry", "_random", "_render", "_sample", "dropped", "enabled", "is_sample")

    def __init__(
        self,
        enabled: bool,
        sample: float,
        rng: Random,
        fields: Sequence[str] = FIELDS,
        format: str = JSON,
    ) -> None:
        """`format` is one of FORMATS; `fields` are those of a line, unless the format has its own."""
        self.enabled = enabled
        self.dropped = 0  # lines beyond the cap since the start
        self._sample = sample
        self.is_sample = sample < 1.0
        self._random = rng
        self._batch: list[str] = []
        self._render = _renderer(format, tuple(fields))
        self._entry = Entry()  # the same one for each exchange

    def begin(self, trouble: bool) -> Entry | None:
        """An entry whose every field is to be set; None if this exchange is not logged: it is not in the
        sample, or there are MAX_BATCH lines already, which is counted. With `trouble` it need not be in the
        sample."""
        if self.is_sample and not trouble and self._random.random() >= self._sample:
            return None
        if len(self._batch) >= MAX_BATCH:
            self.dropped += 1
            return None
        return self._entry

    def add(self, entry: Entry) -> None:
        """Log the entry that `begin` returned."""
        self._batch.append(self._render(entry))

    def take(self) -> list[str]:
        """The lines since the last call, without newlines."""
        batch = self._batch
        if batch:
            self._batch = []
        return batch

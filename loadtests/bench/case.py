"""What a case is: how the proxies are set up, what is measured of each, and the bars."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtests.bench.figures import Figure
from loadtests.bench.setup import Setup
from loadtests.bench.stage import Running, Stage

COMPARED = ("nginx", "haproxy", "ours", "plain")
OURS = ("ours", "plain")
OWN = "own"  # a bar against another variant of the same build


@dataclass(frozen=True, slots=True)
class Bar:
    """What ours may cost: at most `compiled` or `plain` times the figure of `against`, absolute without it.

    `against` is a proxy, or "own:VARIANT"; `variant` is the variant of ours that is judged. None: no bar.
    """

    figure: Figure
    compiled: float | None
    plain: float | None = None
    against: str = ""
    variant: str = ""

    def limit(self, build: str) -> float | None:
        """The bar of `ours` or `plain`."""
        return self.compiled if build == "ours" else self.plain

    def judged(self, build: str) -> str:
        """The row that is judged."""
        return row_name(build, self.variant)

    def base(self, build: str) -> str:
        """The row it is compared with, "" for none."""
        own, _, variant = self.against.partition(":")
        return row_name(build, variant) if own == OWN else self.against


@dataclass(frozen=True, kw_only=True)
class Case(ABC):
    """A row of the table. `main` is the figure shown first, and compared with `base`.

    `base` is a proxy, "own:VARIANT", or "" for an absolute figure. `variants` are settings of ours by name.
    With `fresh` each measurement gets a proxy just started, and the others are not there.
    """

    name: str
    text: str
    setup: Setup = field(default_factory=Setup)
    proxies: tuple[str, ...] = COMPARED
    variants: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {"": {}})
    main: Figure = Figure.CPU
    base: str = "nginx"
    bars: tuple[Bar, ...] = ()
    fresh: bool = False
    warms_up: bool = True
    pinned: bool = True  # the proxy to its core

    @abstractmethod
    def measure(self, stage: Stage, proxy: Running, seconds: int) -> dict[Figure, float]:
        """Load a running proxy once; `BenchError` if anything fails, as then nothing was measured."""

    def base_of(self, row: str) -> str:
        """The row that a row's main figure is compared with."""
        own, _, variant = self.base.partition(":")
        return row_name(row.partition(" ")[0], variant) if own == OWN else self.base


def row_name(proxy: str, variant: str) -> str:
    """How a variant of a proxy is called in a table."""
    return f"{proxy} {variant}" if variant else proxy

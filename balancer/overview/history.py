"""Thirty minutes of figures in fixed memory (L5): each second for the last two, every ten seconds before."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from balancer.overview.ring import Ring

FINE_STEP: Final = 1  # seconds
FINE: Final = 120  # values
COARSE_STEP: Final = 10
COARSE: Final = 180

Figures = Mapping[str, float | None]  # by the name of the series


class History:
    """Series by what they are of, such as `route:web` and `pool:api`, and by name: `rps`, `p95`."""

    def __init__(self) -> None:
        self._fine: dict[str, dict[str, Ring]] = {}
        self._coarse: dict[str, dict[str, Ring]] = {}

    def fine(self, figures: Mapping[str, Figures]) -> None:
        """Those of the last second. What is not among them any more is forgotten."""
        _push(self._fine, figures, FINE)
        for gone in self._coarse.keys() - figures.keys():
            del self._coarse[gone]

    def coarse(self, figures: Mapping[str, Figures]) -> None:
        """Those of the last ten seconds."""
        _push(self._coarse, figures, COARSE)

    def series(self, only: str | None = None) -> dict[str, Any]:
        """As in the answer of `/api/history`."""
        return {
            of: {
                name: {"fine": ring.values(), "coarse": self._values(of, name)}
                for name, ring in rings.items()
            }
            for of, rings in self._fine.items()
            if only is None or of == only
        }

    def keys(self) -> Iterable[str]:
        """What there are series of."""
        return self._fine.keys()

    def _values(self, of: str, name: str) -> list[float | None]:
        ring = self._coarse.get(of, {}).get(name)
        return [None] * COARSE if ring is None else ring.values()


def _push(series: dict[str, dict[str, Ring]], figures: Mapping[str, Figures], length: int) -> None:
    for gone in series.keys() - figures.keys():
        del series[gone]
    for of, values in figures.items():
        rings = series.get(of)
        if rings is None:
            rings = series[of] = {name: Ring(length) for name in values}
        for name, ring in rings.items():
            ring.push(values[name])

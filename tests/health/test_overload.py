"""When a pool's overload begins and ends, and its figures."""

import pytest

from balancer.health.overload import ENTERS, LEAVES, LOOK, Ends, Figures, Load, Overload

SERVED = 200  # in a look


class Harness:
    """An observed pool; `events` are the reports by the number of the look."""

    def __init__(self) -> None:
        self.overload = Overload()
        self.now = 0.0
        self.looks = 0
        self.load = Load(0, 0)
        self.served = self.left = 0
        self.asked = 0
        self.events: list[tuple[int, str, Figures]] = []

    def look(self, refused: int = 0, waiting: int = 0, served: int = SERVED, left: int = 0) -> None:
        """Add this many refused, served and abandoned requests, and set how many wait now."""
        self.looks += 1
        self.now += LOOK
        self.served += served
        self.left += left
        self.load = Load(self.load.refused + refused, waiting)
        figures = self.overload.look(round(self.now * 1e9), self.load, self._ends)
        if figures is not None:
            kind = "ends" if self.overload.now is None else "begins"
            self.events.append((self.looks, kind, figures))

    def play(self, looks: str) -> list[tuple[int, str]]:
        """`r` refuses 400, `w` has a queue of one second, `s` of an eighth, `h` a queue that does not
        move."""
        for one in looks:
            match one:
                case "r":
                    self.look(refused=400, left=7)
                case "w":
                    self.look(waiting=400)
                case "s":
                    self.look(waiting=50)
                case "h":
                    self.look(waiting=5, served=0)
                case _:
                    self.look()
        return [(look, kind) for look, kind, _ in self.events]

    def _ends(self) -> Ends:
        self.asked += 1
        return Ends(self.served, self.left)


CALM = "." * LEAVES
# The successive looks; when an overload begins and ends.
CASES: dict[str, tuple[str, list[tuple[int, str]]]] = {
    "nothing": ("." * 50, []),
    "refusals": (".rrr", [(4, "begins")]),
    "a burst": (".rr..rr..r.", []),
    "now and then one": (".r...r.r..r.r", []),
    "refusals before the first look": ("r...", []),
    "a standing queue": (".wwww", [(5, "begins")]),
    "a queue that is short": (".ssssssssss", []),
    "a queue that does not move": (".hhhh", [(5, "begins")]),
    "a queue that empties in between": (".www.www.www", []),
    "a queue that is short in between": (".wwwswwwswww", []),
    "a queue, then refusals": (".wwrr", [(5, "begins")]),
    "refusals beside a short queue": (".s" + "rs" * 9, []),
    "it ends": (".rrr" + CALM, [(4, "begins"), (4 + LEAVES, "ends")]),
    "pauses in it": (".rrr" + "........r" * 5, [(4, "begins")]),
    "a short queue after it": (".rrr" + "s" * LEAVES, [(4, "begins"), (4 + LEAVES, "ends")]),
    "it ends and begins": (
        ".rrr" + CALM + "rrr",
        [(4, "begins"), (4 + LEAVES, "ends"), (7 + LEAVES, "begins")],
    ),
    "refusals after it": (".rrr" + CALM + "r..rr.", [(4, "begins"), (4 + LEAVES, "ends")]),
}


@pytest.mark.parametrize("case", CASES)
def test_an_overload_begins_and_ends(case: str) -> None:
    looks, expected = CASES[case]
    assert Harness().play(looks) == expected


def test_a_pool_without_overload_needs_no_sums() -> None:
    harness = Harness()
    harness.play("." * 100)
    assert harness.asked == 0
    harness.play("r" + "." * 100)
    assert harness.asked == 2


def test_figures_cover_first_the_detection_time_and_then_the_whole_overload() -> None:
    harness = Harness()
    harness.play("." + "r" * 20 + "..r" + CALM)
    (_, _, first), (_, _, whole) = harness.events
    assert first == Figures((ENTERS - 1) * LOOK, (ENTERS - 1) * SERVED, (ENTERS - 1) * 400, (ENTERS - 1) * 7)
    assert first.rates() == (SERVED / LOOK, 400 / LOOK, 7 / LOOK)
    assert whole == Figures(22 * LOOK, 22 * SERVED, 20 * 400, 20 * 7), "its end is where it was last seen"


def test_the_present_rates_cover_two_seconds() -> None:
    harness = Harness()
    harness.play(".rrrr")
    for refused in (0, 0, 100, 300):
        harness.look(refused=refused)
    assert harness.overload.now == Figures(2.0, 4 * SERVED, 400, 0)


def test_a_removed_upstream_makes_no_negative_figures() -> None:
    harness = Harness()
    harness.play(".r")
    harness.served = -10 * SERVED
    harness.play("rr")
    ((_, kind, figures),) = harness.events
    assert (kind, figures.served) == ("begins", 0)


def test_two_looks_at_one_moment_divide_by_nothing() -> None:
    assert Figures(0.0, 5, 5, 5).rates() == (0.0, 0.0, 0.0)

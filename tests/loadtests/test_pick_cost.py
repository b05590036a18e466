"""The measurement of pick costs runs, and has a complete table."""

import pytest

from loadtests import pick_cost


@pytest.mark.parametrize(
    ("name", "options"),
    pick_cost.VARIANTS,
    ids=lambda value: value if isinstance(value, str) else str(len(value)),
)
def test_a_row_has_every_figure(name: str, options: dict[str, float]) -> None:
    cells = pick_cost.row(name, options, (2, 20), rounds=1)
    assert cells[0].startswith(name)
    assert len(cells) == 1 + 2 + 3
    assert all(float(cell.replace(",", "")) >= 0 for cell in cells[1:])
    assert all(float(cell.replace(",", "")) > 0 for cell in cells[1:3])

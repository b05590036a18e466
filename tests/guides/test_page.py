"""How a page is compared with what its commands print."""

import pytest

from tests.guides.page import is_shown


@pytest.mark.parametrize(
    ("lines", "shown", "same"),
    [
        (["a  1 ms", "b"], ["a 250 ms", "b"], True),
        (["a", "b"], ["a"], False),
        (["a", "b", "c"], ["a", "...", "c"], True),
        (["a", "b", "c"], ["...", "c"], True),
        (["a says: something else"], ["a says: ..."], True),
        (["ejected", "─────"], ["ejected", "──"], True),
        (["active"], ["ejected"], False),
        ([""], [], True),
    ],
)
def test_figures_spaces_and_rules_may_differ_and_words_may_not(
    lines: list[str], shown: list[str], same: bool
) -> None:
    assert is_shown(lines, shown) is same

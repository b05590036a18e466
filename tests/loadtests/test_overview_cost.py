"""The measurement of the dashboard's cost runs, and someone who looks gets events."""

import re

import pytest

from loadtests import overview_cost


@pytest.mark.integration
def test_it_prints_the_share_with_and_without_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--upstreams", "4", "--routes", "2", "--rate", "100", "--seconds", "1", "--most", "1"]
    assert overview_cost.main(small) == 0
    alone, watched = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"no page: [\d.]+% of a core; \d+ requests/s", alone)
    found = re.fullmatch(r"a page: [\d.]+% of a core; \d+ requests/s, (\d+) events of \d+ KiB", watched)
    assert found is not None
    assert int(found[1]) >= 1

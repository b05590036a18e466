"""Fixtures of the tests of discovery."""

from collections.abc import Iterator

import pytest

from tests.discovery.harness import Harness


@pytest.fixture
def harness() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    harness.stop()

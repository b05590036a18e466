"""A fleet for each test that uses `harness`, unless it makes its own."""

from collections.abc import Iterator

import pytest

from balancer.telemetry.segment import Segment
from tests.runtime.fleet_harness import Harness


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(workers=1)
    yield made
    made.close()


@pytest.fixture
def harness(segment: Segment) -> Harness:
    return Harness(segment)

"""A harness for all tests of metrics."""

from collections.abc import Iterator

import pytest

from balancer.telemetry.segment import Segment
from tests.telemetry.harness import Harness


@pytest.fixture
def harness() -> Iterator[Harness]:
    segment = Segment.create(workers=1)
    yield Harness(segment)
    segment.close()

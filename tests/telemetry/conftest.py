"""A scene for all tests of metrics."""

from collections.abc import Iterator

import pytest

from balancer.telemetry.segment import Segment
from tests.telemetry.harness import Scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    segment = Segment.create(workers=1)
    yield Scene(segment)
    segment.close()

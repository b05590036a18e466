"""Fixtures of the tests of discovery."""

from collections.abc import Iterator

import pytest

from tests.discovery.harness import Scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.stop()

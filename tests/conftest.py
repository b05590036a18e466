"""Settings for all tests."""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

from balancer import build

# A busy machine is not the fault of the code under test.
settings.register_profile("balancer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("balancer")

# Collected tests stay until the end: scanning them repeatedly is a third of each process's collection time.
gc.disable()

# Which build is under test: an extension shadows its source, also one that was left behind by mistake.
EXPECTED = os.environ.get("EXPECT_BUILD", build.PLAIN)


def pytest_configure(config: pytest.Config) -> None:
    if build.kind() != EXPECTED:
        pytest.exit(
            f"these tests are for the {EXPECTED} build, but the {build.kind()} one would run. For the "
            "compiled one use make test-compiled; for the plain one remove the extensions beside the sources",
            returncode=2,
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if EXPECTED == build.COMPILED:
        plain = [item for item in items if item.get_closest_marker("plain")]
        config.hook.pytest_deselected(items=plain)
        items[:] = [item for item in items if item not in set(plain)]


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.enable()

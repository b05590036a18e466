"""Settings for all tests."""

import gc

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault of the code under test.
settings.register_profile("balancer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("balancer")

# What is collected stays until the end: to look through it again and again is a third of the time that
# collecting takes in each process.
gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.enable()

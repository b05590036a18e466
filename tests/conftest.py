"""Settings for all tests."""

import gc

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is not the fault of the code under test.
settings.register_profile("balancer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("balancer")

# Collected tests stay until the end: scanning them repeatedly is a third of each process's collection time.
gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.enable()

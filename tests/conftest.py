"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A busy machine is no fault of the code under test.
settings.register_profile("balancer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("balancer")

"""Settings (L1): models, and the loader that fills them from environment and file."""

from balancer.config.address import Address
from balancer.config.loader import Loaded, Policies, load, load_with_origins
from balancer.config.settings import Settings
from balancer.config.upstream_spec import UpstreamSpec

__all__ = ["Address", "Loaded", "Policies", "Settings", "UpstreamSpec", "load", "load_with_origins"]

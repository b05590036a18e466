"""balancer: an HTTP reverse-proxy load balancer on uvloop and httptools."""

# The only place of the version: pyproject.toml reads it from here.
__version__ = "0.1.0"

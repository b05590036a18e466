"""balancer: an HTTP reverse-proxy load balancer on uvloop and httptools."""

__version__ = "0.1.0"

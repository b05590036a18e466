"""Connections to upstreams: protocol, keepalive pool, dialling."""

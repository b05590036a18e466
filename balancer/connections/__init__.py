"""Connections to upstreams: the protocol, the keepalive pool, the dialling."""

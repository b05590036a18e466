"""Telemetry: the stats segment, the access log, events and metrics."""

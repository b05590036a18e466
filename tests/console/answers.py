"""Responses of the admin API, for tests of the console."""

from typing import Any


def upstream(name: str, **other: Any) -> dict[str, Any]:
    """A healthy and idle upstream, with the fields in `other` replaced."""
    return {
        "id": name,
        "address": "10.0.0.1:8000",
        "source": "",
        "admin_state": "active",
        "announced": False,
        "causes": [],
        "outlier": None,
        "on_probation": False,
        "unchecked": False,
        "eligible": True,
        "weight": 1,
        "effective_weight": 1.0,
        "backup": False,
        "max_inflight": 0,
        "server_name": "",
        "last_check": check(),
        "inflight": 0,
        "inflight_limit": 0,
        "idle_connections": 0,
        "requests": 0,
        "codes": {},
        "connect_failures": {},
        "first_byte_buckets": [0] * 15,
        "first_byte_sum": 0.0,
        **other,
    }


def check(**other: Any) -> dict[str, Any]:
    """A passed check, with the fields in `other` replaced."""
    return {
        "time": "2026-02-01T12:00:00.000Z",
        "passed": True,
        "result": "passed",
        "status": 200,
        "seconds": 0.0021,
        "text": "200 on /",
        "hint": "",
        **other,
    }


def pools(*upstreams: dict[str, Any], **other: Any) -> dict[str, Any]:
    """One pool of these upstreams."""
    eligible = sum(one["eligible"] for one in upstreams)
    pool = {
        "name": "default",
        "policy": "least_connections",
        "panic": False,
        "eligible": eligible,
        "problems": {},
        "overload": None,
        "queue_length": 0,
        "queue_rejected": {},
        "queue_abandoned": 0,
    }
    return {
        "first_byte_bounds": [],
        "pools": [{**pool, "upstreams": list(upstreams), **other}],
        "bounds": [],
        "routes": [],
        "certificates": [],
    }


def event(revision: int, kind: str = "ejected", text: str = "app1:8000 ejected: it fails") -> dict[str, Any]:
    """One change of state."""
    return {
        "revision": revision,
        "time": "2026-02-01T12:00:00.000Z",
        "kind": kind,
        "pool": "default",
        "upstream": "app1:8000",
        "cause": "active_check",
        "text": text,
    }

"""Records of traced requests, with defaults for tests."""

from typing import Any

from balancer.spec.traced import TracedAttempt, TracedRequest

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SPAN = "00f067aa0ba902b7"


def traced_attempt(number: int = 1, **changes: Any) -> TracedAttempt:
    """An attempt at app1:8000, which took from 1 to 9 us, and so on."""
    values: dict[str, Any] = {
        "span": f"{number:016x}",
        "upstream": f"app{number}:8000",
        "host": f"10.0.0.{number}",
        "port": 8000,
        "scheme": "http",
        "reused": True,
        "began_ns": 1_000,
        "sent_ns": 1_000,
        "first_byte_ns": 6_000,
        "ended_ns": 9_000,
        "status": 200,
        "failure": "",
    }
    return TracedAttempt(**{**values, **changes})


def traced_request(**changes: Any) -> TracedRequest:
    """A request that took 10 us, with one attempt."""
    values: dict[str, Any] = {
        "trace": TRACE,
        "span": SPAN,
        "parent": PARENT,
        "flags": 1,
        "state": "",
        "began_ns": 1_700_000_000_000_000_000,
        "duration_ns": 10_000,
        "queue_ns": -1,
        "method": "GET",
        "target": "/a/b",
        "scheme": "https",
        "minor": 1,
        "host": "shop.example",
        "agent": "curl/8",
        "client": "203.0.113.5",
        "peer": "10.9.0.1",
        "status": 200,
        "reason": "",
        "route": "web",
        "pool": "default",
        "request_id": "id-1",
        "request_bytes": 3,
        "response_bytes": 5,
        "attempts": (traced_attempt(),),
    }
    return TracedRequest(**{**values, **changes})

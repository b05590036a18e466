"""Upstreams and pools as `balancer top` gets them, and what it prints."""

from io import StringIO
from typing import Any

from rich.console import Console

from tests.console.answers import upstream

BOUNDS = [0.001, 0.01, 0.1, 1.0]


def one(name: str, requests: int = 0, errors: int = 0, **other: Any) -> dict[str, Any]:
    """An upstream with so many responses, the last ones errors, all within 10 ms."""
    codes = {code: count for code, count in (("200", requests - errors), ("503", errors)) if count}
    return upstream(
        name, requests=requests, codes=codes, **{"first_byte_buckets": [0, requests, 0, 0, 0], **other}
    )


def answer(*upstreams: dict[str, Any], name: str = "default", **other: Any) -> dict[str, Any]:
    pool = {"name": name, "queue_length": 0, "queue_rejected": {}, "overload": None, **other}
    return {"first_byte_bounds": BOUNDS, "pools": [{**pool, "upstreams": list(upstreams)}]}


def text_of(renderable: Any, width: int, height: int = 24) -> list[str]:
    out = StringIO()
    Console(file=out, width=width, height=height).print(renderable)
    return [line.rstrip() for line in out.getvalue().splitlines()]

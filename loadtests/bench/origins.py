"""The app behind the proxies: an nginx, or a loop on raw sockets where nginx cannot do it."""

import sys
from collections.abc import Sequence
from pathlib import Path

from loadtests import proxies
from loadtests.bench.setup import Origin, Setup
from loadtests.builds import plain
from loadtests.proxies import Launch

_NO_MATCH = "sub_filter_once on; sub_filter_types *; sub_filter never-in-the-body x;"
# Lengths from 100 to 130 bytes by two digits of the request id, which is random.
_LENGTHS = """map $request_id $first {{ {first} }}
    map $request_id $second {{ {second} }}"""


def origin(directory: Path, ports: Sequence[int], setup: Setup) -> Launch:
    """The command of the origin on all of `ports`."""
    if setup.origin in (Origin.READING, Origin.ECHO):
        argv = [sys.executable, "-m", "loadtests.bench.generators.serve", setup.origin.name.lower()]
        return Launch([*argv, str(setup.body), *map(str, ports)], plain().environment())
    if setup.origin is Origin.FIXED:
        return proxies.origin(directory, ports, setup.body, backlog=setup.backlog)
    if setup.origin is Origin.CHUNKED:
        return proxies.origin(directory, ports, setup.body, more=_NO_MATCH)
    digits = "0123456789abcdef"
    first, second = (
        " ".join(f'~^{"." * place}{digit} "{"x" * number}";' for number, digit in enumerate(digits))
        for place in (0, 1)
    )
    answer = f"""add_header ETag '"$request_id"'; return 200 "{"x" * 100}$first$second";"""
    return proxies.origin(directory, ports, answer=answer, maps=_LENGTHS.format(first=first, second=second))


def first_length(setup: Setup) -> int | None:
    """The length of every response, None if it differs."""
    return None if setup.origin is Origin.DIFFERING else setup.body

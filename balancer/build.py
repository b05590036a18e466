"""Whether the hot rooms run compiled or as plain Python (L0)."""

from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

COMPILED = "compiled"
PLAIN = "plain"


@cache
def kind() -> str:
    """COMPILED or PLAIN. Finds one of the compiled modules, without importing it."""
    spec = find_spec("balancer.errors")
    compiled = (
        spec is not None and spec.origin is not None and spec.origin.endswith(tuple(EXTENSION_SUFFIXES))
    )
    return COMPILED if compiled else PLAIN

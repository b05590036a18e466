"""The name of an instance in its Via (L7, `http/via.py`): random, so that instances differ."""

import os


def make_name() -> str:
    """A new name."""
    return f"balancer-{os.urandom(4).hex()}"

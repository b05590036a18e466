"""The name of an instance (L7), which its Via tells (`http/via.py`): told apart from all others by chance."""

import os


def make_name() -> str:
    """A new one."""
    return f"balancer-{os.urandom(4).hex()}"

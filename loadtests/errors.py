"""The benchmark's errors, shown instead of a traceback."""


class BenchError(Exception):
    """The benchmark cannot continue; the message is one plain sentence with cause and remedy."""

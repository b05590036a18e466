"""What the benchmark tells its user instead of a traceback."""


class BenchError(Exception):
    """The benchmark cannot go on; the text is one plain sentence with cause and remedy."""

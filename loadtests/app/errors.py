"""What the app replica tells its user instead of a traceback."""


class SwitchError(ValueError):
    """A switch has a value that cannot be; the text is one plain sentence with name, value and remedy."""

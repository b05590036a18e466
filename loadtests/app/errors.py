"""The app replica's errors, shown instead of a traceback."""


class SwitchError(ValueError):
    """A switch has an invalid value; the message is one plain sentence with name, value and remedy."""

"""Tokens for changes through the admin API (L1): set directly, or read from a file."""

from pathlib import Path

from balancer.config.types import MASK
from balancer.errors import OperatorError

_SETTING = "BALANCER_ADMIN_TOKEN_FILE"


def read_token(token: str, file: str, setting: str = _SETTING) -> str:
    """The token of the settings, "" if there is none; `setting` names the file. Raises OperatorError for a
    file without a token."""
    if not file:
        return token
    try:
        return read_token_file(file)
    except ValueError as error:
        raise OperatorError(f'{setting}: "{file}" {error}') from None


def read_token_file(file: str) -> str:
    """The token in a file. Raises ValueError with the end of a sentence that begins with the file's name."""
    try:
        text = Path(file).read_text(encoding="ascii").strip()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"cannot be read ({reason}); correct the path or mount the file") from None
    except ValueError:  # not ASCII, or a path with a NUL in it
        text = ""
    if text == MASK:
        raise ValueError("holds the mask that replaces a secret in output; write the secret itself into it")
    if not text or not all("!" <= each <= "~" for each in text):
        raise ValueError("holds no token; write one line of visible ASCII into it")
    return text

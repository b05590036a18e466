"""The token that changes by the admin API need (L1): set itself, or the content of a file."""

from pathlib import Path

from balancer.errors import OperatorError

_SETTING = "BALANCER_ADMIN_TOKEN_FILE"


def read_token(token: str, file: str) -> str:
    """The token of the settings, "" where there is none. Raises OperatorError for a file that holds none."""
    if not file:
        return token
    try:
        text = Path(file).read_text(encoding="ascii").strip()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OperatorError(
            f'{_SETTING}: "{file}" cannot be read ({reason}); correct the path or mount the file'
        ) from None
    except UnicodeDecodeError:
        text = ""
    if not text or not all("!" <= each <= "~" for each in text):
        raise OperatorError(f'{_SETTING}: "{file}" holds no token; write one line of visible ASCII into it')
    return text

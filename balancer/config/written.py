"""Raw values, before a setting's own type parses them (L1): text without white space around it, and numbers.

Numbers must be unambiguous: some programs read `010` as 8, others as 10; only Python reads `1_0` as 10.
"""

import re

_LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")
_NUMBER = re.compile(r"(?i:[+-]?(?:[0-9]{1,300}(?:\.[0-9]{1,300})?(?:e[+-]?[0-9]{1,3})?|nan|inf))")
_GROUPED = re.compile(r"[0-9]{1,3}(?:[_,' ][0-9]{3})+")
_HALF = re.compile("[\ud800-\udfff]")  # of a character: a surrogate
_OCTAL = 8
# The largest whole number that JSON, and so the channel to the workers, carries exactly.
MOST = 1 << 53
# How some programs spell a number that is no limit.
NO_LIMIT = frozenset(["off", "none", "never", "no", "disabled", "infinity", "inf", "unlimited"])


def trimmed(value: object) -> object:
    """Text without the white space around it, such as the newline at the end of a mounted secret."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, dict):
        return {key: trimmed(each) for key, each in value.items()}
    return [trimmed(each) for each in value] if isinstance(value, list) else value


def is_text(value: object) -> bool:
    """Whether all text in a value can be written as UTF-8."""
    if isinstance(value, dict):
        return all(is_text(each) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return all(map(is_text, value))
    return not isinstance(value, str) or _HALF.search(value) is None


def refuse_leading_zero(text: str) -> None:
    """Raise ValueError for a number that some programs read as octal."""
    if _LEADING_ZERO.fullmatch(text) is None:
        return
    decimal = str(int(text))
    octal = str(int(text, _OCTAL)) if not set(text) & {"8", "9"} else decimal
    either = decimal if octal == decimal else f"{decimal} or {octal}"
    raise ValueError(f"begins with 0, which some programs read as octal; write {either}")


def parse_whole(value: object) -> object:
    """A whole number; if it is text, from decimal digits only."""
    if isinstance(value, bool):
        raise ValueError("is not a whole number")
    if isinstance(value, str):
        text = value.strip()
        refuse_leading_zero(text)
        if _GROUPED.fullmatch(text):
            raise ValueError(f"is not a whole number; write {re.sub('[^0-9]', '', text)}")
        if _WHOLE.fullmatch(text) is None:
            raise ValueError("is not a whole number")
    if isinstance(value, str | int) and abs(int(value)) > MOST:
        raise ValueError(f"is too large; the maximum is {MOST}")
    return value


def parse_number(value: object) -> object:
    """A number with or without a fraction; if it is text, in decimal."""
    if isinstance(value, bool):
        raise ValueError("is not a number")
    if isinstance(value, str):
        text = value.strip()
        refuse_leading_zero(text)
        if text.endswith("%") and _NUMBER.fullmatch(text[:-1].rstrip()):
            raise ValueError(f"is not a number; write {float(text[:-1]) / 100:g}")
        if _NUMBER.fullmatch(text) is None:
            raise ValueError("is not a number")
    return value


def plain(value: object) -> str:
    """The text of a string or number, "" for anything else."""
    # bool is an int to Python, and `timeout: yes` is True to YAML
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""

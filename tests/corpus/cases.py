"""Reads the corpus: `requests.txt` and `responses.txt`, whose first lines describe their format."""

import re
from dataclasses import dataclass, field
from pathlib import Path

_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|(.))")
_REPEAT = re.compile(r"(?<!\\)\{((?:[^*{}\\]|\\.)+)\*([0-9]+)\}")
_SIMPLE = {"r": "\r", "n": "\n", "t": "\t", "v": "\v", "0": "\0", "\\": "\\", "{": "{", "}": "}"}
_TITLE = re.compile(r"== ([a-z0-9-]+) \| ((?:RFC [0-9]{4} section [0-9.]+|our rule)(?:, .+)?)")


@dataclass(frozen=True)
class Case:
    """`setup` are its @ lines, `sent` its bytes, `verdict` the lines of the required outcome."""

    id: str
    source: str
    setup: tuple[str, ...]
    sent: bytes
    verdict: tuple[str, ...]


@dataclass
class _Draft:
    id: str
    source: str
    setup: list[str] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    verdict: list[str] = field(default_factory=list)

    def case(self) -> Case:
        if not self.sent or not self.verdict:
            raise ValueError(f"{self.id}: nothing sent, or no verdict")
        return Case(self.id, self.source, tuple(self.setup), b"".join(self.sent), tuple(self.verdict))


def unescape(text: str) -> bytes:
    r"""`\r \n \t \v \0 \xNN \\` as in Python; `{text*N}` stands for N times the text, and may be nested."""
    while repeat := _REPEAT.search(text):
        text = text[: repeat.start()] + repeat[1] * int(repeat[2]) + text[repeat.end() :]
    plain = _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _SIMPLE[match[2]], text)
    return plain.encode("latin-1")


def read_cases(name: str) -> list[Case]:
    """The cases of one corpus file, in order."""
    cases: list[Case] = []
    draft: _Draft | None = None
    for number, line in enumerate((Path(__file__).parent / name).read_text("ascii").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if title := _TITLE.fullmatch(line):
            if draft is not None:
                cases.append(draft.case())
            draft = _Draft(title[1], title[2])
            continue
        mark, text = line[:1], line[2:]
        if draft is None or line[1:2] not in ("", " ") or line != line.rstrip():
            raise ValueError(f"{name}:{number}: not a line of a case: {line!r}")
        if mark == "@":
            draft.setup.append(text)
        elif mark == ">":
            goes_on = (len(text) - len(text.rstrip("\\"))) % 2 == 1
            draft.sent.append(unescape(text[:-1]) if goes_on else unescape(text) + b"\r\n")
        elif mark == "=":
            draft.verdict.append(text)
        else:
            raise ValueError(f"{name}:{number}: not a line of a case: {line!r}")
    if draft is not None:
        cases.append(draft.case())
    return cases


def cuts(case: Case, every_byte_below: int, coarse: int) -> list[int]:
    """Where to split a case in two: at every byte of a short one, otherwise at `coarse` places and its
    ends."""
    size = len(case.sent)
    if size < every_byte_below:
        return list(range(1, size))
    near_end = range(size - min(coarse, size - 1), size)
    return sorted({*range(1, size, max(size // coarse, 1)), *near_end})

"""Reads `targets.txt`, whose first lines describe its format."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.corpus.cases import unescape

REFUSED = "400"
# Routes in their order, with what they are about.
PREFIXES = {"admin": b"/admin", "api": b"/api", "files": b"/files", "web": b"/"}
STRIPPED = "files"


@dataclass(frozen=True)
class Target:
    """`text` is as in the file. `route` is REFUSED if it is refused, `forwarded` what the app gets if not."""

    text: str
    sent: bytes
    route: str
    forwarded: bytes

    def sent_to(self, host: str) -> bytes:
        """The target for a site of that host."""
        return self.sent.replace(b"HOST", host.encode())

    def forwarded_for(self, host: str) -> bytes:
        """The same of what the app gets."""
        return self.forwarded.replace(b"HOST", host.encode())


def read_targets() -> Iterator[Target]:
    """All targets, in order."""
    for line in Path(__file__).with_name("targets.txt").read_text("ascii").splitlines():
        if not line or line == "#" or line.startswith("# "):
            continue
        text, arrow, verdict = line.partition(" => ")
        route, _, forwarded = verdict.partition(" ")
        if not arrow or route not in (*PREFIXES, REFUSED):
            raise ValueError(f"targets.txt: not a target with its verdict: {line!r}")
        sent = unescape(text)
        yield Target(text, sent, route, unescape(forwarded) if forwarded else sent)


TARGETS = list(read_targets())


def route_of(path: bytes) -> str:
    """The route of a path by the plain meaning of the settings, whose paths are not encoded."""
    return next(
        name
        for name, prefix in PREFIXES.items()
        if path == prefix or path.startswith(prefix.rstrip(b"/") + b"/") or prefix == b"/"
    )

"""The verdict on a load test: figures against bounds, with a sentence and an exit code for each broken
one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from loadtests.tally import Tally

PREFIX = "LOAD_"
# Known names without the prefix; the last ones are those of the compose file and make.
NAMES = (
    *("MAX_FAIL_RATIO", "MAX_P95", "SHARE_TOLERANCE", "WEIGHTS", "REPLICAS", "REPLICA_HEADER"),
    *("RATE", "STICKY", "PATHS", "JSON"),
    *("USERS", "TIME", "WORKERS", "HOST"),
)
# The exit code is that of the first broken bound, in this order. 1 and 2 are Locust's own.
NOTHING_SENT, TOO_MANY_FAILURES, TOO_SLOW, WRONG_SHARES = 10, 11, 12, 13


class BoundsError(ValueError):
    """An invalid bound in the environment; the message is one plain sentence."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a good run. Shares are judged only if `share_tolerance` is above 0.

    `share_tolerance` is relative: with 0.2 a replica with an expected share of 30 % may have 24 % to 36 %.
    `weights` are by replica name; every other one has the weight 1.
    """

    max_fail_ratio: float = 0.0
    max_p95: float = 1.0  # seconds
    share_tolerance: float = 0.0
    weights: Mapping[str, float] | None = None
    replicas: int = 0  # number of replicas that must have answered; 0 = any number


@dataclass(frozen=True, slots=True)
class Figures:
    """The results of a run; times in seconds."""

    requests: int
    failures: int
    p50: float
    p95: float
    p99: float
    tally: Tally
    exceptions: int = 0  # of the load test's own code


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken bound."""

    code: int
    sentence: str


def read_bounds(environ: Mapping[str, str]) -> Bounds:
    """The bounds from LOAD_*; an empty variable counts as not set. BoundsError also for unknown names."""
    for name in environ:
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in NAMES:
            close = get_close_matches(name.removeprefix(PREFIX), NAMES, 1, 0.5)
            meant = f"; did you mean {PREFIX}{close[0]}?" if close else "; remove it"
            raise BoundsError(f"{name}: no such setting of the load test{meant}")
    default = Bounds()
    return Bounds(
        max_fail_ratio=_number(environ, "MAX_FAIL_RATIO", default.max_fail_ratio, most=1.0),
        max_p95=_seconds(environ, "MAX_P95", default.max_p95),
        share_tolerance=_number(environ, "SHARE_TOLERANCE", default.share_tolerance, most=10.0),
        weights=_weights(environ.get(PREFIX + "WEIGHTS", "")),
        replicas=int(_number(environ, "REPLICAS", default.replicas, most=10_000)),
    )


def judge(figures: Figures, bounds: Bounds) -> list[Finding]:
    """Every broken bound, the gravest first; empty for a good run."""
    if not figures.requests:
        return [
            Finding(NOTHING_SENT, "no request was sent; check that the load generator reaches its target")
        ]
    findings = []
    ratio = figures.failures / figures.requests
    if ratio > bounds.max_fail_ratio:
        text = f"{figures.failures:,} of {figures.requests:,} requests failed ({ratio:.2%})"
        findings.append(Finding(TOO_MANY_FAILURES, f"{text}; at most {bounds.max_fail_ratio:.2%} may"))
    if figures.exceptions:
        text = f"the load test's own code raised {figures.exceptions:,} exceptions, which are listed above"
        findings.append(Finding(TOO_MANY_FAILURES, text))
    if figures.p95 > bounds.max_p95:
        text = f"the p95 is {_ms(figures.p95)}; at most {_ms(bounds.max_p95)} is allowed"
        findings.append(Finding(TOO_SLOW, text))
    return findings + [Finding(WRONG_SHARES, text) for text in _broken_shares(figures.tally, bounds)]


def expected_shares(replicas: Sequence[str], weights: Mapping[str, float] | None) -> dict[str, float]:
    """The expected share of each replica by its weight."""
    by_name = {name: (weights or {}).get(name, 1.0) for name in replicas}
    total = sum(by_name.values())
    return {name: weight / total for name, weight in by_name.items()}


def report(figures: Figures, bounds: Bounds, findings: Sequence[Finding]) -> str:
    """The small table and the verdict in words."""
    lines = [
        f"requests   {figures.requests:,}",
        f"failures   {figures.failures:,}",
        f"p50 p95 p99   {_ms(figures.p50)}   {_ms(figures.p95)}   {_ms(figures.p99)}",
    ]
    replicas = figures.tally.replicas
    names = sorted({*replicas, *(bounds.weights or {})})
    expected = expected_shares(names, bounds.weights)
    total = replicas.total()
    width = max((len(name) for name in names), default=0)
    for name in names:
        share = replicas[name] / total if total else 0.0
        lines.append(
            f"replica {name:{width}}   {replicas[name]:>9,}   {share:6.1%}   by weight {expected[name]:.1%}"
        )
    if not replicas:
        lines.append("replicas   no response named one in X-Replica: the shares are unknown")
    lines += [f"verdict: BAD: {finding.sentence}" for finding in findings]
    return "\n".join(lines if findings else [*lines, "verdict: good"])


def _broken_shares(tally: Tally, bounds: Bounds) -> list[str]:
    names = sorted({*tally.replicas, *(bounds.weights or {})})
    if bounds.replicas and len(tally.replicas) != bounds.replicas:
        return [f"{len(tally.replicas)} replicas have answered; expected {bounds.replicas}"]
    total = tally.replicas.total()
    if not bounds.share_tolerance:
        return []
    if not total:
        return ["no response named its replica in X-Replica, so the shares cannot be judged"]
    broken = []
    for name, expected in expected_shares(names, bounds.weights).items():
        share = tally.replicas[name] / total
        if abs(share - expected) > bounds.share_tolerance * expected:
            allowed = f"within {bounds.share_tolerance:.0%} of that"
            broken.append(
                f"{name} answered {share:.1%} of the requests; by weight it is {expected:.1%}, {allowed}"
            )
    return broken


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f} ms"


def switched_on(environ: Mapping[str, str], name: str) -> bool:
    """Whether LOAD_NAME is true. Raises BoundsError if it is neither true nor false."""
    text = environ.get(PREFIX + name, "").strip().lower()
    if text not in ("", "true", "1", "yes", "on", "false", "0", "no", "off"):
        raise BoundsError(f"{PREFIX}{name}: {text!r} is neither true nor false")
    return text in ("true", "1", "yes", "on")


def _number(environ: Mapping[str, str], name: str, default: float, most: float) -> float:
    text = environ.get(PREFIX + name, "").strip()
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= most:
        raise BoundsError(f"{PREFIX}{name}: {text!r} is not a number from 0 to {most:g}")
    return number


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(PREFIX + name, "").strip()
    if not text:
        return default
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|)", text)
    if not found:
        raise BoundsError(f"{PREFIX}{name}: {text!r} is not a duration, such as 250ms or 1.5s")
    return float(found[1]) / (1000.0 if found[2] == "ms" else 1.0)


def _weights(text: str) -> dict[str, float]:
    weights = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, weight = part.rpartition("=")
        if not name or not re.fullmatch(r"\d+(\.\d+)?", weight) or float(weight) == 0:
            raise BoundsError(f"{PREFIX}WEIGHTS: {part!r} is not a replica and its weight, such as app1=3")
        weights[name] = float(weight)
    return weights

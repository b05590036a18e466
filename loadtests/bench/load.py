"""Cases loaded by wrk: CPU per request at saturation, and response times at half of nginx's saturation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtests import wrk
from loadtests.bench import scripts
from loadtests.bench.case import Case
from loadtests.bench.figures import BASELINE, Figure
from loadtests.bench.stage import Running, Stage
from loadtests.errors import BenchError
from loadtests.wrk import WrkReport

GRACE_SECONDS = 20.0  # wrk waits for its last responses
SATURATION_SECONDS = 3
_MIB = 1024**2


@dataclass(frozen=True, kw_only=True)
class Load(Case):
    """wrk with keep-alive connections as fast as it goes. `script` makes the requests for a proxy's port."""

    script: Callable[[int], str] | None = None
    connections: int = 64

    def measure(self, stage: Stage, proxy: Running, seconds: int) -> dict[Figure, float]:
        report, cpu, others = run(stage, proxy, self.connections, seconds, self.text_for(stage, proxy))
        core = {Figure.CORE: cpu / report.seconds, Figure.OTHERS: others / report.seconds}
        if self.main is Figure.CPU_MIB:
            # By what was read, as at the end many bytes are of incomplete responses.
            read = report.read / _MIB
            return {Figure.CPU_MIB: cpu / read, Figure.MIB_RATE: read / report.seconds, **core}
        if report.requests == 0:
            raise BenchError(f"{proxy.row} answered no request within {seconds} s")
        return {
            Figure.CPU: cpu / report.requests,
            Figure.RATE: report.requests / report.seconds,
            **core,
            Figure.P50: report.p50,
            Figure.P99: report.p99,
        }

    def text_for(self, stage: Stage, proxy: Running) -> str:
        """The script for a proxy, "" for the same GET each time."""
        return self.script(proxy.port) if self.script is not None else ""


@dataclass(frozen=True, kw_only=True)
class Half(Load):
    """The same at half of the rate at which nginx needs its whole core."""

    main: Figure = Figure.P99

    def text_for(self, stage: Stage, proxy: Running) -> str:
        return scripts.paced(half_rate(stage, proxy), self.connections)


def half_rate(stage: Stage, proxy: Running) -> float:
    """Half of nginx's saturation in requests/s, measured with the first proxy, which must be nginx."""
    if "half" not in stage.shared:
        if proxy.row != BASELINE:
            raise BenchError(f"{BASELINE} must run first: half of its saturation is the load")
        report, _, _ = run(stage, proxy, 64, SATURATION_SECONDS, "")
        stage.shared["half"] = report.requests / report.seconds / 2
    return stage.shared["half"]


def run(
    stage: Stage, proxy: Running, connections: int, seconds: int, script: str
) -> tuple[WrkReport, float, float]:
    """wrk's report, and CPU seconds of the proxy and of others on its core; `BenchError` for any error."""
    argv = wrk.command(proxy.port, connections, seconds, _write(stage.directory, script), stage.scheme)
    spent = stage.load(proxy, argv, seconds + GRACE_SECONDS)
    report = wrk.parse(spent.output)
    if report.errors:
        raise BenchError(f"{proxy.row} failed under load: {', '.join(report.errors)}")
    if report.read == 0:
        raise BenchError(f"{proxy.row} sent nothing within {seconds} s")
    return report, spent.cpu, spent.others


def _write(directory: Path, script: str) -> Path | None:
    if not script:
        return None
    file = directory / "requests.lua"
    file.write_text(script)
    return file

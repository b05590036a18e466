"""The side-by-side benchmark (`make bench`): balancer, nginx, HAProxy, Caddy, and a naive proxy.

wrk and the origin share the first core; the proxy under load has the second one to itself, as the other
proxies are idle meanwhile. Rounds are interleaved (nginx, haproxy, ..., nginx, ...), figures are medians. The
main figure is the CPU time of the proxy's whole process tree per request, as a ratio to nginx. Exits 0 on
success, 1 on any error or if --check finds a missed bar, 130 on Ctrl-C.
"""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from loadtests import command
from loadtests.bench import cases, machine, page, report, verdict
from loadtests.bench import options as command_line
from loadtests.bench.case import OURS, Case, row_name
from loadtests.bench.contenders import Contender, available
from loadtests.bench.figures import Sample
from loadtests.bench.load import Load
from loadtests.bench.options import Options
from loadtests.bench.report import Result
from loadtests.bench.stage import Running, Stage, two_cores
from loadtests.errors import BenchError
from loadtests.processes import Processes

WARM_UP_SECONDS = 2


class Run:
    """One case with all its proxies."""

    def __init__(self, case: Case, options: Options, console: Console) -> None:
        self._case = case
        self._options = options
        self._console = console
        self._failures: dict[str, str] = {}  # a row that has failed once is not tried again

    def samples(self, contenders: Mapping[str, Contender], cores: tuple[int, int]) -> list[Sample]:
        """All samples, those of a round after one another."""
        case = self._case
        rows = [
            (row_name(name, variant), contender, settings)
            for name, contender in contenders.items()
            if name in case.proxies
            for variant, settings in (case.variants.items() if name in OURS else [("", {})])
        ]
        with (
            tempfile.TemporaryDirectory(prefix="balancer-bench-") as name,
            Processes(Path(name)) as processes,
        ):
            stage = Stage(processes, Path(name), case.setup, cores, case.pinned)
            stage.start_origin()
            running = {} if case.fresh else self._start(stage, rows)
            found = []
            for number in range(1, self._options.rounds + 1):
                for row in rows:
                    one = (
                        self._fresh(stage, row)
                        if case.fresh
                        else self._sample(stage, row[0], running.get(row[0]))
                    )
                    found.append(one)
                    line = report.sample_line(number, self._options.rounds, one)
                    self._console.print(line, highlight=False, soft_wrap=True)
        return found

    def _start(
        self, stage: Stage, rows: Sequence[tuple[str, Contender, Mapping[str, str]]]
    ) -> dict[str, Running]:
        running = {}
        for row, contender, settings in rows:
            try:
                running[row] = stage.start(row, contender, settings)
            except BenchError as error:
                self._failures[row] = _line(error)
        if self._case.warms_up:
            for proxy in running.values():
                # What fails here and is no accident fails again when it is measured.
                with contextlib.suppress(BenchError):
                    self._case.measure(stage, proxy, WARM_UP_SECONDS)
        return running

    def _fresh(self, stage: Stage, row: tuple[str, Contender, Mapping[str, str]]) -> Sample:
        if row[0] in self._failures:
            return Sample(row[0], {}, self._failures[row[0]])
        try:
            proxy = stage.start(*row)
        except BenchError as error:
            self._failures[row[0]] = _line(error)
            return Sample(row[0], {}, self._failures[row[0]])
        one = self._sample(stage, row[0], proxy)
        with contextlib.suppress(BenchError):  # a proxy that takes its time; it is ended with the case
            stage.end(proxy)
        return one

    def _sample(self, stage: Stage, row: str, proxy: Running | None) -> Sample:
        if row not in self._failures and proxy is not None:
            try:
                return Sample(row, self._case.measure(stage, proxy, self._options.seconds))
            except BenchError as error:
                self._failures[row] = _line(error)
        return Sample(row, {}, self._failures[row])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    options = command_line.parse(argv)
    console = Console(width=None if sys.stdout.isatty() else 120)
    return command.run("bench", lambda: _bench(options, console))


def _bench(options: Options, console: Console) -> int:
    facts, results = report.read_json(options.read) if options.read else _measure(options, console)
    for found in results:
        console.print(report.table(found))
        for remark in report.remarks(found):
            console.print(remark, highlight=False)
    if options.json is not None:
        report.write_json(options.json, facts, results)
    if options.write is not None:
        page.write(options.write, facts, results)
        if options.pictures is not None:
            _draw(options.pictures, results, options.write.with_suffix(""))
    return _judge(options, results, console)


def _measure(options: Options, console: Console) -> tuple[dict[str, str], list[Result]]:
    cores = two_cores()
    selected = [_changed(case, options) for case in cases.select(options.case)]
    contenders, left_out = available(options.proxies, options.compiled)
    for line in left_out:
        console.print(line, highlight=False)
    results = []
    for case in selected:
        console.print(f"{case.name}: {case.text}", highlight=False)
        samples = Run(case, options, console).samples(contenders, cores)
        results.append(report.result(case, options.rounds, options.seconds, samples))
    return machine.facts(tuple(contenders)), results


def _changed(case: Case, options: Options) -> Case:
    """The case with connections and body as the command line says, and without bars then."""
    if options.connections is None and options.body is None:
        return case
    if not isinstance(case, Load):
        raise BenchError(f"--connections and --body are for cases loaded by wrk, which {case.name} is not")
    setup = replace(case.setup, body=options.body or case.setup.body)
    return replace(case, setup=setup, connections=options.connections or case.connections, bars=())


def _judge(options: Options, results: Sequence[Result], console: Console) -> int:
    builds = [name for name in OURS if name in options.proxies]
    verdicts = [one for found in results for one in verdict.judge(found.case, found.rows, builds)]
    missed = [one for one in verdicts if not one.is_kept]
    for one in missed:
        console.print(str(one), highlight=False)
    if verdicts:
        console.print(f"{len(verdicts) - len(missed)} of {len(verdicts)} bars kept", highlight=False)
    if options.max_ratio is not None:
        _require_ratio(options.max_ratio, results)
    return int(options.check and bool(missed))


def _require_ratio(most: float, results: Sequence[Result]) -> None:
    for found in results:
        rows = {row.name: row for row in found.rows}
        own = rows.get("ours", rows.get("plain"))
        if own is None or own.ratio is None:
            raise BenchError(f"{found.case.name}: no ratio was measured for --max-ratio")
        if own.ratio > most:
            raise BenchError(f"{own.name} costs {own.ratio:.2f} times nginx; --max-ratio allows {most:.2f}")


def _line(error: BenchError) -> str:
    """The error with the tail of a log as one line."""
    return " ".join(str(error).split())


def _draw(python: Path, results: Sequence[Result], directory: Path) -> None:
    """Draw in a process with matplotlib, which is not among the packages for development."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as data:
        data.write(page.series(results))
        data.flush()
        script = Path(__file__).with_name("pictures.py")
        done = subprocess.run(
            [python, script, data.name, directory], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise BenchError(f"drawing failed: {done.stderr.strip()[-500:]}")


if __name__ == "__main__":
    sys.exit(main())

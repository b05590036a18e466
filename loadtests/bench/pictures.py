"""Draws the pictures of docs/bench.md with matplotlib, in an environment of its own: `.venv/bench`.

    python pictures.py SERIES.json DIRECTORY

Imports nothing else of the project.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # the backend must be chosen first

COLOURS = {"nginx": "#2e7d32", "haproxy": "#1565c0", "ours": "#c62828", "plain": "#ef6c00"}


def draw(title: str, rows: dict[str, list[tuple[int, float]]], file: Path) -> None:
    """One picture: a line for each proxy, both axes logarithmic."""
    figure, axes = pyplot.subplots(figsize=(7.0, 3.6), layout="constrained")
    for name, points in rows.items():
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, marker="o", label=name, color=COLOURS.get(name))
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({x for points in rows.values() for x, _ in points})
    axes.set_xticks(ticks, [f"{x:,}" for x in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(title)
    axes.set_ylabel("CPU µs per request")
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.yaxis.set_minor_formatter("{x:.0f}")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Draw every series."""
    document = json.loads(Path(sys.argv[1]).read_text())
    directory = Path(sys.argv[2])
    directory.mkdir(exist_ok=True)
    # The same data gives the same file.
    matplotlib.rcParams["svg.hashsalt"] = "balancer"
    matplotlib.rcParams["svg.fonttype"] = "none"
    for axis, rows in document["series"].items():
        draw(document["titles"][axis], rows, directory / f"{axis}.svg")


if __name__ == "__main__":
    main()

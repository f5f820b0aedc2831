"""The report as pictures (PNG)."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from bench.load import PERCENTILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.flatness import Flatness
    from bench.growth import Growth
    from bench.report import Report
    from bench.throughput import Throughput

__all__ = ["draw"]

_OURS, _BASELINE, _THEIRS = "#2563eb", "#9ca3af", "#d97706"


def draw(report: Report, directory: Path) -> Iterator[Path]:
    """Draw what was measured, each into a file of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    if report.throughput:
        yield _throughput(report.throughput, directory / "throughput.png")
        yield _latency(report.throughput, directory / "latency.png")
    if report.growth:
        yield _growth(report.growth, directory / "growth.png")
    if report.flatness:
        yield _flatness(report.flatness, directory / "flatness.png")


def _throughput(found: Throughput, path: Path) -> Path:
    names = list(found.measured)[::-1]
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(names) + 1.2), layout="constrained")
    rates = [found.rate(name) for name in names]
    rounds = [[one.rate for one in found.measured[name]] for name in names]
    lowest = [rate - min(seen) for rate, seen in zip(rates, rounds, strict=True)]
    highest = [max(seen) - rate for rate, seen in zip(rates, rounds, strict=True)]
    colors = [_color(name) for name in names]
    bars = axes.barh(names, rates, xerr=(lowest, highest), color=colors, ecolor="#374151")
    axes.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=4)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.1)
    axes.set_title("Answers a second: median, lowest and highest round", loc="left")
    return _save(figure, axes, path)


def _latency(found: Throughput, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for name in found.measured:
        if "asyncio" not in name or len(found.measured) < 2:
            values = [found.latency(name, percentile) for percentile in PERCENTILES]
            style = "--" if name.startswith("GET") else "-"
            axes.plot(("50", "90", "99", "99.9"), values, style, marker="o", label=name)
    axes.set_yscale("log")
    axes.set_xlabel("percentile")
    axes.set_ylabel("milliseconds")
    axes.legend(fontsize="small")
    axes.set_title("Time to the answer under full load", loc="left")
    return _save(figure, axes, path)


def _growth(found: Growth, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(9, 3.5), layout="constrained")
    axes.plot([issued for issued, _ in found.samples], [size for _, size in found.samples], color=_OURS)
    axes.axhline(found.start + 10, color=_THEIRS, linestyle="--", label="the bar: 10 MB more than at first")
    axes.set_ylim(0, max(found.start + 20, 1.1 * max(size for _, size in found.samples)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("tokens issued, caches full")
    axes.set_ylabel("resident megabytes")
    axes.legend(fontsize="small", loc="lower right")
    axes.set_title("Memory of one worker", loc="left")
    return _save(figure, axes, path)


def _flatness(found: Flatness, path: Path) -> Path:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True, layout="constrained")
    _flat(left, found.clients, "registered clients")
    label = "caches for half of those that ask"
    left.plot([max(found.clients)], [statistics.median(found.beyond)], "s", color=_THEIRS, label=label)
    left.legend(fontsize="small", loc="lower left")
    _flat(right, found.tokens, "live tokens of the client")
    left.set_ylabel("tokens a second")
    left.set_ylim(bottom=0)
    right.grid(axis="y", alpha=0.3)
    return _save(figure, left, path)


def _flat(axes: Axes, rates: Mapping[int, list[float]], name: str) -> None:
    for count, values in rates.items():
        axes.plot([count] * len(values), values, ".", color=_BASELINE)
    axes.plot(list(rates), [statistics.median(values) for values in rates.values()], marker="o", color=_OURS)
    axes.set_xscale("log")
    axes.set_xlabel(name)


def _color(name: str) -> str:
    if "auth/token" in name or "protected" in name:
        return _OURS
    return _BASELINE if "handler" in name else _THEIRS


def _save(figure: Figure, axes: Axes, path: Path) -> Path:
    axes.grid(axis="both", alpha=0.3)
    for one in figure.axes:
        one.spines[["top", "right"]].set_visible(False)
        one.set_axisbelow(True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path

"""``python -m bench``: measure, print, draw."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from bench import flatness, growth, refusals, restart, revocation, throughput
from bench.report import Bar, Report
from bench.run import Missing, Run, machine
from bench.scale import FULL, QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

SECTIONS: dict[str, Callable[[Run], Coroutine[object, object, None]]] = {
    "throughput": throughput.measure,
    "revocation": revocation.measure,
    "growth": growth.measure,
    "restart": restart.measure,
    "flatness": flatness.measure,
    "refusals": refusals.measure,
}
CACHE = Path(".bench")


@click.command()
@click.option("--quick", is_flag=True, help="Two minutes, not eighteen: to see that it works, not to quote.")
@click.option("--only", multiple=True, type=click.Choice(list(SECTIONS)), help="Measure this part only.")
@click.option("--check", is_flag=True, help="Exit with 1 if a bar is missed or was skipped.")
@click.option("--publish", "publishing", is_flag=True, help="Write all into docs/performance.md.")
def main(quick: bool, only: tuple[str, ...], check: bool, publishing: bool) -> None:
    """Measure Station against its bars and its peers, on this machine."""
    console, started = Console(width=120), time.monotonic()
    report = Report(machine())
    cache = CACHE.resolve()
    with tempfile.TemporaryDirectory(prefix="station-bench-") as directory:
        run = Run(QUICK if quick else FULL, cache, Path(directory), console, report)
        for name, measure in SECTIONS.items():
            if not only or name in only:
                _measure(run, name, measure)
    report.show(console)
    if report.has_plots or publishing:
        _draw(run, publishing=publishing)
    console.print(f"This took {time.monotonic() - started:.0f} s.")
    if check and not report.is_met:
        sys.exit("A bar is missed or was skipped.")


def _measure(run: Run, name: str, measure: Callable[[Run], Coroutine[object, object, None]]) -> None:
    """Measure one part; if it fails, say so among the bars and go on with the others."""
    try:
        asyncio.run(measure(run))
    except Missing as error:
        run.report.bars.append(Bar(name, None, 0, at_least=True, note=str(error)))
    except Exception as error:  # whatever a server under load comes up with
        run.console.print_exception()
        run.report.bars.append(Bar(name, None, 0, at_least=True, note=f"failed: {error!r}"[:100]))


def _draw(run: Run, *, publishing: bool) -> None:
    from bench import plots, publish  # noqa: PLC0415 - matplotlib comes with the extra bench

    for path in plots.draw(run.report, run.cache / "plots"):
        run.console.print(f"drawn: {path.relative_to(Path.cwd())}")
    if publishing:
        run.console.print(f"written: {publish.publish(run.report)}")


if __name__ == "__main__":
    main()

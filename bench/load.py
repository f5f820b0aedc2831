"""wrk: as many requests as a server answers, on a number of connections, for some seconds."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bench.run import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONNECTIONS", "PERCENTILES", "Load", "Measured", "find_wrk", "load"]

CONNECTIONS = 64
PERCENTILES = ("p50", "p90", "p99", "p999")
_SCRIPT = Path(__file__).parent / "wrk" / "load.lua"


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """What is asked: POSTs of the lines of the file ``forms``, at random, or GETs.

    After each answer a connection rests for ``pause`` milliseconds.
    """

    url: str
    forms: Path | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pause: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """What wrk saw: answers a second that were no refusals, and latencies in milliseconds by percentile."""

    answers: int
    rate: float
    refused: int
    latency: Mapping[str, float]


def find_wrk() -> str:
    """Where wrk is; raises `Missing`, which whoever needs it later should know at first."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise Missing("needs wrk: apt-get install wrk")
    return wrk


async def load(target: Load, seconds: int, *, connections: int = CONNECTIONS) -> Measured:
    """Load a server with one thread of wrk."""
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(_SCRIPT)]
    headers = [word for name, value in target.headers.items() for word in ("-H", f"{name}: {value}")]
    arguments = [str(target.pause), *([] if target.forms is None else [str(target.forms)])]
    process = await asyncio.create_subprocess_exec(
        find_wrk(), *options, *headers, target.url, "--", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    try:
        seen = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        raise RuntimeError(f"wrk failed: {output.decode(errors='replace')}") from None
    assert not seen["broken"], output.decode()
    successes = seen["answers"] - seen["refused"]
    return Measured(
        answers=successes,
        rate=successes / seen["microseconds"] * 1_000_000,
        refused=seen["refused"],
        latency={name: seen[name] / 1000 for name in PERCENTILES},
    )

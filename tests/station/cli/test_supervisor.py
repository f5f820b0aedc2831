from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# in a process of its own: the tests' process has threads, and must not be forked
SCRIPT = """
import logging, os, signal, sys, time
SUPERVISOR = os.getpid()
from station.cli.supervisor import Supervisor
from station.errors import StartError

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # one write: several processes print

def drain(*_):
    say("drained", number)
    os._exit(0)

def work(worker, ready):
    global number
    number = worker.number
    signal.signal(signal.SIGTERM, drain)
    say("worker", worker.number, os.getpid(), worker.supervisor_pid == SUPERVISOR)
WORK

logging.basicConfig(level=logging.INFO, format="%(message)s")
try:
    Supervisor(2, work, lambda: say("cleaned up"), drain_seconds=0.5).run(lambda: say("all serve"))
except StartError as error:
    say("cannot start:", *error.problems)
"""
SERVE = "ready()\nwhile True: time.sleep(60)"


class Supervised(subprocess.Popen[str]):
    """A supervisor of two workers."""

    def line(self) -> str:
        assert self.stdout is not None
        return self.stdout.readline().rstrip("\n")

    def pids(self) -> dict[str, int]:
        """Read what two workers say when they start, and that all serve."""
        said = [self.line() for _ in range(2)]
        assert self.line() == "all serve"
        assert all(words.endswith("True") for words in said)
        return {words.split()[1]: int(words.split()[2]) for words in said}

    def rest(self) -> tuple[list[str], str]:
        """What is printed and logged until the end."""
        out, log = self.communicate()
        return out.splitlines(), log


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Callable[[str], Supervised]]:
    started: list[Supervised] = []
    watchdogs = []

    def start(work: str) -> Supervised:
        script = SCRIPT.replace("WORK", textwrap.indent(textwrap.dedent(work), "    "))
        command = [sys.executable, "-c", script, str(tmp_path)]
        process = Supervised(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watchdogs.append(threading.Timer(30, process.kill))
        watchdogs[-1].start()
        started.append(process)
        return process

    yield start
    for watchdog, process in zip(watchdogs, started, strict=True):
        watchdog.cancel()
        with process:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_drain_at_a_signal(supervised: Callable[[str], Supervised], number: signal.Signals) -> None:
    process = supervised(SERVE)
    assert set(process.pids()) == {"0", "1"}
    process.send_signal(number)
    process.send_signal(number)  # the impatient change nothing
    out, _ = process.rest()
    assert (set(out[:2]), out[2:]) == ({"drained 0", "drained 1"}, ["cleaned up"])
    assert process.returncode == 0


def test_the_terminals_interrupt_reaches_workers_through_the_supervisor(
    supervised: Callable[[str], Supervised],
) -> None:
    process = supervised(SERVE)
    for pid in process.pids().values():
        os.kill(pid, signal.SIGINT)
    process.terminate()
    out, _ = process.rest()
    assert (set(out[:2]), out[2:]) == ({"drained 0", "drained 1"}, ["cleaned up"])


def test_a_dead_worker_is_replaced_under_its_number(supervised: Callable[[str], Supervised]) -> None:
    process = supervised(SERVE)
    pids = process.pids()
    os.kill(pids["1"], signal.SIGKILL)
    again = process.line()
    assert re.fullmatch(r"worker 1 \d+ True", again)
    assert str(pids["1"]) not in again
    process.terminate()
    out, log = process.rest()
    assert (set(out[:2]), out[2:]) == ({"drained 0", "drained 1"}, ["cleaned up"])
    assert f"worker 1 (pid {pids['1']}) was killed by signal 9." in log


def test_replacements_that_end_at_once_come_more_and_more_slowly(
    supervised: Callable[[str], Supervised],
) -> None:
    # the first two make a directory and serve on; who finds it is a replacement
    process = supervised(
        """
        mark = f"{sys.argv[1]}/{worker.number}"
        ready()
        if os.path.exists(mark):
            sys.exit(3)
        os.mkdir(mark)
        while True: time.sleep(60)
        """
    )
    os.kill(process.pids()["0"], signal.SIGKILL)
    for _ in range(3):
        assert process.line().startswith("worker 0 ")
    process.terminate()
    out, log = process.rest()
    assert "drained 1" in out
    assert re.findall(r"The next one starts in ([\d.]+) s", log)[:3] == ["0.25", "0.50", "1.00"]


def test_what_keeps_all_from_starting_is_said_once(supervised: Callable[[str], Supervised]) -> None:
    process = supervised("raise StartError(['One thing is wrong.', 'And another.'])")
    out, log = process.rest()
    assert [line for line in out if line.startswith("cannot")] == [
        "cannot start: One thing is wrong. And another."
    ]
    assert "cleaned up" in out
    assert "all serve" not in out
    assert "Traceback" not in log


def test_one_that_cannot_start_ends_the_others(supervised: Callable[[str], Supervised]) -> None:
    process = supervised(f"if worker.number: os._exit(4)\n{SERVE}")
    out, _ = process.rest()
    assert out[-1] == (
        "cannot start: A worker ended with exit code 4 before all served; the log above may say why."
    )
    assert "drained 0" in out


def test_an_error_that_nobody_expected_is_in_the_log(supervised: Callable[[str], Supervised]) -> None:
    process = supervised("1 / 0")
    out, log = process.rest()
    assert out[-1].startswith("cannot start: A worker ended with exit code 1")
    assert "ZeroDivisionError" in log


def test_one_that_does_not_drain_is_killed(supervised: Callable[[str], Supervised]) -> None:
    process = supervised(f"if worker.number: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SERVE}")
    pids = process.pids()
    process.terminate()
    out, log = process.rest()
    assert out == ["drained 0", "cleaned up"]
    assert f"worker 1 (pid {pids['1']}) hangs and is killed" in log
    assert process.returncode == 0


def test_workers_drain_when_the_supervisor_is_killed(supervised: Callable[[str], Supervised]) -> None:
    process = supervised(f"if worker.number: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SERVE}")
    process.pids()
    process.kill()
    out, _ = process.rest()  # up to the end of both workers, also of the one that hangs
    assert out == ["drained 0"]

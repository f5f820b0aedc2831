"""Several processes that serve, forked, watched and replaced by one that does nothing else.

`tornado.process.fork_processes` was looked at: it replaces dead workers too, but it drains nobody, learns
neither that a worker serves nor why it could not, never waits before the next attempt, and leaves orphans
when it is killed. `multiprocessing` replaces nobody.

The supervisor opens no client and runs no event loop before a fork: what it holds, workers inherit. Three
channels tell the rest:

- The lifeline, a pipe whose other end the supervisor alone holds: a worker reads the end of it when the
  supervisor is gone, a ``kill -9`` included, and drains by itself.
- A report from each worker, a pipe: a JSON list of what is wrong if it cannot start, empty when it serves.
- Python's own wake-up for signals.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from station.errors import StartError
from station.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Supervisor"]

_log = logging.getLogger(__name__)
_DRAIN_SECONDS = 8.0  # of ten: the engines may have to be stopped after it
_SETTLED_SECONDS = 5.0
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.25, 2.0
_STOP = (signal.SIGTERM, signal.SIGINT)
_SIGNALS = (*_STOP, signal.SIGCHLD)


@dataclasses.dataclass(slots=True)
class _Slot:
    """The place of one worker: the process that has it now, or when the next one is due."""

    number: int
    pid: int | None = None
    report: int = -1
    started: float = 0.0
    serves: bool = False
    problems: list[str] = dataclasses.field(default_factory=list)
    failures: int = 0
    due: float = 0.0


class Supervisor:
    """Keeps ``count`` processes at ``work``, which gets its `Worker` and calls what it gets when it serves.

    ``work`` ends by itself when the process gets SIGTERM. ``cleanup`` runs in the supervisor when all are
    gone; signals do not interrupt it.
    """

    _lifeline: int
    _end_of_lifeline: int
    _selector: selectors.BaseSelector
    _wakeup: socket.socket

    def __init__(
        self,
        count: int,
        work: Callable[[Worker, Callable[[], None]], None],
        cleanup: Callable[[], None],
        *,
        drain_seconds: float = _DRAIN_SECONDS,
    ) -> None:
        self._work = work
        self._cleanup = cleanup
        self._drain_seconds = drain_seconds
        self._pid = os.getpid()
        self._slots = [_Slot(number) for number in range(count)]
        self._stopping = False
        self._ready = False

    def run(self, ready: Callable[[], None]) -> None:
        """Keep them at it until SIGTERM or SIGINT, then let them drain; one that hangs is killed.

        ``ready`` is called once, when all serve. Raises `StartError` if one ends before that; later on, one
        that ends is replaced, with a growing delay while replacements end at once.
        """
        # What exists now is never collected: the collector would write to every page that is still shared.
        gc.collect()
        gc.freeze()
        self._lifeline, self._end_of_lifeline = os.pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, self._lifeline)
            stack.callback(os.close, self._end_of_lifeline)
            self._selector = stack.enter_context(selectors.DefaultSelector())
            self._wakeup = stack.enter_context(_wakeup())
            self._selector.register(self._wakeup, selectors.EVENT_READ)
            stack.callback(self._cleanup)
            stack.callback(self._stop)
            while not self._stopping:
                self._start_due()
                self._wait(self._next_due())
                self._look_after()
                if not self._ready and all(slot.serves for slot in self._slots):
                    self._ready = True
                    ready()

    def _start_due(self) -> None:
        for slot in self._slots:
            if slot.pid is None and slot.due <= time.monotonic():
                self._fork(slot)

    def _next_due(self) -> float | None:
        due = [slot.due for slot in self._slots if slot.pid is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _wait(self, seconds: float | None) -> None:
        """Wait for a signal or a report."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._wakeup:
                numbers = self._wakeup.recv(4096)
                self._stopping = self._stopping or any(number in numbers for number in _STOP)
            else:
                # heard, or the process is gone: that says SIGCHLD
                self._selector.unregister(key.fileobj)

    def _look_after(self) -> None:
        """Hear who serves, and who has ended."""
        for slot in self._slots:
            if slot.pid is None:
                continue
            ended, status = os.waitpid(slot.pid, os.WNOHANG)
            self._hear(slot)
            if ended:
                self._ended(slot, os.waitstatus_to_exitcode(status))

    def _hear(self, slot: _Slot) -> None:
        said = b""
        with contextlib.suppress(BlockingIOError):
            said = os.read(slot.report, 65536)
        for line in said.splitlines():
            slot.problems = json.loads(line)
            if not slot.problems:
                slot.serves = True
                _log.info("worker %d (pid %d) serves", slot.number, slot.pid)

    def _ended(self, slot: _Slot, code: int) -> None:
        """Think about the next process of the slot, if there is to be one."""
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        who = f"worker {slot.number} (pid {slot.pid})"
        if slot.report in self._selector.get_map():
            self._selector.unregister(slot.report)
        os.close(slot.report)
        settled = slot.serves and time.monotonic() - slot.started > _SETTLED_SECONDS
        slot.pid, slot.serves, slot.failures = None, False, 0 if settled else slot.failures + 1
        if self._stopping:
            _log.info("%s %s", who, how)
            return
        if not self._ready:
            raise StartError(
                slot.problems or [f"A worker {how} before all served; the log above may say why."]
            )
        delay = 0.0 if settled else min(_FIRST_BACK_OFF * 2 ** (slot.failures - 1), _LONGEST_BACK_OFF)
        slot.due = time.monotonic() + delay
        why = " ".join([f"{how}.", *slot.problems])
        _log.warning("%s %s The next one starts in %.2f s.", who, why, delay)

    def _stop(self) -> None:
        """Let all drain, and kill those that have not after a while."""
        self._stopping = True
        self._tell_all(signal.SIGTERM)
        deadline = time.monotonic() + self._drain_seconds
        while any(slot.pid for slot in self._slots) and time.monotonic() < deadline:
            self._wait(deadline - time.monotonic())
            self._look_after()
        for slot in self._slots:
            if slot.pid:
                _log.warning("worker %d (pid %d) hangs and is killed", slot.number, slot.pid)
                os.kill(slot.pid, signal.SIGKILL)
                os.waitpid(slot.pid, 0)
                os.close(slot.report)

    def _tell_all(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)

    def _fork(self, slot: _Slot) -> None:
        slot.report, report = os.pipe()
        os.set_blocking(slot.report, False)
        # A signal between the fork and the worker's own handlers must not wake the supervisor.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._be_worker(slot, report)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(report)
        slot.pid, slot.started, slot.problems = pid, time.monotonic(), []
        self._selector.register(slot.report, selectors.EVENT_READ)

    def _be_worker(self, slot: _Slot, report: int) -> NoReturn:
        """Work, and leave without what the supervisor would do when it leaves."""
        code = 1
        try:
            self._leave_supervisor()
            self._work(Worker(slot.number, self._pid), lambda: _tell(report, []))
            code = 0
        except StartError as error:
            _tell(report, list(error.problems))
        except BaseException:
            _log.exception("worker %d failed", slot.number)
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    def _leave_supervisor(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Ctrl-C reaches every process of the terminal; the supervisor passes on what is to be done.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(self._end_of_lifeline)
        threading.Thread(
            target=_watch, args=[self._lifeline, self._drain_seconds], daemon=True, name="lifeline"
        ).start()


def _tell(report: int, problems: list[str]) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(report, json.dumps(problems).encode() + b"\n")


def _watch(lifeline: int, drain_seconds: float) -> None:
    """Drain when the supervisor is gone, and end anyhow if that hangs (a thread: the loop may hang)."""
    os.read(lifeline, 1)
    _log.warning("the supervisor is gone; draining")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(drain_seconds)
    os._exit(1)


@contextlib.contextmanager
def _wakeup() -> Iterator[socket.socket]:
    """A socket on which every signal arrives as a byte, its number."""
    receiver, sender = socket.socketpair()
    with receiver, sender:
        receiver.setblocking(False)
        sender.setblocking(False)
        wakeup_before = signal.set_wakeup_fd(sender.fileno())
        handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        try:
            yield receiver
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)

"""What is asynchronous, kept open in a thread for those who are not."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

__all__ = ["kept_open"]

T = TypeVar("T")


@contextlib.contextmanager
def kept_open(opening: AbstractAsyncContextManager[T]) -> Iterator[tuple[T, asyncio.AbstractEventLoop]]:
    """Enter ``opening`` on an event loop of its own, which runs in a thread until the block ends.

    What it raises when it is entered or left is raised here.
    """
    opened: Future[tuple[T, asyncio.AbstractEventLoop]] = Future()
    leave = threading.Event()

    async def run() -> None:
        async with opening as value:
            opened.set_result((value, asyncio.get_running_loop()))
            await asyncio.to_thread(leave.wait)

    with ThreadPoolExecutor(1, thread_name_prefix="station-testing") as thread:
        ended = thread.submit(asyncio.run, run())
        either: list[Future[Any]] = [opened, ended]
        wait(either, return_when=FIRST_COMPLETED)
        if not opened.done():
            ended.result()
        try:
            yield opened.result()
        finally:
            leave.set()
            ended.result()

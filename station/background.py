"""Work that goes on beside a context, and ends with it.

::

    async with in_background(self._keep_flushing()):
        ...
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

__all__ = ["in_background"]

_LOST_AFTER_SECONDS = 1.0


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, object]) -> AsyncIterator[asyncio.Task[object]]:
    """Run ``work`` until the context ends, which cancels it and waits for its end, however that is."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        # not awaited: to suppress its CancelledError would also suppress one that is meant for the caller
        try:
            while not task.done():
                task.cancel()
                # again, because it may get lost: in asyncio.wait_for before Python 3.12, for one
                await asyncio.wait([task], timeout=_LOST_AFTER_SECONDS)
        finally:
            task.cancel()

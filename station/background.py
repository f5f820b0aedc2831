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


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, object]) -> AsyncIterator[asyncio.Task[object]]:
    """Run ``work`` until the context ends, which cancels it and waits for its end, however that is."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        # gathered: to suppress a CancelledError here would also suppress one that is meant for the caller
        await asyncio.gather(task, return_exceptions=True)

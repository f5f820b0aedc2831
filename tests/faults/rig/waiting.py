"""Requests that lie in a process's sockets while it is stopped: it answers them first when it wakes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from traffic import Token

__all__ = ["Waiting"]

_PATIENCE = 10.0


class Waiting:
    """Requests for a protected handler, one a connection; `answers` waits for all of them."""

    def __init__(self) -> None:
        self._sent: list[tuple[Token, asyncio.StreamReader]] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, station: str, *tokens: Token, each: int) -> AsyncIterator[Waiting]:
        """Send the requests, so many with each token, in turn."""
        waiting, address = cls(), urlsplit(station)
        writers = []
        try:
            for token in tokens * each:
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                writers.append(writer)
                writer.write(
                    f"GET /demo/greeting HTTP/1.1\r\nHost: station\r\nConnection: close\r\n"
                    f"Authorization: Bearer {token.access_token}\r\n\r\n".encode()
                )
                await writer.drain()
                waiting._sent.append((token, reader))
            yield waiting
        finally:
            for writer in writers:
                writer.close()

    async def answers(self) -> list[tuple[Token, int]]:
        """Which token got which status."""
        async with asyncio.timeout(_PATIENCE):
            heads = await asyncio.gather(*(reader.readline() for _, reader in self._sent))
        return [(token, int(head.split()[1])) for (token, _), head in zip(self._sent, heads, strict=True)]

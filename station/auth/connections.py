"""SessionConnections: closes WebSockets and streams of people whose session has ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from station.auth.errors import LoginRequired
from station.background import in_background
from station.errors import Forbidden, ResponseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from station.auth.models import User
    from station.auth.tokens import AccessClaims
    from station.connections import Connection

__all__ = ["SessionConnections"]

_log = logging.getLogger(__name__)
_ROUND_SECONDS = 0.4
_PAUSE_SECONDS = 0.01  # a look takes half a millisecond: that of 5 % of the time, however many there are


class SessionConnections:
    """Looks at the sessions of open connections again and again, one after the other.

    ``find`` is how: it returns the account of a live session, and raises for any other. A round takes a
    second for fifty sessions, and 10 ms more for each that comes on top. The access token's expiry ends
    nothing, since the session goes on with the next one.
    """

    def __init__(self, find: Callable[[AccessClaims], Awaitable[User]]) -> None:
        self._find = find
        self._open: dict[AccessClaims, dict[Connection, bool]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def watch(self, connection: Connection, claims: AccessClaims | None, *, admin: bool) -> None:
        """Close ``connection`` once the session has ended, or the role with it that it was opened for.

        None stands for a token that has expired meanwhile.
        """
        if claims is None:
            asyncio.get_running_loop().call_soon(connection.refuse, LoginRequired())
            return
        self._open.setdefault(claims, {})[connection] = admin
        connection.on_end(lambda ended: self._forget(claims, ended))

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look and close for as long as the context is open."""
        async with in_background(self._keep_looking()):
            yield

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            for claims in list(self._open):
                try:
                    await self._look(claims)
                except Exception:
                    _log.exception("the session of an open connection could not be looked at")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _look(self, claims: AccessClaims) -> None:
        refused: ResponseError | None = None
        user: User | None = None
        try:
            user = await self._find(claims)
        except ResponseError as error:
            refused = error
        for connection, admin in list(self._open.get(claims, {}).items()):
            connection.handler.current_user = user
            if refused is not None:
                connection.refuse(refused)
            elif admin and user is not None and not user.is_admin:
                connection.refuse(Forbidden("This needs the role admin."))

    def _forget(self, claims: AccessClaims, connection: Connection) -> None:
        same = self._open[claims]
        del same[connection]
        if not same:
            del self._open[claims]

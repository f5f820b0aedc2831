"""LongLivedConnections: closes WebSockets and streams whose token would be refused by now."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from typing import TYPE_CHECKING

from plugins.oauth_m2m import reasons
from plugins.oauth_m2m.errors import InsufficientScope, InvalidToken, OAuthError, from_response_error
from plugins.oauth_m2m.models import ClientChanged, TokenRevoked
from station.background import in_background
from station.errors import ResponseError, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.oauth_m2m.mirror import ClientCache, Follower
    from plugins.oauth_m2m.models import Change, ClientToken
    from plugins.oauth_m2m.tokens import TokenService
    from station.connections import Connection

__all__ = ["LongLivedConnections", "demand_scopes"]

_log = logging.getLogger(__name__)
_SWEEP_SECONDS = 0.4
_ANSWER_SECONDS = 0.4
_AT_ONCE = 8  # a signature takes 46 us, and the loop is not to be held for a millisecond
_LOOKS_A_TURN = 500
_NOT_KNOWN = ""


def demand_scopes(token: ClientToken, needed: frozenset[str]) -> None:
    """Raise `InsufficientScope` unless ``token`` holds all that are ``needed``."""
    if missing := needed - token.scopes:
        reason = reasons.lacks_scopes(token.client_id, sorted(missing))
        raise InsufficientScope(sorted(needed), reason)


@dataclasses.dataclass(eq=False, slots=True)
class _Watched:
    """A connection, what opened it and what it needs; ``document_id`` is the client's in MongoDB."""

    connection: Connection
    access_token: str = dataclasses.field(repr=False)
    token: ClientToken
    needed: frozenset[str]
    document_id: str = _NOT_KNOWN


class _Index:
    """Those that are watched, by something they have in common."""

    def __init__(self) -> None:
        self._by: dict[str, set[_Watched]] = {}

    def __len__(self) -> int:
        return len(self._by)

    def of(self, key: str) -> frozenset[_Watched]:
        return frozenset(self._by.get(key, ()))

    def add(self, key: str, watched: _Watched) -> None:
        self._by.setdefault(key, set()).add(watched)

    def remove(self, key: str, watched: _Watched) -> None:
        same = self._by[key]
        same.remove(watched)
        if not same:
            del self._by[key]


class LongLivedConnections:
    """Verifies the token of a connection again whenever a change concerns it, and closes what is refused.

    A change of MongoDB comes by ``follower``: what it names is verified at once, and everything if it may
    concern everything. Twice a second all are looked at for what comes with time alone: their expiry, by the
    wall clock, which may jump, and how long MongoDB has been silent.
    """

    def __init__(self, tokens: TokenService, *, clients: ClientCache, follower: Follower) -> None:
        self._tokens = tokens
        self._clients = clients
        self._follower = follower
        self._all: set[_Watched] = set()
        self._by_jti, self._by_document = _Index(), _Index()
        self._new: set[_Watched] = set()
        self._concerned: set[_Watched] = set()
        self._perhaps_concerned: set[_Watched] = set()
        self._news = asyncio.Event()
        follower.watch(self._changed)

    def __len__(self) -> int:
        return len(self._all)

    def watch(
        self, connection: Connection, access_token: str, token: ClientToken, needed: frozenset[str]
    ) -> None:
        """Close ``connection`` once ``access_token`` is refused, or does not hold the scopes ``needed``."""
        watched = _Watched(connection, access_token, token, needed)
        self._all.add(watched)
        self._by_jti.add(token.jti, watched)
        self._by_document.add(_NOT_KNOWN, watched)
        self._locate(watched)
        # what has changed since it was verified, nobody has told
        self._new.add(watched)
        connection.on_end(lambda _: self._forget(watched))

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Verify and close for as long as the context is open."""
        async with in_background(self._keep_verifying()), in_background(self._keep_sweeping()):
            yield

    def _changed(self, change: Change | None) -> None:
        match change:
            case TokenRevoked(forgotten=True):
                return
            case TokenRevoked(jti=jti):
                self._concerned |= self._by_jti.of(jti)
            case ClientChanged(id=document_id):
                self._concerned |= self._by_document.of(document_id) | self._by_document.of(_NOT_KNOWN)
            case _:
                self._perhaps_concerned |= self._all
        self._news.set()

    async def _keep_verifying(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while waiting := self._concerned or self._perhaps_concerned:
                batch = [waiting.pop() for _ in range(min(_AT_ONCE, len(waiting)))]
                await asyncio.gather(*map(self._verify, batch))

    async def _verify(self, watched: _Watched) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                token = await self._tokens.verify(watched.access_token)
            demand_scopes(token, watched.needed)
        except ResponseError as error:
            self._close(watched, error)
        except Exception as error:
            if not isinstance(error, TimeoutError):
                _log.exception("the token of an open connection could not be verified")
            self._close(watched, ServiceUnavailable("The token could not be verified."))
        else:
            watched.connection.handler.client_token = token  # type: ignore[attr-defined] # as the decorator does
            self._locate(watched)

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self._sweep()
            except Exception:
                _log.exception("the open connections could not be looked at")

    async def _sweep(self) -> None:
        if self._new:
            self._concerned |= self._new
            self._new.clear()
            self._news.set()
        unavailable = self._unavailable()
        looked = 0
        for watched in list(self._all):
            looked += 1
            if not watched.connection.is_open:
                watched.connection.end()
            elif unavailable is not None or watched.token.exp <= time.time():
                self._close(
                    watched, unavailable or InvalidToken(reasons.expired_token(watched.token.client_id))
                )
                looked += _LOOKS_A_TURN // _AT_ONCE  # which takes so much longer
            if looked >= _LOOKS_A_TURN:
                looked = 0
                await asyncio.sleep(0)

    def _unavailable(self) -> ServiceUnavailable | None:
        try:
            self._follower.check()
        except ServiceUnavailable as error:
            return error
        return None

    def _close(self, watched: _Watched, error: ResponseError) -> None:
        code = (error if isinstance(error, OAuthError) else from_response_error(error)).code
        detail = {"jti": watched.token.jti, "error": code}
        watched.connection.refuse(error, code, client_id=watched.token.client_id, detail=detail)

    def _locate(self, watched: _Watched) -> None:
        """Find out by which document changes of its client are told; it may not be in memory right now."""
        client = self._clients.peek(watched.token.client_id)
        if client is not None and client.id != watched.document_id and watched in self._all:
            self._by_document.remove(watched.document_id, watched)
            watched.document_id = client.id
            self._by_document.add(client.id, watched)

    def _forget(self, watched: _Watched) -> None:
        self._all.discard(watched)
        self._by_jti.remove(watched.token.jti, watched)
        self._by_document.remove(watched.document_id, watched)
        for waiting in (self._new, self._concerned, self._perhaps_concerned):
            waiting.discard(watched)

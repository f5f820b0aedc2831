"""What makes a server throttle: rows T16, C16 and I6, which run last and only with ``--flood``."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.needs import Need
from plugins.oauth_m2m.conformance.rows import Failed, Skipped, row
from plugins.oauth_m2m.conformance.server import basic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from plugins.oauth_m2m.conformance.server import Server
    from plugins.oauth_m2m.conformance.wire import Answer

_WRONG = "not-a-secret-of-this-client-0123456789"
_MOST = 120
_MOST_INTROSPECTIONS = 1000
_AT_ONCE = 10


async def _flood(ask: Callable[[], Awaitable[Answer]], most: int = _MOST) -> Answer | None:
    """Ask until the server answers 429; None if it never does."""
    for _ in range(0, most, _AT_ONCE):
        for answer in await asyncio.gather(*(ask() for _ in range(_AT_ONCE))):
            if answer.status == 429:
                return answer
    return None


def _throttled(answer: Answer | None, what: str, most: int = _MOST) -> None:
    if answer is None:
        raise Failed(f"{what}: {most} requests and no 429")
    seconds = answer.header("Retry-After")
    expect.that(re.fullmatch(r"[1-9]\d*", seconds), f"{what}: the 429 has no Retry-After", answer)


@row("T16", Need.FLOOD, Need.ADMIN, unseen="TLS in production, and what a trusted proxy says")
async def forwarded_headers_of_a_stranger(server: Server) -> None:
    client = await server.admin.register()

    async def ask() -> Answer:
        return await server.ask(client=client, patient=False)

    if await _flood(ask) is None:
        raise Skipped(f"the server throttles nothing: {_MOST} requests of one client and no 429")
    for number in range(3):
        forged = (
            ("X-Forwarded-For", f"198.51.100.{number}"),
            ("Forwarded", f"for=198.51.100.{number};proto=https"),
        )
        answer = await server.ask(client=client, patient=False, headers=forged)
        expect.status(answer, 429, case="under a forged X-Forwarded-For")


@row("I6", Need.FLOOD, Need.INTROSPECTION)
async def introspection_is_throttled(server: Server) -> None:
    client = await server.client()
    url = server.endpoints.introspection or ""

    async def ask() -> Answer:
        return await server.post(url, {"token": "x"}, client=client, patient=False)

    found = await _flood(ask, _MOST_INTROSPECTIONS)
    _throttled(found, "introspection", _MOST_INTROSPECTIONS)


@row("C16", Need.FLOOD, Need.ADMIN)
async def guessing_is_limited(server: Server) -> None:
    client = await server.admin.register()
    wrong = basic(client.id, _WRONG)

    async def guess(url: str) -> Answer:
        form = {"grant_type": "client_credentials", "token": "x"}
        return await server.post(url, form, authorization=wrong, patient=False)

    for url in server.endpoints.oauth:
        _throttled(await _flood(lambda url=url: guess(url)), f"wrong secrets at {url}")  # type: ignore[misc] # bound

    async def guess_key() -> Answer:
        headers = [("x-internal-api-key", _WRONG)]
        return await server.admin.call("GET", f"/{client.id}", headers=headers, patient=False)

    _throttled(await _flood(guess_key), "wrong admin keys")

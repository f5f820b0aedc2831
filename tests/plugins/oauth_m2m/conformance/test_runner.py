"""A run ends with a fate for every row, whatever the server says, and within the time it was given."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from plugins.oauth_m2m.conformance import Client, read_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.plugins.oauth_m2m.conformance.conftest import Check, Passing, Proxy

NOWHERE = "http://127.0.0.1:1"
CLIENT = Client("a-bot", "a-client-secret-for-the-tests-0123456789", ("a", "b"))
ENDPOINTS = {
    "revocation": "/revoke",
    "introspection": "/introspect",
    "jwks": "/jwks",
    "resource": "/me",
    "token": "/token",
}
ODD_TOKEN = "e30.eyJhdWQiOiBbXSwgImlhdCI6ICJ4In0.x"


def everywhere(url: str) -> dict[str, str]:
    """Endpoints of a server that does not describe itself."""
    return {name: url + path for name, path in {**ENDPOINTS, "scoped_resource": "/scoped"}.items()}


NONSENSE: dict[str, tuple[int, object, str]] = {
    "an array": (200, [], "application/json"),
    "null": (200, None, "application/json"),
    "a page": (500, "<html>", "text/html"),
    "a number for a token": (200, {"access_token": 5, "active": "x", "keys": 5}, "application/json"),
    "an odd token": (
        200,
        {"access_token": ODD_TOKEN, "active": True, "keys": [5, {"kty": []}], "scope": []},
        "application/json",
    ),
    "odd errors": (401, {"error": ["invalid_client"], "error_description": {}}, "application/json"),
    "a teapot": (418, {"error": "invalid_client"}, "application/json"),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.gen_test
async def test_nonsense_fails_rows_and_breaks_nothing(
    proxy: Proxy, check: Check, nonsense: tuple[int, Any, str]
) -> None:
    def answer(p: Passing) -> None:
        p.answer(*nonsense)
        p.set("WWW-Authenticate", 'Bearer realm=x, realm="', "Basic")

    async with proxy(NOWHERE, before=answer) as url:
        results = await check(url, client=CLIENT, endpoints=everywhere(url), scopes=CLIENT.scopes)
    assert list(results) == [row.id for row in read_rows()]
    failed = [result for result in results.values() if result.fate == "failed"]
    assert len(failed) > 30
    unexplained = [one.row.id for one in failed if not (one.reason and one.request and one.response)]
    assert unexplained == []


@contextlib.asynccontextmanager
async def hanging(after: int) -> AsyncIterator[str]:
    """A server that grants tokens, and hangs ``after`` so many connections."""
    count, released = 0, asyncio.Event()
    handling: set[asyncio.Task[Any] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        handling.add(asyncio.current_task())
        count += 1
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await reader.readuntil(b"\r\n\r\n")
            if count > after:
                await released.wait()
            body = b'{"access_token": "x", "token_type": "Bearer"}'
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
                body
            )
            writer.write(head + body)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        released.set()
        server.close()
        await asyncio.gather(*filter(None, handling))


@pytest.mark.gen_test
async def test_a_server_that_hangs_is_left_when_the_time_is_up(check: Check) -> None:
    async with hanging(after=5) as url:
        endpoints = dict.fromkeys(("token", "resource", "scoped_resource"), f"{url}/x")
        results = await check(url, "T1,T5,C1,C2,C5,C7", client=CLIENT, endpoints=endpoints, seconds=1.0)
    fates = {row: (result.fate, result.reason) for row, result in results.items()}
    assert fates["T1"] == ("passed", "")
    for row in ("C1", "C7"):
        assert fates[row] == ("skipped", "the time was up: raise --timeout")

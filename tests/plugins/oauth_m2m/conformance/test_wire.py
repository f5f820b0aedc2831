"""HTTP as bytes: what is sent is what was said, and nonsense that comes back is one sentence."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.conformance.wire import Answer, NoAnswer, Request, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OK = b"HTTP/1.1 200 OK\r\n"


@contextlib.asynccontextmanager
async def answering(answer: bytes, received: list[bytes] | None = None) -> AsyncIterator[str]:
    """A server that says this whatever it is asked, and then closes; None of it if it is to be silent."""
    done, closed = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (received if received is not None else []).append(head)
        if answer:
            writer.write(answer)
        else:
            await done.wait()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        done.set()
        await closed.wait()
        server.close()


async def ask(answer: bytes, method: str = "GET", seconds: float = 5.0) -> Answer:
    async with answering(answer) as url:
        return await Wire(seconds=seconds).send(Request(method, f"{url}/x"))


@pytest.mark.gen_test
async def test_a_request_goes_out_as_it_was_said() -> None:
    received: list[bytes] = []
    headers: tuple[tuple[str, str | bytes], ...] = (
        ("Authorization", "Basic x"),
        ("Authorization", b"Bearer \xff"),
    )
    async with answering(OK + b"Content-Length: 0\r\n\r\n", received) as url:
        await Wire().send(Request("POST", f"{url}/a%20b?c=d", headers, b"\xff"))
    [head] = received
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert first == b"POST /a%20b?c=d HTTP/1.1"
    assert lines[-2:] == [b"Authorization: Basic x", b"Authorization: Bearer \xff"]
    assert b"Content-Length: 1" in lines
    assert b"Connection: close" in lines


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK + b"Content-Length: 2\r\n\r\nabc", b"ab"),
        (OK + b"\r\nabc", b"abc"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", b"a"),
        (b"HTTP/1.1 204\r\nContent-Length: 5\r\n\r\n", b""),
    ],
)
@pytest.mark.gen_test
async def test_bodies_by_every_framing(answer: bytes, body: bytes) -> None:
    assert (await ask(answer)).body == body


@pytest.mark.gen_test
async def test_an_answer_to_head_has_no_body() -> None:
    assert (await ask(OK + b"Content-Length: 5\r\n\r\n", "HEAD")).body == b""


@pytest.mark.parametrize(
    "answer",
    [
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 999 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\nab",
        OK + b"Content-Length: -1\r\n\r\nab",
        OK + b"Content-Length: 99999999999\r\n\r\nab",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        OK + b"X: " + b"x" * 300_000 + b"\r\n\r\n",
        OK,
    ],
)
@pytest.mark.gen_test
async def test_nonsense_is_one_sentence(answer: bytes) -> None:
    with pytest.raises(NoAnswer, match=r"not HTTP|connection failed"):
        await ask(answer)


@pytest.mark.gen_test
async def test_who_hangs_is_not_waited_for() -> None:
    with pytest.raises(NoAnswer, match=r"no answer within 0\.2 seconds"):
        await ask(b"", seconds=0.2)


@pytest.mark.gen_test
async def test_headers_are_found_in_any_case_and_repeated() -> None:
    answer = await ask(OK + b"set-cookie: a\r\nSet-Cookie: b\r\nContent-Type: Text/HTML; x=y\r\n\r\n")
    assert (answer.all("SET-COOKIE"), answer.header("Set-Cookie")) == (["a", "b"], "a, b")
    assert (answer.media_type, answer.json) == ("text/html", None)

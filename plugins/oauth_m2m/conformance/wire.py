"""HTTP/1.1 as bytes: what rules send is what they say, repeated headers and broken ones included.

One connection for each request, bounded in time and size. No redirect is followed, no cookie is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import re
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Answer", "NoAnswer", "Request", "Wire", "header_lines"]

_MAX_HEAD = 128 * 1024
_MAX_BODY = 1024 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?")
_NO_BODY = {204, 304}


class NoAnswer(Exception):
    """No HTTP answer came; the text says what happened instead. ``request`` may not have left."""

    def __init__(self, why: str, request: Request) -> None:
        super().__init__(why)
        self.request = request


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What is sent; header values that are bytes go out as they are."""

    method: str
    url: str
    headers: tuple[tuple[str, str | bytes], ...] = ()
    body: bytes = b""

    @property
    def target(self) -> str:
        """The path with the query."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and the request that it answers."""

    request: Request
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of every header line of this name."""
        return [value for own, value in self.headers if own.lower() == name.lower()]

    def header(self, name: str) -> str:
        """The value of a header, joined by commas if it is repeated; empty if it is absent."""
        return ", ".join(self.all(name))

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    @property
    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Wire:
    """Sends requests, each for ``seconds`` at most; ``ca_file`` is trusted beside the usual authorities."""

    def __init__(self, *, ca_file: Path | None = None, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._ca_file = ca_file

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        return context

    async def send(self, request: Request) -> Answer:
        """Return the answer; raises `NoAnswer`."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._exchange(request)
        except TimeoutError:
            raise NoAnswer(f"no answer within {self._seconds:g} seconds", request) from None
        except ssl.SSLCertVerificationError as error:
            why = f"the certificate is not trusted: {error.verify_message}"
            raise NoAnswer(why, request) from error
        except ssl.SSLError as error:
            raise NoAnswer(f"TLS failed: {error.reason or error}", request) from error
        except OSError as error:
            raise NoAnswer(f"the connection failed: {_in_words(error)}", request) from error
        except UnicodeError as error:
            raise NoAnswer("that is no name of a host", request) from error
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise NoAnswer("what came back is not HTTP", request) from error

    async def _exchange(self, request: Request) -> Answer:
        parts = urlsplit(request.url)
        secure = parts.scheme == "https"
        reader, writer = await asyncio.open_connection(
            parts.hostname,
            parts.port or (443 if secure else 80),
            ssl=self._tls if secure else None,
            limit=_MAX_HEAD,
        )
        try:
            writer.write(_head(request, parts.netloc) + request.body)
            with contextlib.suppress(ConnectionError):  # refused before all was read: the answer says why
                await writer.drain()
            return await _read(reader, request)
        finally:
            writer.transport.abort()  # without waiting for a farewell: all that counts has been read
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _head(request: Request, host: str) -> bytes:
    names = {name.lower() for name, _ in request.headers}
    added: list[tuple[str, str | bytes]] = [("Connection", "close")]
    if "host" not in names:
        added.insert(0, ("Host", host.rpartition("@")[2]))
    if not names & {"content-length", "transfer-encoding"} and (request.body or request.method != "GET"):
        added.append(("Content-Length", str(len(request.body))))
    lines = [f"{request.method} {request.target} HTTP/1.1".encode()]
    for name, value in (*added, *request.headers):
        lines.append(f"{name}: ".encode() + (value if isinstance(value, bytes) else value.encode()))
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def _read(reader: asyncio.StreamReader, request: Request) -> Answer:
    while True:
        status, headers = _parse_head(await reader.readuntil(b"\r\n\r\n"))
        if status >= 200:
            break
    answer = Answer(request, status, headers, b"")
    if request.method == "HEAD" or status in _NO_BODY:
        return answer
    return dataclasses.replace(answer, body=await _read_body(reader, answer))


async def _read_body(reader: asyncio.StreamReader, answer: Answer) -> bytes:
    if answer.header("Transfer-Encoding").lower() == "chunked":
        return await _read_chunks(reader)
    length = answer.header("Content-Length")
    if not length:
        return await _at_most(reader)
    if not length.isascii() or not length.isdigit() or int(length) > _MAX_BODY:
        raise ValueError("a wrong Content-Length")
    return await reader.readexactly(int(length))


async def _at_most(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) <= _MAX_BODY and (more := await reader.read(65536)):
        body += more
    return body[:_MAX_BODY]


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0].strip(), 16):
        if size < 0 or len(body) + size > _MAX_BODY:
            raise ValueError("a wrong chunk")
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return body


def _parse_head(head: bytes) -> tuple[int, tuple[tuple[str, str], ...]]:
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise ValueError("a wrong status line")
    headers = []
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise ValueError("a wrong header line")
        headers.append((name.strip(), value.strip()))
    return int(status[1]), tuple(headers)


def _in_words(error: OSError) -> str:
    text = error.strerror or str(error) or type(error).__name__
    return text.removeprefix("[Errno None] ").rstrip(".")


def header_lines(headers: Sequence[tuple[str, str | bytes]]) -> list[str]:
    """Header lines as text, whatever bytes they hold."""
    return [
        f"{name}: {value.decode('latin-1') if isinstance(value, bytes) else value}" for name, value in headers
    ]

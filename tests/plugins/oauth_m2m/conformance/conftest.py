"""Running the rules against a server, and a proxy that spoils the answers of a good one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from plugins.oauth_m2m.conformance import Examination, Listener, examine, read_rows, select

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterable
    from typing import TypeAlias

    from leaks import Leaks

    from plugins.oauth_m2m.conformance import Result

    Spoil: TypeAlias = "Callable[[Passing], None]"

ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"


class Case(NamedTuple):
    """A server that breaks rules; of the rows that are checked, ``fails`` are those that must fail."""

    checked: str
    fails: str
    before: Spoil | None = None
    after: Spoil | None = None


class Check(Protocol):
    """Check these rows at a server with the admin key; more fields are those of `Examination`."""

    async def __call__(self, url: str, *only: str, **more: Any) -> dict[str, Result]: ...


@pytest.fixture
def waited() -> list[float]:
    """For how long throttles were waited for."""
    return []


@pytest.fixture
def left() -> list[str]:
    """The clients that a run could not delete."""
    return []


@pytest.fixture
def check(waited: list[float], left: list[str], leaks: Leaks) -> Check:
    """See `Check`; what a report shows of exchanges is searched for secrets, too."""

    async def run(url: str, *only: str, **more: Any) -> dict[str, Result]:
        if "client" not in more:
            more.setdefault("admin_key", ADMIN_KEY)
        asked = Examination(url=url, rows=select(read_rows(), only), **more)
        listener = Listener(lambda _row: None, waited.append, lambda _clients: None, left.extend)
        results = await examine(asked, listener)
        for one in results:
            leaks.write(f"the report of {one.row.id}", f"{one.reason}\n{one.request}\n{one.response}")
        return {one.row.id: one for one in results}

    return run


@dataclasses.dataclass
class Passing:
    """A request on its way to the good server, and then the answer on its way back: all may be changed.

    ``status`` 0 means that there is no answer yet; who sets one keeps the request from the server.
    """

    method: str
    target: str
    request_headers: list[tuple[str, str]]
    request_body: bytes
    status: int = 0
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    body: bytes = b""

    @property
    def path(self) -> str:
        """Where it goes."""
        return urlsplit(self.target).path

    def sent(self, name: str) -> str:
        """A header of the request."""
        return ", ".join(value for own, value in self.request_headers if own.lower() == name.lower())

    def send(self, name: str, *values: str) -> None:
        """Replace a header of the request; without values take it away."""
        kept = [pair for pair in self.request_headers if pair[0].lower() != name.lower()]
        self.request_headers = [*kept, *((name, value) for value in values)]

    @property
    def form(self) -> list[tuple[str, str]]:
        """The form of the request, writable."""
        return parse_qsl(self.request_body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")

    @form.setter
    def form(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.request_body = urlencode(list(pairs), encoding="latin-1").encode()

    def parameter(self, name: str) -> str | None:
        """The first value in the form."""
        return next((value for own, value in self.form if own == name), None)

    @property
    def credentials(self) -> tuple[str, str]:
        """Id and secret by HTTP Basic; empty if there are none that can be read."""
        scheme, _, encoded = self.sent("Authorization").partition(" ")
        try:
            userpass = base64.b64decode(encoded).decode() if scheme == "Basic" else ""
        except ValueError:
            userpass = ""
        client_id, _, secret = userpass.partition(":")
        return client_id, secret

    def set(self, name: str, *values: str) -> None:
        """Replace a header of the answer; without values take it away."""
        kept = [pair for pair in self.headers if pair[0].lower() != name.lower()]
        self.headers = [*kept, *((name, value) for value in values)]

    def header(self, name: str) -> str:
        """A header of the answer."""
        return ", ".join(value for own, value in self.headers if own.lower() == name.lower())

    @property
    def json(self) -> dict[str, Any]:
        """The members of the answer; none if it is no JSON object."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def members(self, **changes: object) -> None:
        """Change members of the answer; what is `...` is left out."""
        document = {name: value for name, value in (self.json | changes).items() if value is not ...}
        self.body = json.dumps(document).encode()

    def answer(self, status: int, document: object = None, content_type: str = "application/json") -> None:
        """Answer this instead."""
        self.status, self.body = status, json.dumps({} if document is None else document).encode()
        self.headers = [("Content-Type", content_type), ("Cache-Control", "no-store"), ("Pragma", "no-cache")]

    def refuse(self, error: str, status: int = 400) -> None:
        """Answer an error of OAuth instead."""
        self.answer(status, {"error": error, "error_description": "Content-Type"})
        if status == 401:
            self.set("WWW-Authenticate", 'Basic realm="station"')


class Proxy(Protocol):
    """Serve a spoiled view of ``upstream``; yields its URL.

    ``before`` may change the request or answer it, ``after`` may change the answer. An answer of the status
    -1 is none: the connection is closed.
    """

    def __call__(
        self,
        upstream: str,
        before: Spoil | None = ...,
        after: Spoil | None = ...,
        tls: ssl.SSLContext | None = ...,
    ) -> contextlib.AbstractAsyncContextManager[str]: ...


@pytest.fixture
def proxy(leaks: Leaks) -> Proxy:
    """See `Proxy`: bytes pass as they are unless they are spoiled."""

    @contextlib.asynccontextmanager
    async def serve(
        upstream: str,
        before: Spoil | None = None,
        after: Spoil | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> AsyncIterator[str]:
        forwarding: set[asyncio.Task[Any] | None] = set()

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            forwarding.add(asyncio.current_task())
            try:
                passing = await _read_request(reader)
                if before is not None:
                    before(passing)
                if not passing.status:
                    await _ask(upstream, passing)
                if after is not None:
                    after(passing)
                leaks.keep(passing.credentials[1], passing.parameter("token"))
                made = (passing.json.get(name) for name in ("access_token", "clientSecret"))
                leaks.keep(*(secret for secret in made if isinstance(secret, str)))
                if passing.status > 0:
                    writer.write(_written(passing))
                await writer.drain()
            except (OSError, asyncio.IncompleteReadError):
                pass  # the other side went away, or distrusts the certificate
            finally:
                await _close(writer)

        server = await asyncio.start_server(forward, "127.0.0.1", 0, limit=256 * 1024, ssl=tls)
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await asyncio.gather(*filter(None, forwarding))

    return serve


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> Passing:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Passing(method, target, headers, await reader.readexactly(length))


async def _ask(upstream: str, passing: Passing) -> None:
    parts = urlsplit(upstream)
    passing.send("Content-Length", str(len(passing.request_body)))
    lines = [f"{passing.method} {passing.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in passing.request_headers]
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + passing.request_body)
        received = await reader.read()
        while not received.endswith(b"\r\n\r\n") and (more := await reader.read()):
            received += more
    finally:
        await _close(writer)
    head, _, passing.body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    passing.status = int(first.split(" ")[1])
    passing.headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in rest)]


def _written(passing: Passing) -> bytes:
    if passing.method != "HEAD" and passing.status not in {204, 304}:
        passing.set("Content-Length", str(len(passing.body)))
    lines = [f"HTTP/1.1 {passing.status} X", *(f"{name}: {value}" for name, value in passing.headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + passing.body

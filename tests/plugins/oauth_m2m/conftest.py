"""What the conformance tests share: requests as bytes, the form of every OAuth error, and the whole log."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import re
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest
from tornado.httputil import HTTPHeaders

if TYPE_CHECKING:
    from collections.abc import Callable

    from station.config import Config
    from tests.conftest import Answer

DESCRIPTION = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,300}")  # RFC 6749 5.2
BASIC_CHALLENGE = 'Basic realm="station"'


@dataclasses.dataclass(frozen=True)
class RawAnswer:
    """An HTTP response, as it came over the socket."""

    status: int
    headers: HTTPHeaders
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Raw(Protocol):
    """Send ``METHOD TARGET`` with these header lines and this body, byte by byte as given.

    Host and Connection are added, and Content-Length unless a header frames the body already; ``url`` is
    another server.
    """

    async def __call__(
        self, start: str, *headers: str | bytes, body: bytes = b"", url: str = ""
    ) -> RawAnswer: ...


class Refusal(Protocol):
    """Assert that an answer is this OAuth error in every detail; returns its description.

    ``case`` says in a failure which entry of a table it was.
    """

    def __call__(self, answer: Answer | RawAnswer, status: int, code: str, case: object = "") -> str: ...


@pytest.fixture
def config(config: Config, request: pytest.FixtureRequest) -> Config:
    """The usual configuration, with the fields that a test parametrises it with (``indirect=True``)."""
    return dataclasses.replace(config, **getattr(request, "param", {}))


@pytest.fixture
def raw(base_url: str, http_server: object) -> Raw:
    """See `Raw`."""

    async def send(start: str, *headers: str | bytes, body: bytes = b"", url: str = "") -> RawAnswer:
        to = urlsplit(url or base_url)
        lines = [f"{start} HTTP/1.1", f"Host: {to.netloc}", "Connection: close", *headers]
        head = b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
        if not re.search(rb"\r\n(Content-Length|Transfer-Encoding):", head):
            head += b"\r\nContent-Length: %d" % len(body)
        reader, writer = await asyncio.open_connection(to.hostname, to.port)
        try:
            writer.write(head + b"\r\n\r\n" + body)
            received = await asyncio.wait_for(reader.read(), 30)
        finally:
            writer.close()
        status_line, _, rest = received.partition(b"\r\n")
        fields, _, content = rest.partition(b"\r\n\r\n")
        return RawAnswer(int(status_line.split()[1]), HTTPHeaders.parse(fields.decode("latin-1")), content)

    return send


@pytest.fixture
def refusal() -> Refusal:
    """See `Refusal`."""

    def check(answer: Answer | RawAnswer, status: int, code: str, case: object = "") -> str:
        assert (answer.status, answer.json["error"]) == (status, code), (case, answer.body)
        assert answer.json.keys() <= {"error", "error_description"}
        assert answer.headers.get_list("Content-Type") == ["application/json"]
        assert answer.headers.get_list("Cache-Control") == ["no-store"]
        assert answer.headers.get_list("Pragma") == ["no-cache"]
        assert answer.headers.get_list("WWW-Authenticate") == ([BASIC_CHALLENGE] if status == 401 else [])
        assert ("Retry-After" in answer.headers) == (status in {429, 503})
        assert ("Allow" in answer.headers) == (status == 405)
        assert "Set-Cookie" not in answer.headers
        description = answer.json["error_description"]
        assert isinstance(description, str)
        assert DESCRIPTION.fullmatch(description)
        return description

    return check


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that was logged at any level, as text and as the attributes of the records."""
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text + "\n".join(str(vars(record)) for record in caplog.records)

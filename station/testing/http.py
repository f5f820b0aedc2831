"""A small HTTP client for tests: it blocks, follows no redirect, and raises for no status."""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json as json_format
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message
    from typing import Unpack

__all__ = ["Answer", "Http", "RequestOptions"]

_PATIENCE = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What was answered; ``headers`` are found in any case."""

    status: int
    headers: Message = dataclasses.field(repr=False)
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json_format.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class RequestOptions(TypedDict, total=False):
    """What a request may hold, beside its method and path.

    ``token`` is sent as a bearer token, ``basic`` (user, password) as HTTP Basic; ``json`` and ``form`` make
    the body and its Content-Type.
    """

    token: str | None
    basic: tuple[str, str] | None
    json: object
    form: Mapping[str, str] | None
    body: bytes | str | None
    headers: Mapping[str, str] | None


class Http:
    """Speaks HTTP to the server at ``url``, with these ``headers`` in every request.

    Cookies that it is given it sends back, as a browser does. In a test that is a coroutine it may be called
    as it is, because the server does not run on the test's event loop; several requests at once are threads:
    ``asyncio.gather(asyncio.to_thread(http.get, "/fleet"), ...)``.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self.headers = dict(headers or {})
        self._cookies: dict[str, tuple[str, str]] = {}

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it holds."""
        return {name: value for name, (_, value) in self._cookies.items()}

    def get(self, path: str, **options: Unpack[RequestOptions]) -> Answer:
        """``GET``; see `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Unpack[RequestOptions]) -> Answer:
        """``POST``; see `request`."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Unpack[RequestOptions]) -> Answer:
        """``PUT``; see `request`."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Unpack[RequestOptions]) -> Answer:
        """``PATCH``; see `request`."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Unpack[RequestOptions]) -> Answer:
        """``DELETE``; see `request`."""
        return self.request("DELETE", path, **options)

    def request(self, method: str, path: str, **options: Unpack[RequestOptions]) -> Answer:
        """Send one request and return its answer, whatever its status; it may hold `RequestOptions`."""
        sent = self._headers(path) | dict(options.get("headers") or {})
        body = options.get("body")
        if options.get("json") is not None:
            body = json_format.dumps(options["json"])
            sent = {"Content-Type": "application/json", **sent}
        elif (form := options.get("form")) is not None:
            body = urlencode(form)
            sent = {"Content-Type": "application/x-www-form-urlencoded", **sent}
        if (token := options.get("token")) is not None:
            sent["Authorization"] = f"Bearer {token}"
        elif (basic := options.get("basic")) is not None:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_PATIENCE)
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        self._keep_cookies(answer)
        return answer

    def _headers(self, path: str) -> dict[str, str]:
        # one connection for each request: nothing is left open when the server stops
        headers = {"Connection": "close", **self.headers}
        here = path.partition("?")[0]
        fitting = [
            f"{name}={value}" for name, (under, value) in self._cookies.items() if _within(here, under)
        ]
        return headers | ({"Cookie": "; ".join(fitting)} if fitting else {})

    def _keep_cookies(self, answer: Answer) -> None:
        for header in answer.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(header).items():
                if morsel.value:
                    self._cookies[name] = (morsel["path"] or "/", morsel.value)
                else:  # which is how a cookie is cleared
                    self._cookies.pop(name, None)


def _within(path: str, under: str) -> bool:
    """Whether a cookie of the path ``under`` is sent to ``path`` (RFC 6265 5.1.4)."""
    return path == under or path.startswith(under if under.endswith("/") else f"{under}/")

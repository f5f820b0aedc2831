"""What is secret in a request and its answer, and what of the request is not."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.httpclient import HTTPRequest, HTTPResponse
    from tornado.httputil import HTTPHeaders

__all__ = ["own_words", "secrets_of"]

SECRET_FIELDS = frozenset(
    {
        "access_token",
        "client_secret",
        "clientSecret",
        "currentPassword",
        "newPassword",
        "password",
        "refresh_token",
        "token",
    }
)


def secrets_of(request: HTTPRequest, response: HTTPResponse) -> Iterator[str]:
    """Every value that stands where a secret, a token, a password, a cookie or a key belongs."""
    headers = request.headers
    yield from headers.get_list("x-internal-api-key")
    for authorization in headers.get_list("Authorization"):
        scheme, _, value = authorization.partition(" ")
        yield value
        if scheme.lower() == "basic":
            yield _decoded(value).partition(":")[2]
    yield from _cookies(headers, "Cookie")
    yield from _cookies(response.headers, "Set-Cookie")
    for fields in (_fields(request.body, headers), _fields(response.body, response.headers)):
        yield from (text for name, text in fields.items() if name in SECRET_FIELDS and isinstance(text, str))


def own_words(request: HTTPRequest) -> str:
    """What the sender wrote where no secret belongs: an error may repeat that, to nobody else."""
    fields = _fields(request.body, request.headers)
    rest = {name: "" if name in SECRET_FIELDS else value for name, value in fields.items()}
    return f"{request.url} {rest or (request.body or b'').decode(errors='replace')}"


def _fields(body: bytes | None, headers: HTTPHeaders) -> dict[str, Any]:
    kind = headers.get("Content-Type", "")
    if "urlencoded" in kind:
        return dict(parse_qsl((body or b"").decode(errors="replace")))
    try:
        found = json.loads(body or b"")
    except (ValueError, RecursionError):  # tests send both
        return {}
    return found if isinstance(found, dict) else {}


def _cookies(headers: HTTPHeaders, name: str) -> Iterator[str]:
    for header in headers.get_list(name):
        pairs = header.split(";") if name == "Cookie" else header.split(";")[:1]
        yield from (pair.partition("=")[2] for pair in pairs)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode()
    except ValueError:
        return ""

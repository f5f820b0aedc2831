"""Where the endpoints of the server under test are: by its metadata (RFC 8414), or as named by hand."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import urlsplit

from plugins.oauth_m2m.conformance.wire import Request
from plugins.oauth_m2m.discovery import AUTHORIZATION_SERVER, PROTECTED_RESOURCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugins.oauth_m2m.conformance.wire import Answer, Wire

__all__ = ["CannotRun", "Endpoints", "find_endpoints", "origin_of"]

_OPENID = "/.well-known/openid-configuration"
_WHOAMI = "/auth/client"


class CannotRun(Exception):
    """Nothing can be checked; the text is a sentence and a next step."""


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoints:
    """URLs; None for what the server does not name.

    ``metadata`` is what it says of itself, and ``is_described`` whether it says so where RFC 8414 has it.
    """

    base: str
    token: str
    metadata_url: str
    protected_resource: str
    metadata: Mapping[str, Any]
    is_described: bool
    revocation: str | None = None
    introspection: str | None = None
    jwks: str | None = None
    resource: str | None = None
    scoped_resource: str | None = None

    @property
    def oauth(self) -> list[str]:
        """The endpoints that authenticate clients by their secrets."""
        return [url for url in (self.token, self.revocation, self.introspection) if url]


def origin_of(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def find_endpoints(wire: Wire, url: str, given: Mapping[str, str | None]) -> Endpoints:
    """Ask the server at ``url``; what is ``given`` by name counts more. Raises `CannotRun` or `NoAnswer`.

    ``url`` stands in for the issuer's origin, which is another where a server is asked behind its proxy.
    """
    origin, path = origin_of(url), urlsplit(url).path.rstrip("/")
    metadata_url = f"{origin}{AUTHORIZATION_SERVER}{path}"
    openid = f"{origin}{path}{_OPENID}"
    found_at, metadata = await _first_document(wire, metadata_url, openid, f"{origin}{AUTHORIZATION_SERVER}")
    issuer = metadata.get("issuer")
    theirs = origin_of(issuer) if _is_url(issuer) else origin

    def find(name: str, member: str) -> str | None:
        if chosen := given.get(name):
            return chosen
        named = metadata.get(member)
        if not _is_url(named):
            return None
        return origin + named.removeprefix(theirs) if origin_of(named) == theirs else named

    token = find("token", "token_endpoint")
    if token is None:
        raise CannotRun(
            f"{url} does not describe an authorization server (RFC 8414); name its --token-endpoint."
        )
    return Endpoints(
        base=url,
        token=token,
        metadata_url=metadata_url,
        protected_resource=f"{origin}{PROTECTED_RESOURCE}",
        metadata=metadata,
        is_described=found_at not in {"", openid},
        revocation=find("revocation", "revocation_endpoint"),
        introspection=find("introspection", "introspection_endpoint"),
        jwks=find("jwks", "jwks_uri"),
        resource=given.get("resource") or await _whoami(wire, origin),
        scoped_resource=given.get("scoped_resource") or await _scoped(wire, origin),
    )


def _is_url(text: object) -> TypeGuard[str]:
    """Whether a URL can be asked; what a server names may be anything."""
    try:
        parts = urlsplit(text if isinstance(text, str) else "")
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def _first_document(wire: Wire, *candidates: str) -> tuple[str, Mapping[str, Any]]:
    for url in dict.fromkeys(candidates):
        answer = await wire.send(Request("GET", url))
        if answer.status == 200 and isinstance(answer.json, dict):
            return url, answer.json
    return "", {}


async def _whoami(wire: Wire, origin: str) -> str | None:
    """Station's own protected resource, if the server has it."""
    answer = await wire.send(Request("GET", origin + _WHOAMI))
    is_protected = answer.status == 401 and answer.header("WWW-Authenticate").lower().startswith("bearer")
    return origin + _WHOAMI if is_protected else None


async def _scoped(wire: Wire, origin: str) -> str | None:
    """A GET without parameters that demands a scope, as the server's OpenAPI document describes it."""
    paths = _member(await _openapi(wire, origin), "paths")
    for path, item in paths.items():
        demanded = _member(item, "get").get("security")
        if not path.startswith("/") or "{" in path or not isinstance(demanded, list):
            continue
        if any(isinstance(one, dict) and any(one.values()) for one in demanded):
            return f"{origin}{path}"
    return None


async def _openapi(wire: Wire, origin: str) -> object:
    answer: Answer = await wire.send(Request("GET", f"{origin}/openapi.json"))
    return answer.json if answer.status == 200 else None


def _member(document: object, name: str) -> dict[str, Any]:
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}

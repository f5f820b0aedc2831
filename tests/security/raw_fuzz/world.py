"""What the fuzzer knows of a Station, and the well-formed requests that it starts from."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

JSON, FORM = b"application/json", b"application/x-www-form-urlencoded"

# What a route is sent, where it reads a body. A route that is not here gets any of these fields.
FIELDS: dict[str, dict[str, object]] = {
    "POST /auth/register": {"email": "fuzz@example.com", "password": "correct horse battery"},
    "POST /auth/login": {"email": "fuzz@example.com", "password": "correct horse battery"},
    "POST /auth/change-password": {"password": "wrong horse battery", "newPassword": "correct horse battery"},
    "POST /auth/forgot-password": {"email": "nobody@example.com"},
    "POST /auth/reset-password": {"token": "x" * 43, "password": "correct horse battery"},
    "POST /auth/token": {"grant_type": "client_credentials", "scope": "bot:api"},
    "POST /auth/revoke": {"token": "a.b.c", "token_type_hint": "access_token"},
    "POST /auth/introspect": {"token": "a.b.c"},
    "POST /oauth-clients": {"clientId": "fuzz-new", "scopes": ["bot:api"], "name": "New", "tokenTtl": 600},
    "PATCH /oauth-clients": {"scopes": ["bot:api"], "name": "Changed", "tokenTtl": 60, "isActive": True},
    "POST /oauth-clients/secrets": {"clientSecret": "s" * 40, "expiresAt": "2099-01-01T00:00:00Z"},
    "POST /console/login": {
        "email": "fuzz@example.com",
        "password": "correct horse battery",
        "next": "/console",
    },
    "POST /console/register": {"clientId": "fuzz-new", "scopes": "bot:api", "name": "New", "tokenTtl": "600"},
    "POST /console/clients": {"scopes": "bot:api", "name": "Changed", "tokenTtl": "60", "version": "1"},
    "POST /console/clients/secrets/new": {"clientSecret": "s" * 40, "endOthersIn": "3600", "version": "1"},
}
_FORMS = {
    "POST /auth/token",
    "POST /auth/revoke",
    "POST /auth/introspect",
    "POST /console/login",
    "POST /console/register",
    "POST /console/clients",
    "POST /console/clients/secrets/new",
}
_ALL_FIELDS = {name: value for fields in FIELDS.values() for name, value in fields.items()}
_WRITES = {"POST", "PUT", "PATCH"}
# How many requests carry credentials; fewer where each success is several writes to the disk, or a page
_AUTHENTICATED = 0.5
_CHANGES = 0.12
_PAGES = 0.08


@dataclasses.dataclass(frozen=True)
class Target:
    """A row of ``station routes``."""

    method: str
    path: str
    demand: str

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.method} {self.path}"


@dataclasses.dataclass(frozen=True)
class World:
    """Where Station listens, its routes, and credentials that are good there.

    ``bot`` stays as it is, so that nothing that is sent spoils the rest; ``victim`` is registered, changed
    and deleted by what is sent.
    """

    host: str
    port: int
    targets: Sequence[Target]
    admin_key: str
    bot: str
    secret: str
    token: str
    victim: str
    cookie: str
    admin_cookie: str

    def credentials(self, demand: str) -> list[tuple[bytes, bytes]]:
        """The header that satisfies a demand."""
        if demand == "client":
            return [(b"Authorization", b"Bearer " + self.token.encode())]
        if demand.startswith("client-"):
            return [(b"Authorization", b"Basic " + base64.b64encode(f"{self.bot}:{self.secret}".encode()))]
        if demand == "admin":
            return [(b"x-internal-api-key", self.admin_key.encode())]
        if demand == "console":
            return [(b"Cookie", self.admin_cookie.encode())]
        return [(b"Cookie", self.cookie.encode())] if demand == "session" else []

    def holds_credentials(self, demand: str, data: bytes) -> bool:
        """Whether a request that was let in could be: it holds what the demand asks for."""
        if demand == "client":
            # base64url of 32 bytes has two spare bits, so the last character is no part of the secret
            return self.token[:-1].encode() in data
        if demand == "session":
            return self.cookie.partition("=")[2][:-1].encode() in data
        if demand == "console":
            return self.admin_cookie.partition("=")[2][:-1].encode() in data
        return demand != "admin" or self.admin_key.encode() in data


@dataclasses.dataclass
class Request:
    """A request to take apart.

    ``ends`` when the server may hang up after it, or answer it any number of times; ``cut`` when the rest
    of it never comes. ``raw`` replaces everything. ``moved`` when it no longer goes to its ``target``.
    """

    target: Target
    method: bytes
    path: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    fields: dict[str, object] | None = None
    version: bytes = b"HTTP/1.1"
    framing: bytes | None = None
    raw: bytes | None = None
    ends: bool = False
    cut: bool = False
    moved: bool = False

    def encode(self) -> bytes:
        """The bytes to send."""
        if self.raw is not None:
            return self.raw
        lines = [b" ".join(filter(None, (self.method, self.path, self.version)))]
        lines += [name + b": " + value for name, value in self.headers]
        if self.framing is not None:
            lines.append(self.framing)
        elif self.body or self.method.decode("latin-1") in _WRITES:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body

    def write_fields(self, *, as_form: bool) -> None:
        """Make the body from the fields."""
        fields = self.fields or {}
        self.headers = [header for header in self.headers if header[0] != b"Content-Type"]
        self.headers.append((b"Content-Type", FORM if as_form else JSON))
        if as_form:
            texts = {
                name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()
            }
            self.body = urlencode(texts, errors="replace").encode()
        else:
            self.body = json.dumps(fields).encode()


def _share(target: Target) -> float:
    """How many requests to this target carry credentials."""
    if target.demand == "console":
        return _PAGES
    return _CHANGES if target.demand == "admin" and target.method != "GET" else _AUTHENTICATED


def good_request(rng: Random, world: World, target: Target) -> Request:
    """A request to a target that nothing is wrong with."""
    client = world.victim if target.method in {"PATCH", "DELETE"} or "secrets" in target.path else world.bot
    path = re.sub(r"\(/\.\*\|\)", lambda _: rng.choice(["", "/x"]), target.path)
    path = path.replace("([a-z0-9-]{1,128})", client)
    path = re.sub(r"\([^)]*\)", lambda _: f"{rng.getrandbits(128):032x}", path)
    headers = [(b"Host", f"{world.host}:{world.port}".encode())]
    if rng.random() < _share(target):
        headers += world.credentials(target.demand)
    request = Request(target, target.method.encode(), path.encode(), headers)
    if target.method in _WRITES:
        known = re.sub(r"/\([^)]*\)", "", target.name)
        names = rng.sample(sorted(_ALL_FIELDS), 3)
        request.fields = dict(FIELDS.get(known) or {name: _ALL_FIELDS[name] for name in names})
        request.write_fields(as_form=known in _FORMS and rng.random() < 0.7)
    return request

"""Mutations of credentials: of the bearer token, of Basic, of the admin key and of cookies."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from raw_fuzz.values import HEADER_VALUES, VALUES

if TYPE_CHECKING:
    from random import Random

    from raw_fuzz.world import Request, World

_BASICS = [
    b"",
    b":",
    b"a",
    b"a:",
    b":b",
    b"\0:\0",
    b"\xff:\xff",
    b"a:" + b"b" * 5000,
    b"a" * 5000 + b":b",
    b"a%zz:b",
    b"a%00:b",
    b"%ff:b",
]
_SCHEMES = [
    b"Basic",
    b"basic",
    b"Bearer",
    b"bearer",
    b"BEARER",
    b"Token",
    b"Digest",
    b"",
    b"Basic,",
    b"Basic Basic",
    b"Bearer\t",
    b"Negotiate",
    b"DPoP",
]
_HEADERS: list[dict[str, Any]] = [
    {"alg": "none"},
    {"alg": "None"},
    {"alg": "RS256"},
    {"alg": "ES256"},
    {"alg": ""},
    {"alg": None},
    {"alg": ["HS256"]},
    {"alg": {"a": 1}},
    {"kid": "../../../dev/null"},
    {"kid": "' OR 1=1 --"},
    {"kid": 1},
    {"kid": None},
    {"kid": []},
    {"kid": "x" * 4000},
    {"kid": "\ud800"},
    {"kid": {"$ne": ""}},
    {"jku": "http://evil.example/jwks"},
    {"x5u": "http://evil.example"},
    {"jwk": {"kty": "oct", "k": "AA"}},
    {"crit": ["exp"]},
    {"b64": False, "crit": ["b64"]},
    {"typ": "JWT"},
    {"typ": None},
    {"typ": ["at+jwt"]},
    {"typ": "us+jwt"},
    {"zip": "DEF"},
    {"enc": "A128GCM"},
    {"cty": "JWT"},
]


def bearer(rng: Random, world: World, request: Request) -> None:
    """A token that is not the one that was issued."""
    header, payload, signature = world.token.split(".")
    kind = rng.randrange(8)
    if kind == 0:
        header = _encoded(_decoded(header) | rng.choice(_HEADERS))
        signature = rng.choice([signature, "", "A" * 43])
    elif kind == 1:
        claims = _decoded(payload)
        claims[rng.choice([*sorted(claims), "nbf", "cnf", "act"])] = rng.choice(VALUES)
        payload = _encoded(claims)
    elif kind == 2:
        payload = rng.choice(["", "e30", "W10", "bnVsbA", "MQ", "_" * 40, "e30=", "A"])
    elif kind == 3:
        signature = rng.choice(
            ["", "A", "A" * 43, signature[:-2], signature[::-1], signature + "AAAA", "=", "."]
        )
    token = ".".join((header, payload, signature)).encode()
    if kind == 4:
        token = rng.choice(
            [
                b"",
                b".",
                b"..",
                b"...",
                b"a.b.c",
                b"a.b.c.d.e",
                token + b".x",
                token * 8,
                b"." * 3000,
                b"\xff",
                b"null",
                b"undefined",
            ]
        )
    elif kind == 5:
        place = rng.randrange(len(token) - 2)
        token = token[:place] + bytes([rng.choice(b"ABab01_-.=+/ ,%\xff")]) + token[place + 1 :]
    scheme = rng.choice(_SCHEMES) if kind == 6 else b"Bearer"
    space = rng.choice([b"", b"  ", b"\t", b" \t ", b" , "]) if kind == 7 else b" "
    _replace(request, b"Authorization", scheme + space + token)


def basic(rng: Random, world: World, request: Request) -> None:
    """Credentials that are not quite those of the client."""
    good = f"{world.bot}:{world.secret}".encode()
    kind = rng.randrange(6)
    if kind == 0:
        encoded = base64.b64encode(rng.choice(_BASICS))
    elif kind == 1:
        place = rng.randrange(len(good))
        encoded = base64.b64encode(good[:place] + bytes([rng.randrange(256)]) + good[place + 1 :])
    elif kind == 2:
        encoded = base64.b64encode(good)
        place = rng.randrange(len(encoded))
        encoded = (
            encoded[:place] + rng.choice([b"!", b"=", b" ", b"\xff", b"-", b"", b","]) + encoded[place + 1 :]
        )
    elif kind == 3:
        encoded = base64.urlsafe_b64encode(bytes(rng.randrange(256) for _ in range(rng.randrange(60))))
    elif kind == 4:
        encoded = base64.b64encode(good.upper()) + b", Basic " + base64.b64encode(good)
    else:
        encoded = base64.b64encode(
            f"{world.bot}{rng.choice(['%20', '+', ' ', '%00', '$', chr(233)])}:{world.secret}".encode()
        )
    _replace(
        request,
        b"Authorization",
        rng.choice([b"Basic ", b"Basic ", b"basic  ", b"Basic", b"Bearer "]) + encoded,
    )


def admin_key(rng: Random, world: World, request: Request) -> None:
    key = world.admin_key.encode()
    wrong = [
        b"",
        b" ",
        key[:-1],
        key + b"x",
        key.upper(),
        b"\xff" * 40,
        key + b"," + key,
        b"x" * 5000,
        b'"' + key + b'"',
        b"null",
        b"*",
    ]
    _replace(request, b"x-internal-api-key", rng.choice(wrong))


def cookie(rng: Random, world: World, request: Request) -> None:
    name, _, session = world.cookie.partition("=")
    place = rng.randrange(len(session) - 2)
    wrong = [
        b"",
        b"=",
        b";;;",
        b"=x",
        b"station_access",
        b"station_access=",
        b'station_access="',
        b'station_access="\\377"',
        b"station_refresh=" + session.encode(),
        world.cookie.encode()[: place + len(name) + 1],
        b"station_access=" + world.token.encode(),
        b"station_access=\xff\xfe",
        b"a=b; " * 2000,
        f"{name}={session[:place]}{rng.choice('Aa0_-.')}{session[place + 1 :]}x".encode(),
        b"__Host-station_access=" + session.encode(),
        b"station_access=a.b.c",
        b"station_refresh=..",
        b"$Version=1; station_access=x",
        b"station_access=x; station_access=y",
    ]
    _replace(request, b"Cookie", rng.choice(wrong))


def authorization(rng: Random, _world: World, request: Request) -> None:
    _replace(request, b"Authorization", rng.choice([rng.choice(_SCHEMES), rng.choice(HEADER_VALUES)]))


def _replace(request: Request, name: bytes, value: bytes) -> None:
    request.headers = [header for header in request.headers if header[0] != name]
    request.headers.append((name, value))


def _decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def _encoded(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")

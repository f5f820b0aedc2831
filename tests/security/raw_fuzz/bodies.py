"""Mutations of bodies: wrong values in every field, documents that are none, encodings that lie."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from raw_fuzz.values import DEEP, NOT_FORMS, NOT_JSON, VALUES
from raw_fuzz.world import FORM, JSON

if TYPE_CHECKING:
    from random import Random

    from raw_fuzz.world import Request, World

_TYPES = [
    b"",
    b"text/html",
    b"text/plain",
    b"application/json;charset=utf-7",
    b"application/jsonx",
    b"APPLICATION/JSON",
    b"*/*",
]
_TYPES += [
    b"application/xml",
    b"application/json, text/html",
    b"application/x-www-form-urlencoded; charset=latin-1",
    b";",
    b"\xff/\xff",
]
_MULTIPART = [
    b'--x\r\nContent-Disposition: form-data; name="scope"\r\n\r\nx\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="f"; filename="../../x"\r\n\r\nx\r\n--x--\r\n',
    b"--x\r\n\r\n--x--",
    b"--x",
    b"",
    b"--x--",
    b"--x\r\nContent-Disposition: \xff\r\n\r\n\r\n--x--\r\n" + b"--x\r\n" * 2000,
]


def value(rng: Random, _world: World, request: Request) -> None:
    """A wrong type, or a strange text, in one field."""
    if not request.fields:
        return
    request.fields[rng.choice(sorted(request.fields))] = rng.choice(VALUES)
    _write(rng, request)


def unknown_field(rng: Random, _world: World, request: Request) -> None:
    if request.fields is None:
        return
    names = [found for found in VALUES if isinstance(found, str)] + [
        "isAdmin",
        "roles",
        "salt",
        "secrets",
        "generation",
        "_id",
    ]
    request.fields[rng.choice(names)] = rng.choice(VALUES)
    if rng.random() < 0.3:
        del request.fields[rng.choice(sorted(request.fields))]
    _write(rng, request)


def malformed_json(rng: Random, _world: World, request: Request) -> None:
    body = rng.choice(NOT_JSON)
    if request.fields and rng.random() < 0.4:
        whole = json.dumps(request.fields).encode()
        body = whole[: rng.randrange(len(whole))]
    _send(request, JSON, body)


def malformed_form(rng: Random, _world: World, request: Request) -> None:
    _send(request, FORM, rng.choice(NOT_FORMS))


def deep_json(rng: Random, _world: World, request: Request) -> None:
    body = rng.choice(DEEP)
    if request.fields and len(body) < 15_000 and rng.random() < 0.5:
        body = b'{"%s": %s}' % (rng.choice(sorted(request.fields)).encode(errors="replace"), body)
    _send(request, JSON, body)


def other_document(rng: Random, _world: World, request: Request) -> None:
    """Any JSON at all."""
    _send(request, JSON, json.dumps([rng.choice(VALUES) for _ in range(rng.randrange(4))]).encode())


def content_type(rng: Random, _world: World, request: Request) -> None:
    request.headers = [header for header in request.headers if header[0] != b"Content-Type"]
    request.headers.append((b"Content-Type", rng.choice(_TYPES)))


def large(rng: Random, _world: World, request: Request) -> None:
    """More than a route reads; rarely more than Tornado reads, which hangs up then."""
    size = rng.choice([17_000, 70_000, 70_000])
    _send(request, rng.choice([JSON, FORM]), b"x" * size)


def embedded_request(rng: Random, world: World, request: Request) -> None:
    """A body that is a request: it must be no request (smuggling)."""
    inner = (
        b"GET /oauth-clients HTTP/1.1\r\nHost: x\r\nx-internal-api-key: "
        + world.admin_key.encode()
        + b"\r\n\r\n"
    )
    _send(request, rng.choice([JSON, FORM, b"text/plain"]), inner)
    request.moved = True


def multipart(rng: Random, _world: World, request: Request) -> None:
    boundary = rng.choice(
        [
            b"; boundary=x",
            b"; boundary=",
            b"",
            b'; boundary="x"',
            b"; boundary=\xff",
            b";;;=",
            b"; boundary=" + b"x" * 500,
        ]
    )
    _send(request, b"multipart/form-data" + boundary, rng.choice(_MULTIPART))
    request.ends = True


def _write(rng: Random, request: Request) -> None:
    as_form = (b"Content-Type", FORM) in request.headers
    request.write_fields(as_form=as_form if rng.random() < 0.9 else not as_form)


def _send(request: Request, media_type: bytes, body: bytes) -> None:
    request.headers = [header for header in request.headers if header[0] != b"Content-Type"]
    request.headers.append((b"Content-Type", media_type))
    request.body = body
    # Tornado itself reads a form, and hangs up on one with too many fields
    request.ends = request.ends or (media_type == FORM and body.count(b"&") > 900)

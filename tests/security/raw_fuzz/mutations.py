"""What is done to good requests: a table of mutations, one to three of which make a malformed one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raw_fuzz import bodies, framings, tokens
from raw_fuzz.values import CONTROL_BYTES, HEADER_VALUES, INJECTION, QUERIES, SEGMENTS
from raw_fuzz.world import good_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from raw_fuzz.world import Request, World

Mutation = "Callable[[Random, World, Request], None]"

_METHODS = [
    b"get",
    b"GETT",
    b"HEAD",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"PROPFIND",
]
_METHODS += [b"PRI", b"A" * 1000, b"__init__", b"prepare", b"finish", b"write_error", b"!#$%&'*+.^_`|~"]
_BROKEN_METHODS = [b"", b"G ET", b"GET\0", b"\xff\xfe", b"GET\t", b'"GET"', b"GET\x0b", b"(GET)", b"GET/"]
_VERSIONS = [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.9", b"HTTP/1.", b"HTTP/1.1.1", b"HTTX/1.1", b""]
_VERSIONS += [b"http/1.1", b"HTTP/1.1 ", b"HTTP/-1.1", b"HTTP/\xd9\xa1.1", b"HTTP/1.1\0", b"HTTP/11"]
_NAMES = [
    b"Origin",
    b"Content-Type",
    b"X-Forwarded-For",
    b"X-Request-ID",
    b"User-Agent",
    b"Cookie",
    b"Accept",
]
_NAMES += [b"If-Match", b"If-None-Match", b"Content-Encoding", b"Range", b"Referer", b"Forwarded", b"TE"]
_NAMES += [
    b"X-HTTP-Method-Override",
    b"X-Forwarded-Proto",
    b"X-Forwarded-Host",
    b"X-Scheme",
    b"Trailer",
    b"Via",
]
_NAMES += [
    b"Access-Control-Request-Method",
    b"Sec-Fetch-Site",
    b"x-internal-api-key",
    b"Authorization",
    b"Max-Forwards",
]
_BROKEN_LINES = [
    b"no colon at all",
    b": no name",
    b" folded: yes",
    b"\tfolded: yes",
    b"na me: x",
    b"name : x",
    b"n\0me: x",
]
_BROKEN_LINES += [
    b"name: a\rb",
    b"name: a\nb",
    b"name: a\0b",
    b"name: a\x7fb",
    b"n\xc3\xa4me: x",
    b"\xff: x",
    b"Host: a,b",
]
_BROKEN_LINES += [b"Host: /", b"Host: evil.example\r\nHost: fuzz", b"Host: a b", b"Host: [::1", b"Host: \xff"]
_BROKEN_LINES += [
    b"Connection: close",
    b"Connection: upgrade\r\nUpgrade: h2c",
    b"Expect: 100-continue",
    b"(x): y",
]
_UPGRADES = [
    [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
    ],
    [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Version", b"99")],
    [
        (b"Upgrade", b"h2c"),
        (b"Connection", b"Upgrade, HTTP2-Settings"),
        (b"HTTP2-Settings", b"AAMAAABkAAQAAP__"),
    ],
]


def method(rng: Random, world: World, request: Request) -> None:
    request.method, request.moved = rng.choice(_METHODS), True
    request.path = request.path.replace(world.bot.encode(), world.victim.encode())


def broken_method(rng: Random, _world: World, request: Request) -> None:
    request.method, request.moved, request.ends = rng.choice(_BROKEN_METHODS), True, True


def version(rng: Random, _world: World, request: Request) -> None:
    request.version, request.ends = rng.choice(_VERSIONS), True


def query(rng: Random, world: World, request: Request) -> None:
    chosen = rng.choice(QUERIES)
    if chosen.count(b"&") > 900:
        request.ends = True
    request.path += b"?" + chosen.replace(b"TOKEN", world.token.encode()).replace(
        b"SECRET", world.secret.encode()
    )


def segment(rng: Random, _world: World, request: Request) -> None:
    """Put something between, or in the place of, the parts of the path."""
    path, mark, rest = request.path.partition(b"?")
    parts = path.split(b"/")
    place = rng.randrange(1, len(parts)) if len(parts) > 1 else 0
    if rng.random() < 0.5:
        parts[place] = rng.choice(SEGMENTS)
    else:
        parts.insert(place, rng.choice(SEGMENTS))
    request.path, request.moved = b"/".join(parts) + mark + rest, True
    request.ends = request.ends or not request.path  # of a path of one part nothing may be left


def other_form(rng: Random, world: World, request: Request) -> None:
    """Absolute, authority and asterisk forms (RFC 9112 3.2)."""
    host = f"{world.host}:{world.port}".encode()
    forms = [
        b"http://" + host + request.path,
        b"http://evil.example" + request.path,
        host,
        b"*",
        b"/" + request.path,
    ]
    forms += [
        b"https://u:p@" + host + request.path,
        b"?",
        b"#",
        b"\\",
        b"file:///etc/passwd",
        request.path + b"#x",
    ]
    request.path, request.moved = rng.choice(forms), True


def broken_target(rng: Random, _world: World, request: Request) -> None:
    place = rng.randrange(len(request.path) + 1)
    request.path = request.path[:place] + rng.choice(CONTROL_BYTES) + request.path[place:]
    request.moved = request.ends = True


def header(rng: Random, _world: World, request: Request) -> None:
    request.headers.append((rng.choice(_NAMES), rng.choice(HEADER_VALUES)))


def many_headers(rng: Random, _world: World, request: Request) -> None:
    request.headers += [
        (b"X-%d" % number, b"x" * rng.randrange(20)) for number in range(rng.choice([20, 50, 200]))
    ]


def header_flood(rng: Random, _world: World, request: Request) -> None:
    """More than the 128 KiB that are read."""
    size = rng.choice([140_000, 200_000])
    request.headers += (
        [(b"X", b"x" * size)] if rng.random() < 0.5 else [(b"X-%d" % n, b"x") for n in range(size // 8)]
    )
    request.ends = True


def broken_header(rng: Random, _world: World, request: Request) -> None:
    name, value = rng.choice(_BROKEN_LINES).partition(b": ")[::2]
    request.headers.insert(rng.randrange(len(request.headers) + 1), (name, value))
    request.ends = True


def no_headers(_rng: Random, _world: World, request: Request) -> None:
    request.headers, request.ends = [], True


def twice(rng: Random, _world: World, request: Request) -> None:
    """Repeat a header, the same or with another value."""
    name, value = rng.choice(request.headers or [(b"Host", b"")])
    request.headers.append((name, rng.choice([value, b"", *HEADER_VALUES])))
    request.ends = request.ends or name == b"Host"


def upgrade(rng: Random, _world: World, request: Request) -> None:
    request.headers += rng.choice(_UPGRADES)
    request.ends = True


def injection(rng: Random, _world: World, request: Request) -> None:
    """CR and LF, encoded in every way, wherever a value might come back in a header."""
    text = rng.choice(INJECTION)
    place = rng.randrange(4)
    if place == 0:
        request.path, request.moved = request.path.rstrip(b"/") + text, True
    elif place == 1:
        request.path += b"?" + text + b"=" + text
    elif place == 2:
        request.headers.append((rng.choice(_NAMES), text))
    elif request.fields is not None:
        request.fields[rng.choice(sorted(request.fields))] = "x\r\nX-Injected: fuzz\r\n\r\n<html>"
        request.write_fields(as_form=rng.random() < 0.5)


def noise(rng: Random, _world: World, request: Request) -> None:
    """Change a few bytes, anywhere."""
    data = bytearray(request.encode())
    for _ in range(rng.randrange(1, 6)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    request.raw, request.moved, request.ends = bytes(data), True, True


_MUTATIONS: list[tuple[int, Callable[[Random, World, Request], None]]] = [
    # how often, and what; those that end the connection cost the most
    (20, bodies.value),
    (6, bodies.unknown_field),
    (8, bodies.malformed_json),
    (6, bodies.malformed_form),
    (4, bodies.deep_json),
    (4, bodies.other_document),
    (4, bodies.content_type),
    (1, bodies.large),
    (1, bodies.embedded_request),
    (10, tokens.bearer),
    (8, tokens.basic),
    (4, tokens.admin_key),
    (4, tokens.cookie),
    (2, tokens.authorization),
    (8, method),
    (12, query),
    (12, segment),
    (4, other_form),
    (12, header),
    (1, many_headers),
    (4, twice),
    (8, injection),
    (1, bodies.multipart),
    (1, broken_method),
    (1, version),
    (1, broken_target),
    (2, broken_header),
    (1, no_headers),
    (1, upgrade),
    (1, noise),
    (2, framings.content_length),
    (2, framings.transfer_encoding),
    (1, framings.chunked),
    (1, framings.cut_off),
    (1, framings.other_protocol),
]
_WEIGHTS = [weight for weight, _ in _MUTATIONS]
_FUNCTIONS = [function for _, function in _MUTATIONS]
_RARE = [header_flood]


def malformed_request(rng: Random, world: World) -> Request:
    """One request to one of the targets, with one to three things wrong with it."""
    request = good_request(rng, world, rng.choice(world.targets))
    if rng.random() < 0.001:
        rng.choice(_RARE)(rng, world, request)
        return request
    for mutate in rng.choices(_FUNCTIONS, _WEIGHTS, k=rng.choice((1, 1, 1, 2, 2, 3))):
        mutate(rng, world, request)
        if request.raw is not None:
            break
    return request

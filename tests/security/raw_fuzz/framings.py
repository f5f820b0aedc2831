"""Mutations of how a message ends, and what is no HTTP/1.1 at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from raw_fuzz.world import Request, World

_LENGTHS = [
    b"-1",
    b"+5",
    b"0x5",
    b"5 5",
    b"5,5",
    b"5, 5",
    b"5,6",
    b"",
    b" ",
    b"five",
    b"1e1",
    b"5.0",
    b"9" * 18,
    b"9" * 400,
    b"\xd9\xa1",
    b"1048577",
    b"_5",
    b"05",
]
_ENCODINGS = [
    b"chunked, chunked",
    b"gzip, chunked",
    b"xchunked",
    b"chunked\x0b",
    b'"chunked"',
    b"identity",
    b"",
    b"chunked;q=1",
    b"CHUNKED, identity",
    b"\x00chunked",
]
_CHUNKS = [
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b'5;ext="x"\r\nhello\r\n0\r\n\r\n',
    b"FFFFFFFFFFFFFFFF\r\nhello",
    b"5\r\nhelloXX0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"00000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"\r\n",
    b"1\r\nx\r\n" * 500 + b"0\r\n\r\n",
    b"0\r\nX-Injected: fuzz\r\n\r\n",
    b"x" * 200 + b"\r\n",
    b"1" * 100 + b"\r\n",
    b"5\r\nhel",
    b"0\r\n",
]
_PROTOCOLS = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    b"GET /\r\n\r\n",
    b"GET / HTTP/0.9\r\n\r\n",
    b"GET /auth/me\n\n",
    b"\r\n\r\n\r\n",
    b"\0" * 64 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\xaa" * 300,
    b"SSH-2.0-x\r\n\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\5\1\0",
    b"HELP\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n\r\n",
    b"{}\r\n\r\n",
    b"GET http:// HTTP/1.1\r\n\r\n",
    b" GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET / HTTP/1.1\rHost: x\r\r",
    b"GET\0/\0HTTP/1.1\r\n\r\n",
    b"\xef\xbb\xbfGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81\x85\0\0\0\0hello",
]


def content_length(rng: Random, _world: World, request: Request) -> None:
    """Lengths that are none, that contradict each other, or what they announce."""
    _with_body(request)
    right = b"%d" % len(request.body)
    wrong = rng.choice(_LENGTHS)
    lines = [
        b"Content-Length: " + wrong,
        b"Content-Length: " + right + b"\r\nContent-Length: " + wrong,
        b"Content-Length: " + wrong + b"\r\nContent-Length: " + right,
        b"Content-Length: " + right + b"\r\nContent-Length: " + right,
        b"Content-Length : " + right,
        b"Content-Length:" + b"\t" + right,
        b"content-length: " + right + b"\r\nTransfer-Encoding: chunked",
        b"Content-Length: %d" % max(0, len(request.body) - 3),
        b"X: x",
    ]
    request.framing, request.ends = rng.choice(lines), True


def transfer_encoding(rng: Random, _world: World, request: Request) -> None:
    """Both framings at once, and codings that are none (RFC 9112 6.3)."""
    _with_body(request)
    length = b"Content-Length: %d\r\n" % len(request.body) if rng.random() < 0.3 else b""
    request.framing, request.ends = length + b"Transfer-Encoding: " + rng.choice(_ENCODINGS), True


def chunked(rng: Random, _world: World, request: Request) -> None:
    _with_body(request)
    request.framing, request.body = b"Transfer-Encoding: chunked", rng.choice(_CHUNKS)
    request.ends = True


def cut_off(rng: Random, _world: World, request: Request) -> None:
    """The rest never comes."""
    data = request.encode()
    request.raw, request.ends, request.cut, request.moved = data[: rng.randrange(len(data))], True, True, True


def other_protocol(rng: Random, _world: World, request: Request) -> None:
    request.raw, request.ends, request.moved = rng.choice(_PROTOCOLS), True, True


def _with_body(request: Request) -> None:
    if request.method == b"HEAD":
        request.method, request.moved = b"POST", True
    request.body = request.body or b"grant_type=client_credentials"

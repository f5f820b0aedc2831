"""Table E: errors of the OAuth endpoints (RFC 6749 5.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plugins.oauth_m2m.conformance import expect
from plugins.oauth_m2m.conformance.rows import row
from plugins.oauth_m2m.conformance.server import FORM, basic
from plugins.oauth_m2m.conformance.wire import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.oauth_m2m.conformance.server import Server
    from plugins.oauth_m2m.conformance.wire import Answer

_WRONG = "not-a-secret-of-this-client-0123456789"
_TEXT = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
_URI = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]*")
_NASTY = (
    'x", error="y',
    "a\\b",
    "line\r\nX-Conformance: injected",
    "é\u2028",
    "%0d%0aX-Conformance: injected",
)
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")


async def _refusals(server: Server) -> AsyncIterator[tuple[str, Answer]]:
    client = await server.client()
    yield "no grant_type", await server.post(server.endpoints.token, {}, client=client)
    grant = {"grant_type": "conformance"}
    yield "another grant", await server.post(server.endpoints.token, grant, client=client)
    yield "a bad scope", await server.ask({"scope": '"'})
    yield "a wrong secret", await server.ask(authorization=basic(client.id, _WRONG))


async def _echoes(server: Server) -> AsyncIterator[tuple[str, Answer]]:
    """What comes back for text that would do harm in a header or a quoted string."""
    client = await server.client()
    for text in _NASTY:
        yield f"scope {text!r}", await server.ask({"scope": text})
        form = {"grant_type": text}
        yield f"grant_type {text!r}", await server.post(server.endpoints.token, form, client=client)


@row("E1")
async def one_code(server: Server) -> None:
    expected = {"a wrong secret": 401, "a bad scope": 400}
    async for case, answer in _refusals(server):
        if answer.status < 400:
            continue  # that it is no error is the business of another row
        expect.status(answer, expected.get(case, 400), case=case)
        code = expect.json_object(answer, case).get("error")
        single = isinstance(code, str) and re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", code)
        expect.that(single, f"{case}: error is no single code", answer)


@row("E2")
async def characters_of_descriptions(server: Server) -> None:
    async for case, answer in _echoes(server):
        document = answer.json if isinstance(answer.json, dict) else {}
        for member in ("error", "error_description"):
            clean = _TEXT.fullmatch(str(document.get(member, "")))
            expect.that(clean, f"{case}: {member} holds characters that it must not", answer)


@row("E3")
async def characters_of_error_uri(server: Server) -> None:
    async for case, answer in _refusals(server):
        document = answer.json if isinstance(answer.json, dict) else {}
        uri = document.get("error_uri", "")
        clean = isinstance(uri, str) and _URI.fullmatch(uri)
        expect.that(clean, f"{case}: error_uri holds characters that it must not", answer)


@row("E4")
async def input_in_headers(server: Server) -> None:
    async for case, answer in _echoes(server):
        expect.that(not answer.all("X-Conformance"), f"{case}: it became a header", answer)
        for name, value in answer.headers:
            clean = _HEADER_VALUE.fullmatch(value) and "conformance: injected" not in value.lower()
            expect.that(clean, f"{case}: {name} holds it", answer)
        if answer.status == 401:
            expect.challenge(answer, "Basic")


@row("E5")
async def errors_of_the_framework(server: Server) -> None:
    client, url = await server.client(), server.endpoints.token
    headers = (("Authorization", basic(client.id, client.secret)), ("Content-Type", FORM))
    cases = {
        "a path that is not there": Request("POST", f"{url}/conformance", headers, b"x=y"),
        "another method": Request("PUT", url, headers, b"x=y"),
        "a body of 20 KB": Request("POST", url, headers, b"x=" + b"y" * 20_000),
        "a body that says it is compressed": Request(
            "POST", url, (*headers, ("Content-Encoding", "gzip")), b"x"
        ),
    }
    for case, request in cases.items():
        answer = await server.send(request)
        expect.that(400 <= answer.status < 500, f"{case}: expected a refusal, got {answer.status}", answer)
        expect.json_object(answer, case)

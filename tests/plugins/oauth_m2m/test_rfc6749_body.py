"""The body of a token request (RFC 6749 3.2 and 4.4.2): rows T3, T4 and T15 of docs/protocol.md."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.conftest import Raw, Refusal

CLIENT = "station-bot"
SECRET = "the-secret-of-these-tests-0123456789"
CREDENTIALS = (CLIENT, SECRET)
BASIC = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
FORM = "application/x-www-form-urlencoded"
GRANT = {"grant_type": "client_credentials"}
BODY = b"grant_type=client_credentials"
PADDED = BODY + b"&padding=" + b"x" * (16 * 1024 - len(BODY) - len("&padding="))
ENDPOINTS = ["/auth/token", "/auth/revoke"]


async def register(wire: Wire, **fields: object) -> None:
    await wire.register(CLIENT, clientSecret=SECRET, **fields)


async def post(wire: Wire, body: bytes, content_type: str | None = FORM, path: str = "/auth/token") -> Any:
    headers = {"Content-Type": content_type} if content_type is not None else {}
    return await wire.fetch("POST", path, headers=headers, body=body, basic=CREDENTIALS)


@pytest.mark.row("T3")
@pytest.mark.parametrize(
    "content_type",
    [
        FORM,
        FORM.upper(),
        f"{FORM};charset=UTF-8",
        f'{FORM} ; Charset="utf-8"',
        f"{FORM}; charset=utf8; q=0.5",
        f"{FORM};",
        f"{FORM}; charset*=a; charset*0*=b",
        f"{FORM}; charset*{'9' * 5000}*=x",
    ],
)
@pytest.mark.gen_test
async def test_a_form_by_any_spelling_of_its_type(wire: Wire, content_type: str) -> None:
    """9110 8.3.1: The type and subtype tokens are case-insensitive."""
    await register(wire)
    body = BODY + "&comment=Grüße".encode() + b"&comment=%C3%BC"
    assert (await post(wire, body, content_type)).status == 200


@pytest.mark.row("T3")
@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "ascii", '"', "", "utf-8 x"])
@pytest.mark.gen_test
async def test_another_charset(wire: Wire, refusal: Refusal, charset: str) -> None:
    """Appendix B: names and values are encoded using the UTF-8 character encoding scheme."""
    for media_type in (FORM, "application/json"):
        answer = await post(wire, BODY, f"{media_type}; charset={charset}")
        assert "UTF-8" in refusal(answer, 400, "invalid_request")


@pytest.mark.row("T4")
@pytest.mark.gen_test
async def test_json_is_read_as_well(wire: Wire) -> None:
    """Station's clients send JSON."""
    await register(wire, scopes=["bot:api", "bot:write"])
    document = {**GRANT, "client_id": CLIENT, "client_secret": SECRET, "scope": "bot:write", "extra": [1, {}]}
    for content_type in ("application/json", "Application/JSON; charset=utf-8"):
        answer = await wire.fetch(
            "POST", "/auth/token", headers={"Content-Type": content_type}, document=document
        )
        assert (answer.status, answer.json["scope"]) == (200, "bot:write")


@pytest.mark.row("T4")
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, BODY),
        ("", BODY),
        ("text/plain", BODY),
        ("text/json", json.dumps(GRANT).encode()),
        ("application/jsonp", json.dumps(GRANT).encode()),
        (f"{FORM}x", BODY),
        (f"{FORM}, {FORM}", BODY),
        (f"{FORM},application/json", BODY),
        ("x" * 5000, BODY),
        ('application/"; x=\\', BODY),
        ("application/octet-stream\xff", BODY),
        ("multipart/form-data", BODY),
        ("multipart/form-data; boundary=b", BODY),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\nx\r\n--b--\r\n',
        ),
    ],
)
@pytest.mark.gen_test
async def test_other_types_are_refused(
    raw: Raw, wire: Wire, refusal: Refusal, content_type: str | None, body: bytes
) -> None:
    """3.2: using the "application/x-www-form-urlencoded" format."""
    await register(wire)
    headers = [] if content_type is None else [b"Content-Type: " + content_type.encode("latin-1")]
    answer = await raw("POST /auth/token", f"Authorization: {BASIC}", *headers, body=body)
    description = refusal(answer, 400, "invalid_request")
    # a multipart body without parts is refused before its type is looked at
    assert "Content-Type" in description or body == BODY


BAD_JSON = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"grant_type"',
    b"12",
    b'[["grant_type", "client_credentials"]]',
    b'{"grant_type": "client_credentials",}',
    b'{"grant_type": "client_credentials"} x',
    b'\xef\xbb\xbf{"grant_type": "client_credentials"}',
    b'{"grant_type": "client_credentials", "x": NaN}',
    b'{"grant_type": "client_credentials", "grant_type": "client_credentials"}',
    b'{"grant_type": "client_credentials", "scope": "bot:api", "scope": "bot:api"}',
    b'{"grant_type": "client_credentials", "scope": "", "scope": ""}',
    b'{"grant_type": null}',
    b'{"grant_type": ["client_credentials"]}',
    b'{"grant_type": {"grant_type": "client_credentials"}}',
    b'{"grant_type": "client_credentials", "scope": 1}',
    b'{"grant_type": "client_credentials", "scope": true}',
    b'{"grant_type": "client_credentials", "scope": null}',
    b'{"grant_type": "client_credentials", "scope": ["bot:api"]}',
    b'{"grant_type": "client_credentials", "scope": "\\ud800"}',
    b'{"grant_type": "client_credentials", "scope": "\xff"}',
    b'{"a":' * 2000,
    b"[" * 16_000,
    b'{"grant_type": "client_credentials", "x": ' + b"9" * 5000 + b"}",
]


@pytest.mark.row("T4", "T9", "T15")
@pytest.mark.gen_test
async def test_json_that_is_no_object_of_strings(wire: Wire, refusal: Refusal) -> None:
    """5.2: repeats a parameter ... or is otherwise malformed."""
    await register(wire)
    for body in BAD_JSON:
        refusal(await post(wire, body, "application/json"), 400, "invalid_request", body)


@pytest.mark.row("T15")
@pytest.mark.gen_test
async def test_a_body_of_16_kib_is_read(wire: Wire, raw: Raw) -> None:
    """The limit itself is allowed, however the body is framed."""
    await register(wire)
    assert len(PADDED) == 16 * 1024
    assert (await post(wire, PADDED)).status == 200
    chunked = await send_chunked(raw, "/auth/token", PADDED)
    assert (chunked.status, chunked.json["token_type"]) == (200, "Bearer")


async def send_chunked(raw: Raw, path: str, body: bytes) -> Any:
    chunks = [body[start : start + 5000] for start in range(0, len(body), 5000)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    headers = (f"Authorization: {BASIC}", f"Content-Type: {FORM}", "Transfer-Encoding: chunked")
    return await raw(f"POST {path}", *headers, body=framed)


@pytest.mark.row("T15")
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.gen_test
async def test_a_body_over_16_kib_is_413(wire: Wire, raw: Raw, refusal: Refusal, path: str) -> None:
    """9110 15.5.14: Content Too Large."""
    await register(wire)
    refusal(await post(wire, PADDED + b"x", path=path), 413, "invalid_request")
    refusal(await post(wire, b"{" * 20_000, "application/json", path), 413, "invalid_request")
    refusal(await post(wire, b"x" * 500_000, None, path), 413, "invalid_request")
    refusal(await send_chunked(raw, path, PADDED + b"x"), 413, "invalid_request")


@pytest.mark.row("T15")
@pytest.mark.gen_test
async def test_a_body_over_1_mib_is_refused_unread(app: Application, raw: Raw) -> None:
    """Beyond the server's own limit Tornado answers a bare 400 before any handler."""
    server = app.listen(0, "127.0.0.1")
    [listener] = server._sockets.values()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        for framing in ("Content-Length: 1048577", "Content-Length: " + "9" * 30):
            answer = await raw("POST /auth/token", f"Content-Type: {FORM}", framing, url=url)
            assert (answer.status, answer.body) == (400, b"")
        assert (await raw("GET /health/live", url=url)).status == 200
    finally:
        server.stop()


MALFORMED = [
    *(b"%", b"%2", b"%zz", b"x%", b"%u0041", b"%-1", b"\xff", b"%ff", b"%c0%80", b"%ed%a0%80"),
    *(b"\xed\xa0\x80", b"%f4%90%80%80", b"%e2%82"),
]


@pytest.mark.row("T15")
@pytest.mark.gen_test
async def test_malformed_forms(wire: Wire, refusal: Refusal) -> None:
    """Appendix B: percent-encoded UTF-8."""
    await register(wire)
    for malformed in MALFORMED:
        for body in (
            BODY + b"&scope=" + malformed,
            BODY + b"&unknown=" + malformed,
            BODY + b"&" + malformed + b"=x",
            BODY + malformed,
        ):
            refusal(await post(wire, body), 400, "invalid_request", body)
        body = b"token=" + malformed
        refusal(await post(wire, body, path="/auth/revoke"), 400, "invalid_request", body)


@pytest.mark.row("T15")
@pytest.mark.parametrize("content_type", [FORM, FORM.upper(), "application/json", ""])
@pytest.mark.parametrize("encoding", ["gzip", "BR", "identity, gzip"])
@pytest.mark.gen_test
async def test_compressed_bodies(raw: Raw, refusal: Refusal, encoding: str, content_type: str) -> None:
    """5.2: what cannot be read is malformed."""
    headers = (f"Content-Type: {content_type}", f"Content-Encoding: {encoding}")
    for path in ENDPOINTS:
        refusal(await raw(f"POST {path}", *headers, body=gzip.compress(BODY)), 400, "invalid_request")

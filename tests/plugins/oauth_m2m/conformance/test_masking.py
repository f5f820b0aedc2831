"""What a report shows of an exchange holds no secret, and nothing that a terminal would act on."""

from __future__ import annotations

import base64
from urllib.parse import urlencode

import pytest

from plugins.oauth_m2m.conformance.masking import MASK, Masking
from plugins.oauth_m2m.conformance.wire import Answer, Request

SECRET = "a/secret+of these:tests%41-0123456789"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLW9mLXRoaXMtdG9rZW4"
BASIC = base64.b64encode(f"bot:{SECRET}".encode()).decode()

REQUESTS = [
    Request("POST", "http://x/auth/token", (("Authorization", f"Basic {BASIC}"),)),
    Request("POST", "http://x/auth/token", (("authorization", BASIC),)),
    Request("GET", "http://x/", (("Authorization", f"Bearer {TOKEN}"),)),
    Request("GET", "http://x/", (("x-internal-api-key", SECRET), ("Cookie", f"a={SECRET}"))),
    Request("POST", f"http://x/?{urlencode({'client_secret': SECRET})}"),
    Request("GET", f"http://x/?access_token={TOKEN}"),
    Request("POST", "http://x/", (), urlencode({"client_secret": SECRET, "token": TOKEN}).encode()),
    Request("POST", "http://x/", (), b'{"clientSecret": "unknown \\" here", "token": "unknown-here"}'),
    Request("POST", "http://x/", (), b"x" * 1990 + SECRET.encode()),
    Request("POST", "http://x/", (), b"client_secret=unknown-here&grant_type=client_credentials"),
]


@pytest.fixture
def masking() -> Masking:
    masking = Masking()
    masking.keep(SECRET, None, "short")
    return masking


@pytest.mark.parametrize("request_", REQUESTS)
def test_no_secret_of_a_request_is_shown(masking: Masking, request_: Request) -> None:
    shown = masking.request(request_)
    for secret in (SECRET, BASIC, TOKEN, urlencode({"": SECRET})[1:], "unknown", SECRET[:9]):
        assert secret not in shown
    assert MASK in shown


def test_what_is_no_secret_is_shown(masking: Masking) -> None:
    request = Request("POST", "http://x/auth/token?a=short", (("Authorization", "Basic !"),), b"scope=a&b=c")
    assert masking.request(request).splitlines() == [
        "POST /auth/token?a=short HTTP/1.1",
        f"Authorization: Basic {MASK}",
        "",
        "scope=a&b=c",
    ]


def test_an_answer_is_shown_without_tokens_and_control_characters(masking: Masking) -> None:
    body = f'{{"access_token": "{TOKEN}", "x": "{SECRET}"}}\x1b[2J\u202e\xff'.encode("utf-8", "replace")
    answer = Answer(REQUESTS[0], 200, (("Set-Cookie", f"s={SECRET}"), ("X", "\x1b]0;title\x07")), body)
    shown = masking.answer(answer)
    assert not {SECRET, TOKEN} & set(shown.split('"'))
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "\\x1b[2J" in shown


def test_long_bodies_are_cut_after_they_were_masked(masking: Masking) -> None:
    answer = Answer(REQUESTS[0], 200, (), b"x" * 1990 + SECRET.encode() + b"y" * 5000)
    shown = masking.answer(answer)
    assert len(shown) < 2200
    assert "characters more" in shown
    assert SECRET[:8] not in shown

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.oauth_m2m.credentials import (
    ClientCredentials,
    claimed_client_id,
    read_bearer_token,
    read_client_credentials,
)
from plugins.oauth_m2m.errors import (
    BearerError,
    InvalidBearerRequest,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    MissingToken,
)
from plugins.oauth_m2m.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

BOTH = frozenset({"client_secret_basic", "client_secret_post"})

visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
secrets = st.text(visible, min_size=1)
client_ids = st.from_regex(r"[a-z0-9-]{1,128}", fullmatch=True)


def basic(userpass: str | bytes, scheme: str = "Basic") -> str:
    raw = userpass if isinstance(userpass, bytes) else userpass.encode()
    return f"{scheme} {base64.b64encode(raw).decode()}"


def read(
    authorization: str | None, body: Mapping[str, str] | None = None, *, methods: frozenset[str] = BOTH
) -> ClientCredentials:
    return read_client_credentials(authorization, Parameters(body or {}), methods=methods)


def test_basic_is_split_at_the_first_colon_and_decoded() -> None:
    # the vector of row C3
    secret = "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw="
    sent = "z%2FtZ9VwFZqApmIQ%2BZH1I5pLk%2FuB4ud%3AX2%2F8bL%2BwfFTt1rFw%3D"
    found = read(basic(f"1PpG%2FQ+1:{sent}"))
    assert found == ClientCredentials("1PpG/Q 1", (secret.encode(), sent.encode()), "client_secret_basic")
    # and as clients send it that do not encode
    assert read(basic(f"bot:{secret}")).secrets == (secret.encode(),)


@pytest.mark.parametrize(
    ("password", "candidates"),
    [
        ("plain", (b"plain",)),
        ("a%2Bb", (b"a+b", b"a%2Bb")),
        ("a+b", (b"a+b",)),  # decoded it would hold a space, which no secret does
        ("100%", (b"100%",)),
        ("a%zz", (b"a%zz",)),
        ("a%FF", (b"a%FF",)),
        ("a%00", (b"a%00",)),
        (":a:", (b":a:",)),
    ],
)
def test_a_password_is_read_both_ways(password: str, candidates: tuple[bytes, ...]) -> None:
    assert read(basic(f"bot:{password}")).secrets == candidates


@given(client_ids, secrets)
def test_a_secret_is_found_encoded_or_not(client_id: str, secret: str) -> None:
    for sent in (quote_plus(secret), quote(secret, safe=""), secret):
        found = read(basic(f"{quote_plus(client_id)}:{sent}"))
        assert found.client_id == client_id
        assert secret.encode() in found.secrets
        assert len(found.secrets) <= 2


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "Basic  "])
def test_the_scheme_is_read_without_case(scheme: str) -> None:
    assert read(basic("bot:secret", scheme)).secrets == (b"secret",)


def test_a_long_secret_is_read_whole() -> None:
    assert read(basic("bot:" + "x" * 20_000)).secrets == (b"x" * 20_000,)


MALFORMED_BASIC = {
    "nothing": "Basic",
    "bad base64": "Basic !!!!",
    "no padding": "Basic " + base64.b64encode(b"bot:s").decode().rstrip("="),
    "too much after the padding": basic("bot:s") + "YQ==",
    "the alphabet for URLs": "Basic " + base64.urlsafe_b64encode(b"bot:???>>>").decode(),
    "two words": basic("bot:secret") + " x",
    "non-ASCII": "Basic \xe9\xff",
    "a tab": "Basic\t" + basic("bot:secret")[6:],
    "no colon": basic("bot"),
    "empty id": basic(":secret"),
    "empty secret": basic("bot:"),
    "nothing but a colon": basic(":"),
    "non-UTF-8": basic(b"bot:secr\xffet"),
    "non-UTF-8 id": basic("b%FFt:secret"),
    "NUL in the id": basic("b\0t:secret"),
    "encoded NUL in the id": basic("b%00t:secret"),
    "malformed percent in the id": basic("b%zt:secret"),
    "non-ASCII id": basic("b\u00f6t:secret"),
    "NUL in the secret": basic("bot:sec\0ret"),
    "space in the secret": basic("bot:sec ret"),
    "non-ASCII secret": basic("bot:s\u00e9cret"),
}


@pytest.mark.parametrize("authorization", MALFORMED_BASIC.values(), ids=MALFORMED_BASIC)
def test_malformed_basic_is_an_invalid_client(authorization: str) -> None:
    with pytest.raises(InvalidClient) as refused:
        read(authorization)
    # UnicodeDecodeError holds the credentials
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer abc", "Token abc", "bot:secret", 'Digest username="bot", realm="a, b"', "Basicx eA==", "=="],
)
def test_another_scheme_is_an_invalid_client_and_the_body_is_no_fallback(authorization: str) -> None:
    for body in ({}, {"client_id": "bot", "client_secret": "secret"}):
        with pytest.raises(InvalidClient):
            read(authorization, body)


@pytest.mark.parametrize(
    "authorization",
    [
        f"{basic('bot:secret')},{basic('bot:secret')}",
        f"{basic('bot:secret')}, {basic('other:secret')}",
        f"{basic('bot:secret')},Bearer abc",
        f"Bearer abc,{basic('bot:secret')}",
        f",{basic('bot:secret')}",
        f"{basic('bot:secret')},",
        f"Basic,{basic('bot:secret')}",
    ],
)
def test_two_headers_are_an_invalid_request(authorization: str) -> None:
    with pytest.raises(InvalidRequest):
        read(authorization)


def test_credentials_in_the_body() -> None:
    found = read(None, {"client_id": "bot", "client_secret": "a+b%20:c"})
    assert found == ClientCredentials("bot", (b"a+b%20:c",), "client_secret_post")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"client_id": "bot"},
        {"client_secret": "secret"},
        {"client_id": "bot", "client_assertion": "a.b.c"},
        {"client_id": "bot", "client_secret": ""},
        {"client_id": "b\0t", "client_secret": "secret"},
        {"client_id": "b\u00f6t", "client_secret": "secret"},
        {"client_id": "bot", "client_secret": "sec ret"},
        {"client_id": "bot", "client_secret": "s\u00e9cret"},
        {"client_id": "bot", "client_secret": "secret\0"},
        {"client_id": "bot", "client_secret": "secret\n"},
    ],
)
def test_no_or_malformed_body_credentials_are_an_invalid_client(body: dict[str, str]) -> None:
    with pytest.raises(InvalidClient):
        read(None, body)


@pytest.mark.parametrize(
    ("authorization", "body"),
    [
        (basic("bot:secret"), {"client_secret": "secret"}),
        (basic("bot:secret"), {"client_id": "bot", "client_secret": "secret"}),
        (basic("bot:secret"), {"client_assertion": "a.b.c"}),
        (basic("malformed"), {"client_id": "bot", "client_secret": "secret"}),
        (None, {"client_id": "bot", "client_secret": "secret", "client_assertion": "a.b.c"}),
    ],
)
def test_two_methods_are_an_invalid_request(authorization: str | None, body: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        read(authorization, body)


def test_a_client_id_beside_basic_may_not_contradict() -> None:
    assert read(basic("bot:secret"), {"client_id": "bot"}).client_id == "bot"
    with pytest.raises(InvalidRequest):
        read(basic("bot:secret"), {"client_id": "Bot"})


def test_a_method_that_is_off_is_an_invalid_client() -> None:
    body = {"client_id": "bot", "client_secret": "secret"}
    only_basic, only_post = frozenset({"client_secret_basic"}), frozenset({"client_secret_post"})
    with pytest.raises(InvalidClient):
        read(basic("bot:secret"), methods=only_post)
    with pytest.raises(InvalidClient):
        read(None, body, methods=only_basic)
    assert read(basic("bot:secret"), methods=only_basic).method == "client_secret_basic"
    assert read(None, body, methods=only_post).method == "client_secret_post"


def test_a_representation_holds_no_secret() -> None:
    assert "hunter2" not in repr(read(basic("bot:hunter2")))


@pytest.mark.parametrize(
    ("authorization", "body", "client_id"),
    [
        (basic("bot:secret"), {}, "bot"),
        (basic("b%6ft:secret"), {}, "bot"),
        (basic("bot:"), {}, "bot"),
        (basic("bot:secret"), {"client_id": "other"}, "bot"),
        (None, {"client_id": "bot"}, "bot"),
        (None, {}, None),
        (basic("bot"), {}, None),
        ("Basic !!!", {"client_id": "bot"}, None),
        ("Bearer x", {"client_id": "bot"}, None),
    ],
)
def test_the_client_id_that_is_claimed(
    authorization: str | None, body: dict[str, str], client_id: str | None
) -> None:
    assert claimed_client_id(authorization, Parameters(body)) == client_id


# texts that come near to what the parsers look at
headers = (
    st.text()
    | st.binary().map(basic)
    | st.text().map(lambda text: f"Basic {text}")
    | st.text().map(lambda text: f"Bearer {text}")
    | st.lists(st.sampled_from(["Basic", "Bearer", " ", ",", "\t", "=", "eDp5", "%", "\xe9"])).map("".join)
)
bodies = st.dictionaries(st.sampled_from(["client_id", "client_secret", "client_assertion"]), st.text())


@given(st.none() | headers, bodies, st.sampled_from([BOTH, frozenset[str]()]))
def test_anything_is_read_or_refused(
    authorization: str | None, body: dict[str, str], methods: frozenset[str]
) -> None:
    parameters = Parameters(body)
    claimed = claimed_client_id(authorization, parameters)
    try:
        found = read_client_credentials(authorization, parameters, methods=methods)
    except (InvalidClient, InvalidRequest):
        return
    assert found.method in methods
    assert found.client_id == claimed
    assert re.fullmatch(r"[\x20-\x7e]+", found.client_id)
    assert all(re.fullmatch(rb"[\x21-\x7e]+", secret) for secret in found.secrets)
    assert 1 <= len(found.secrets) == len(set(found.secrets)) <= 2


def bearer(authorization: str | None, query: str = "") -> str:
    return read_bearer_token(authorization, query=query)


@given(
    st.from_regex(r"[A-Za-z0-9._~+/-]{1,80}={0,3}", fullmatch=True),
    st.sampled_from(["Bearer", "bearer", "BEARER"]),
)
def test_a_bearer_token_is_read(token: str, scheme: str) -> None:
    assert bearer(f"{scheme} {token}", "page=2&tokens=3") == token
    assert bearer(f"{scheme}   {token} ") == token


@pytest.mark.parametrize(
    "authorization", [None, "", "Basic eDp5", "Bearerx abc", "abc", 'Digest a="b", c="d"']
)
def test_without_a_bearer_token_none_is_missing_an_error(authorization: str | None) -> None:
    with pytest.raises(MissingToken):
        bearer(authorization)


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        "Bearer  x y",
        "Bearer x,Bearer x",
        "Bearer x, Bearer y",
        "Bearer x,Basic eDp5",
        "Basic eDp5,Bearer x",
        ",Bearer x",
        "Bearer,Bearer x",
        "Bearer x,",
    ],
)
def test_a_malformed_or_repeated_header_is_an_invalid_request(authorization: str) -> None:
    with pytest.raises(InvalidBearerRequest):
        bearer(authorization)


@pytest.mark.parametrize(
    "token", ['"x"', "a=b", "=", "\xe9", "x\ty", "a{b}", "a:b", "x" * 8193, "x" * 65_536]
)
def test_what_cannot_be_a_token_is_an_invalid_token(token: str) -> None:
    with pytest.raises(InvalidToken):
        bearer(f"Bearer {token}")


def test_the_longest_token_is_read() -> None:
    assert bearer("Bearer " + "x" * 8192) == "x" * 8192


@pytest.mark.parametrize(
    "query", ["access_token=abc", "a=b&access_token=abc", "access%5Ftoken=abc", "access_token"]
)
@pytest.mark.parametrize("authorization", [None, "Bearer abc"])
def test_a_token_in_the_query_is_an_invalid_request(authorization: str | None, query: str) -> None:
    with pytest.raises(InvalidBearerRequest) as refused:
        bearer(authorization, query)
    assert "abc" not in refused.value.description


@given(st.none() | headers, st.text(st.characters() | st.sampled_from("%&=")))
def test_anything_is_a_token_or_a_refusal(authorization: str | None, query: str) -> None:
    try:
        token = bearer(authorization, query)
    except BearerError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token)

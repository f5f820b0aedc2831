from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.auth.models import TokenPair, User
from station.auth.tokens import AccessClaims, RefreshClaims, SessionTokens
from station.keys import derive_key

SECRET = "the secret of the tests, 32 bytes and more"
ISSUER = "https://station.example"
KEY = derive_key(SECRET, "sessions")
ADA = User(
    id="usr_1",
    email="ada@example.com",
    password="$bcrypt",
    roles=(),
    is_active=True,
    created_at=datetime(2025, 1, 2, tzinfo=UTC),
    generation="g1",
)
TOKENS = SessionTokens(jwt_secrets=[SECRET], issuer=ISSUER, audience="fleet")


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": "fleet",
        "sub": "usr_1",
        "type": "user",
        "sid": "s1",
        "gen": "g1",
        "jti": "j1",
        "iat": now,
        "exp": now + 60,
    }
    return good | changed


def sign(payload: dict[str, Any], *, key: bytes = KEY, alg: str = "HS256", **header: Any) -> str:
    return jwt.encode(payload, key, alg, headers={"typ": "session+jwt"} | header)


def test_tokens_are_read_back() -> None:
    pair = TOKENS.issue("s1", ADA, 7)
    assert TOKENS.read_access(pair.access) == AccessClaims("s1", "usr_1", "g1")
    assert TOKENS.read_refresh(pair.refresh) == RefreshClaims("s1", "usr_1", "g1", 7)


def test_what_the_tokens_say() -> None:
    pair = TOKENS.issue("s1", ADA, 7)
    for token, typ, lifetime, own in (
        (pair.access, "session+jwt", 900, set()),
        (pair.refresh, "refresh+jwt", 604_800, {"n"}),
    ):
        assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": typ}
        payload = jwt.decode(token, KEY, ["HS256"], audience="fleet")
        assert set(payload) == {"iss", "aud", "sub", "type", "sid", "gen", "iat", "exp", "jti"} | own
        assert payload["type"] == "user"
        assert payload["exp"] - payload["iat"] == lifetime
    assert TOKENS.issue("s1", ADA, 7) != pair  # jti


def test_one_kind_never_passes_for_the_other() -> None:
    pair = TOKENS.issue("s1", ADA, 7)
    assert TOKENS.read_access(pair.refresh) is None
    assert TOKENS.read_refresh(pair.access) is None


def test_the_hand_made_token_of_these_tests_is_good() -> None:
    assert TOKENS.read_access(sign(claims())) == AccessClaims("s1", "usr_1", "g1")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        "..",
        "é.é.é",
        "\ud800",
        "x" * 100_000,
        jwt.encode(claims(), "", "none", headers={"typ": "session+jwt"}),
        sign(claims(), key=b"another key of at least 32 bytes"),
        sign(claims(), key=SECRET.encode()),
        sign(claims(), alg="HS512", key=KEY * 2),
        sign(claims(), alg="HS512", key=KEY + b"\0" * 32),
        sign(claims(), typ="JWT"),
        sign(claims(), typ="at+jwt"),
        sign(claims(), kid="../../dev/null"),
        sign(claims(), crit=["exp"]),
        sign(claims(), jwk={"kty": "oct", "k": "AA"}),
        sign(claims(iss="https://evil.example")),
        sign(claims(aud="another")),
        sign(claims(aud=["fleet"])),
        sign(claims(type="client")),
        sign(claims(exp=int(time.time()))),
        sign(claims(iat=int(time.time()) + 1200)),
        sign(claims(exp=1e400)),
        sign(claims(exp=2**70, iat=-(2**70), nbf="soon")),
        sign(claims(exp=str(int(time.time()) + 60))),
        sign(claims(exp=time.time() + 60.5)),
        sign(claims(iat=True)),
        sign(claims(sid=5)),
        sign(claims(sid=None)),
        sign(claims(gen=None)),
        sign(claims(jti={"a": ["b"]})),
        *[sign({k: v for k, v in claims().items() if k != name}) for name in claims()],
    ],
)
def test_anything_else_is_no_access_token(token: str) -> None:
    assert TOKENS.read_access(token) is None


@pytest.mark.parametrize("counter", ["1", 1.0, True, None, [1]])
def test_the_counter_is_a_whole_number(counter: object) -> None:
    assert TOKENS.read_refresh(sign(claims(n=1), typ="refresh+jwt")) == RefreshClaims("s1", "usr_1", "g1", 1)
    assert TOKENS.read_refresh(sign(claims(n=counter), typ="refresh+jwt")) is None


@pytest.mark.parametrize("document", ["[" * 40_000, "[]", '"text"', "1e999", "{}", "nul", "\ud800"])
def test_parts_that_are_not_what_json_should_be(document: str) -> None:
    part = base64.urlsafe_b64encode(document.encode(errors="surrogatepass")).decode().rstrip("=")
    assert TOKENS.read_access(f"{part}.e30.AA") is None
    signed = jwt.PyJWS().encode(
        document.encode(errors="surrogatepass"), KEY, "HS256", headers={"typ": "session+jwt"}
    )
    assert TOKENS.read_access(signed) is None


@given(st.text())
def test_any_text_is_refused_quietly(text: str) -> None:
    assert TOKENS.read_access(text) is None
    assert TOKENS.read_refresh(text) is None


@given(st.dictionaries(st.sampled_from(list(claims())), st.none() | st.integers() | st.floats() | st.text()))
def test_any_claims_under_a_good_signature_are_no_exception(changed: dict[str, object]) -> None:
    payload = json.dumps(claims(**changed), allow_nan=True).encode()
    token = jwt.PyJWS().encode(payload, KEY, "HS256", headers={"typ": "session+jwt"})
    read = TOKENS.read_access(token)
    assert read is None or isinstance(read.user_id, str)


def test_clocks_of_nodes_may_differ_by_a_little() -> None:
    assert TOKENS.read_access(sign(claims(iat=int(time.time()) + 330)))


def test_the_former_secret_verifies_and_no_longer_signs() -> None:
    rotated = SessionTokens(jwt_secrets=["n" * 32, SECRET], issuer=ISSUER, audience="fleet")
    assert rotated.read_access(TOKENS.issue("s1", ADA, 1).access)
    assert TOKENS.read_access(rotated.issue("s1", ADA, 1).access) is None


def test_no_repr_shows_a_token_or_a_hash() -> None:
    pair = TOKENS.issue("s1", ADA, 1)
    assert repr(pair) == "TokenPair()"
    assert pair != TokenPair("", "")
    assert "$bcrypt" not in repr(ADA)

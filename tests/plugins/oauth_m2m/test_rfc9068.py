"""Access tokens as JWTs (RFC 9068, 7519, 8725): table J of docs/protocol.md.

Every token here has a right signature unless the test is about signatures: what is refused is refused for
what it says.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from station.app import make_app
from station.config import load_config
from station.errors import ConfigError, StartError

if TYPE_CHECKING:
    from pathlib import Path

    from tornado.ioloop import IOLoop

    from station.config import Config
    from tests.conftest import Answer, Wire

INVALID_TOKEN = (
    'Bearer realm="station", error="invalid_token", error_description="The token is not valid.", '
    'resource_metadata="http://127.0.0.1:3001/.well-known/oauth-protected-resource"'
)
HEADER = {"alg": "HS256", "typ": "at+jwt"}
PREVIOUS = "the-signing-secret-before-the-last-rotation-0123456789"
SURROGATE = "\ud800"
HUGE = 10**400

AT_JWT = ["at+jwt", "AT+JWT", "At+jWt", "application/at+jwt", "Application/AT+JWT"]
NOT_AT_JWT: list[object] = [
    "",
    "JWT",
    "jwt",
    "at",
    "at+jwt ",
    "at+jwt2",
    "session+jwt",
    "text/at+jwt",
    SURROGATE,
]
NOT_AT_JWT += [None, True, 7, 1.5, ["at+jwt"], {"at+jwt": "at+jwt"}]
NOT_HS256: list[object] = ["none", "None", "NONE", "nOnE", "", "hs256", "HS384", "HS512", "RS256", "EdDSA"]
NOT_HS256 += [None, 7, ["HS256"], {}]


@pytest.fixture
def config(config: Config) -> Config:
    """While rotating: tokens of a former key are good as well."""
    return dataclasses.replace(config, jwt_secret_previous=PREVIOUS)


class Forge:
    """Signs whatever it is given, under the right key unless told, and presents it."""

    def __init__(self, wire: Wire, key: str) -> None:
        self._wire = wire
        self._key = key
        self._credentials = ("", "")
        self.genuine = ""
        self.claims: dict[str, Any] = {}

    async def open(self) -> Forge:
        """Get a genuine token, whose claims the others change."""
        self._credentials = await self._wire.register(scopes=["bot:api", "bot:read"])
        self.genuine = await self._wire.access_token(self._credentials)
        self.claims = jwt.decode(self.genuine, options={"verify_signature": False})
        return self

    def sign(
        self, payload: object, header: object = None, *, key: str | None = None, digest: str = "sha256"
    ) -> str:
        """Sign a payload and a header: bytes as they are, anything else as JSON."""
        parts = [HEADER if header is None else header, payload]
        signed = b".".join(map(_base64, parts))
        signature = hmac.digest((key or self._key).encode(), signed, digest)
        return (signed + b"." + _base64(signature)).decode()

    def changed(self, **changes: object) -> str:
        """The genuine claims with changes; a claim that is `...` is left out."""
        claims = {name: value for name, value in (self.claims | changes).items() if value is not ...}
        return self.sign(claims)

    async def present(self, token: str) -> Answer:
        return await self._wire.fetch("GET", "/auth/client", bearer=token)

    async def refused(self, token: str, what: object = None) -> None:
        """Assert that the token opens nothing, that it revokes nothing, and that it breaks nothing."""
        answer = await self.present(token)
        assert (answer.status, answer.headers.get("WWW-Authenticate")) == (401, INVALID_TOKEN), what
        assert answer.json["error"] == "invalid_token"
        revoked = await self._wire.fetch(
            "POST", "/auth/revoke", form={"token": token}, basic=self._credentials
        )
        # RFC 7009 2.2: what is no token of ours is revoked already; row V3: one of another client is not
        assert revoked.status in {200, 400}, what

    async def accepted(self, token: str, what: object = None) -> None:
        answer = await self.present(token)
        assert (answer.status, answer.json.get("client_id")) == (200, "station-bot"), what


def _base64(part: object) -> bytes:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@pytest.fixture
def forge(wire: Wire, config: Config) -> Forge:
    return Forge(wire, config.jwt_secret)


@pytest.mark.row("J3", "J4", "J5", "J6")
@pytest.mark.gen_test
async def test_what_an_issued_token_says(forge: Forge, config: Config) -> None:
    await forge.open()
    before = int(time.time())
    assert jwt.get_unverified_header(forge.genuine) == HEADER
    claims = dict(forge.claims)
    jti, gen, iat, exp = (claims.pop(name) for name in ("jti", "gen", "iat", "exp"))
    assert claims == {
        "iss": config.issuer,
        "aud": config.audience,
        "sub": "station-bot",
        "client_id": "station-bot",
        "type": "client",
        "scopes": ["bot:api", "bot:read"],
        "scope": "bot:api bot:read",
    }
    assert len(jti) >= 22
    assert isinstance(gen, str)
    assert before - 5 <= iat <= before
    assert exp - iat == 3600
    await forge.accepted(forge.sign(forge.claims))
    await forge.accepted(forge.genuine)


@pytest.mark.row("J1")
@pytest.mark.gen_test
async def test_one_algorithm_is_allowed(forge: Forge) -> None:
    await forge.open()
    for alg in NOT_HS256:
        signed = forge.sign(forge.claims, {"alg": alg, "typ": "at+jwt"})
        await forge.refused(signed, alg)
        await forge.refused(signed.rpartition(".")[0] + ".", alg)
    await forge.refused(forge.sign(forge.claims, {"typ": "at+jwt"}))
    for digest in ("sha384", "sha512"):
        await forge.refused(forge.sign(forge.claims, digest=digest), digest)
        header = {"alg": "HS" + digest[3:], "typ": "at+jwt"}
        await forge.refused(forge.sign(forge.claims, header, digest=digest), header)
    await forge.accepted(forge.genuine)


@pytest.mark.row("J1")
@pytest.mark.gen_test
async def test_a_key_of_another_kind_signs_nothing(forge: Forge) -> None:
    await forge.open()
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    for more in ({}, {"jwk": jwk}, {"kid": "1"}, {"x5c": [public.decode()]}):
        await forge.refused(
            jwt.encode(forge.claims, private, "RS256", headers={"typ": "at+jwt", **more}), more
        )
    await forge.refused(forge.sign(forge.claims, key=public.decode()))
    await forge.accepted(forge.genuine)


@pytest.mark.row("J1")
@pytest.mark.gen_test
async def test_a_header_holds_alg_and_typ_and_nothing_else(forge: Forge) -> None:
    await forge.open()
    secret = base64.urlsafe_b64encode(b"k" * 32).decode()
    foreign: dict[str, list[object]] = {
        "crit": [[], ["exp"], ["b64"], "exp", None],
        "b64": [False, True],
        "jwk": [{"kty": "oct", "k": secret}, None],
        "jku": ["https://evil.example/jwks.json", "http://127.0.0.1:1/"],
        "kid": ["1", "", "../../etc/passwd", "' OR 1=1 --", "https://evil.example/", None, 7, ["1"]],
        "x5u": ["https://evil.example/cert.pem"],
        "x5c": [["MIIB"]],
        "zip": ["DEF"],
        "cty": ["JWT"],
        "unknown": [1],
    }
    for name, values in foreign.items():
        for value in values:
            await forge.refused(forge.sign(forge.claims, {**HEADER, name: value}), (name, value))
    await forge.refused(forge.sign(forge.claims, {**HEADER, "jwk": foreign["jwk"][0]}, key="k" * 32))
    await forge.accepted(forge.genuine)


@pytest.mark.row("J2")
@pytest.mark.parametrize("name", ["JWT_SECRET", "JWT_SECRET_PREVIOUS"])
@pytest.mark.parametrize(
    ("secret", "right"),
    [
        ("k" * 31, False),
        ("k" * 31 + " ", False),
        ("é" * 15, False),
        ("é" * 16, True),
        ("k" * 32, True),
    ],
)
def test_a_key_has_32_bytes_at_least(tmp_path: Path, name: str, secret: str, right: bool) -> None:
    def load() -> Config:
        (tmp_path / "station.toml").touch()
        environ = {"STATION_DATA_DIR": str(tmp_path / "data"), "JWT_SECRET": "k" * 32, name: secret}
        return load_config(environ, file=tmp_path / "station.toml")

    if right:
        assert getattr(load(), name.lower()) == secret
        return
    with pytest.raises(ConfigError, match=name) as stopped:
        load()
    assert secret not in str(stopped.value)


@pytest.mark.row("J2")
def test_no_key_no_start(config: Config) -> None:
    with pytest.raises(StartError, match="JWT_SECRET"):
        make_app(dataclasses.replace(config, jwt_secret=""))


@pytest.mark.row("J2")
@pytest.mark.gen_test
async def test_the_previous_key_verifies_and_signs_nothing(forge: Forge, config: Config) -> None:
    await forge.open()
    await forge.accepted(forge.sign(forge.claims, key=PREVIOUS))
    await forge.refused(forge.sign(forge.claims, key="a-key-that-was-never-a-key-of-this-station"))
    jwt.decode(forge.genuine, config.jwt_secret, ["HS256"], audience=config.audience)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forge.genuine, PREVIOUS, ["HS256"], audience=config.audience)
    # what the former key signed is looked at as closely
    await forge.refused(forge.sign(forge.claims | {"exp": int(time.time())}, key=PREVIOUS))
    await forge.refused(forge.sign(forge.claims, {"alg": "HS256", "typ": "JWT"}, key=PREVIOUS))


@pytest.mark.row("J3")
@pytest.mark.gen_test
async def test_typ_says_that_it_is_an_access_token(forge: Forge) -> None:
    await forge.open()
    for right in AT_JWT:
        await forge.accepted(forge.sign(forge.claims, {"alg": "HS256", "typ": right}), right)
    for wrong in NOT_AT_JWT:
        await forge.refused(forge.sign(forge.claims, {"alg": "HS256", "typ": wrong}), wrong)
    await forge.refused(forge.sign(forge.claims, {"alg": "HS256"}))


@pytest.mark.row("J4")
@pytest.mark.gen_test
async def test_every_claim_must_be_there(forge: Forge) -> None:
    await forge.open()
    assert len(forge.claims) == 11
    for name in forge.claims:
        await forge.refused(forge.changed(**{name: ...}), name)
    await forge.accepted(forge.genuine)


@pytest.mark.row("J4", "J11")
@pytest.mark.gen_test
async def test_every_claim_has_its_type(forge: Forge) -> None:
    await forge.open()
    texts = ("iss", "sub", "client_id", "type", "scope", "gen", "jti")
    no_text: list[object] = [None, True, False, 7, 1.5, HUGE, [], ["station-bot"], {}, {"a": "b"}, [[[]]]]
    wrong: dict[str, list[object]] = {name: [*no_text, [forge.claims[name]]] for name in texts}
    for name in ("iat", "exp"):
        now = forge.claims[name]
        wrong[name] = [
            None,
            True,
            False,
            str(now),
            "soon",
            "",
            float(now),
            now + 0.5,
            1e300,
            [now],
            {"a": now},
        ]
        wrong[name] += [float("inf"), float("-inf"), float("nan"), HUGE, -HUGE, 10**30]
    wrong["scopes"] = [None, True, 7, "bot:api bot:read", {}, {"bot:api": 1, "bot:read": 1}]
    wrong["scopes"] += [[None], [1], [["bot:api", "bot:read"]], ["bot:api", None], ["bot:api", {}]]
    wrong["aud"] = [None, True, 7, [], {}, [None], [7], [[forge.claims["aud"]]], {forge.claims["aud"]: 1}]
    for name, values in wrong.items():
        for value in values:
            await forge.refused(forge.changed(**{name: value}), (name, value))
    both = [*no_text, "", SURROGATE, "\0", "STATION-BOT", " station-bot", "station-bot\n", {"$ne": ""}]
    for value in both:
        await forge.refused(forge.changed(sub=value, client_id=value), value)
    await forge.refused(forge.changed(jti=SURROGATE))
    await forge.accepted(forge.genuine)
    for generation in ("", SURROGATE, forge.claims["gen"].swapcase()):
        await forge.refused(forge.changed(gen=generation), generation)


@pytest.mark.row("J5")
@pytest.mark.gen_test
async def test_scope_and_scopes_and_type_agree(forge: Forge) -> None:
    await forge.open()
    disagreeing: list[dict[str, object]] = [
        {"scope": "bot:api"},
        {"scope": ""},
        {"scope": "bot:read bot:api"},
        {"scope": "bot:api  bot:read"},
        {"scope": "bot:api bot:read bot:write"},
        {"scopes": []},
        {"scopes": ["bot:api"]},
        {"scopes": ["bot:api", "bot:read", "bot:write"]},
        {"scopes": ["BOT:API", "bot:read"]},
        {"type": "user"},
        {"type": "CLIENT"},
        {"type": ""},
        {"sub": "other-bot"},
        {"client_id": "other-bot"},
        {"sub": "usr_1"},
    ]
    for changes in disagreeing:
        await forge.refused(forge.changed(**changes), changes)
    # nobody gets a scope that the client does not hold, whatever was signed
    more = ["bot:api", "bot:read", "bot:write"]
    answer = await forge.present(forge.changed(scopes=more, scope=" ".join(more)))
    assert (answer.status, answer.json["scopes"]) == (200, ["bot:api", "bot:read"])


@pytest.mark.row("J6")
@pytest.mark.gen_test
async def test_issuer_is_exact_and_audience_contains_us(forge: Forge) -> None:
    await forge.open()
    issuer, audience = forge.claims["iss"], forge.claims["aud"]
    for wrong in (issuer + "/", issuer.upper(), issuer[:-1], " " + issuer, "", "https://elsewhere.example"):
        await forge.refused(forge.changed(iss=wrong), wrong)
        await forge.refused(forge.changed(aud=wrong), wrong)
        await forge.refused(forge.changed(aud=[wrong]), wrong)
        await forge.accepted(forge.changed(aud=[wrong, audience]), wrong)


@pytest.mark.row("J7")
@pytest.mark.gen_test
async def test_a_token_ends_on_the_second(forge: Forge) -> None:
    await forge.open()
    now = int(time.time())
    for exp in (now, now - 1, now - 60, 1, 0, -1):
        await forge.refused(forge.changed(iat=exp - 60, exp=exp), exp - now)
    exp = int(time.time()) + 3
    ending = forge.changed(exp=exp)
    await forge.accepted(ending)
    await asyncio.sleep(exp - time.time() + 0.01)
    await forge.refused(ending)


@pytest.mark.row("J7")
@pytest.mark.gen_test
async def test_a_token_from_the_future_is_refused(forge: Forge) -> None:
    await forge.open()
    now = int(time.time())
    for ahead in (120, 3600, 86_400 * 365):
        await forge.refused(forge.changed(iat=now + ahead, exp=now + ahead + 60), ahead)
        await forge.refused(forge.changed(nbf=now + ahead), ahead)
    for ahead in (-60, 0, 30):  # another node's clock may be that far ahead
        await forge.accepted(forge.changed(iat=now + ahead, exp=now + 600), ahead)
        await forge.accepted(forge.changed(nbf=now + ahead), ahead)
    wrong: list[object] = [None, True, "soon", str(now), 1.5, [], {}, HUGE, float("nan")]
    for nbf in wrong:
        await forge.refused(forge.changed(nbf=nbf), nbf)


@pytest.mark.row("J11")
@pytest.mark.gen_test
async def test_whatever_a_right_signature_stands_under(forge: Forge) -> None:
    await forge.open()
    deep = b'{"a":' * 1100 + b"1" + b"}" * 1100
    wide = b"[" * 2900 + b"]" * 2900
    digits = b'{"exp":' + b"9" * 5000 + b"}"
    no_claims = [
        b"",
        b"{}",
        b"{",
        b"[]",
        b"null",
        b"true",
        b"7",
        b"1e999",
        b'"x"',
        b"NaN",
        b"\xff\xfe",
        b"\0",
    ]
    no_claims += [deep, wide]
    for payload in (*no_claims, digits, json.dumps([forge.claims]).encode()):
        await forge.refused(forge.sign(payload), payload[:20])
    for header in (*no_claims, json.dumps([HEADER]).encode()):
        await forge.refused(forge.sign(forge.claims, header), header[:20])
    nested = json.dumps(forge.claims).encode()[:-1] + b', "more": ' + b"[" * 2400 + b"]" * 2400 + b"}"
    assert (await forge.present(forge.sign(nested))).status in {200, 401}  # as deep as this Python reads
    await forge.accepted(forge.changed(more={"of": ["anything", 1.5, None]}))


@pytest.mark.row("J11")
@pytest.mark.gen_test
async def test_of_a_repeated_claim_the_last_counts(forge: Forge) -> None:
    """RFC 7519 4: a parser refuses repeats or takes the last, never the first."""
    await forge.open()
    claims = json.dumps(forge.claims).encode()
    for name in ("sub", "client_id", "gen", "exp", "aud", "scopes"):
        bad = json.dumps({name: 1}).encode()
        await forge.refused(forge.sign(claims[:-1] + b"," + bad[1:]), name)
        await forge.accepted(forge.sign(bad[:-1] + b"," + claims[1:]), name)
    header = json.dumps(HEADER).encode()
    await forge.refused(forge.sign(forge.claims, header[:-1] + b',"alg":"none"}'))
    await forge.refused(forge.sign(forge.claims, header[:-1] + b',"typ":"JWT"}'))


@pytest.mark.row("J1", "J3", "B13")
@pytest.mark.gen_test
async def test_the_token_of_a_session_is_no_access_token(wire: Wire, forge: Forge) -> None:
    await forge.open()
    person = {"email": "ada@example.com", "password": "correct horse battery"}
    await wire.fetch("POST", "/auth/register", document=person)
    cookies = (await wire.fetch("POST", "/auth/login", document=person)).headers.get_list("Set-Cookie")
    tokens = [cookie.partition("=")[2].partition(";")[0] for cookie in cookies]
    assert len(tokens) == 2
    for token in tokens:
        await forge.refused(token)
        claims = jwt.decode(token, options={"verify_signature": False})
        await forge.refused(forge.sign(claims))
        await forge.refused(forge.sign(forge.claims | claims))
        await forge.refused(
            forge.sign(claims | forge.claims | {"sub": claims["sub"], "client_id": claims["sub"]})
        )


# where, how many characters go, and what comes in their place
_edits = st.tuples(
    st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.text("ABYZabyz0189._~+/-", max_size=3)
)
_members = st.dictionaries(
    st.sampled_from(["kid", "jku", "jwk", "x5u", "crit", "b64", "cty", "zip", "enc"]),
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2),
    min_size=1,
)


@pytest.mark.row("J1")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(_edits, min_size=1, max_size=3))
def test_no_edited_token_is_let_in(
    io_loop: IOLoop, forge: Forge, edits: list[tuple[float, int, str]]
) -> None:
    if not forge.genuine:
        io_loop.run_sync(forge.open)
    token = forge.genuine
    for where, gone, instead in edits:
        place = int(where * len(token))
        token = token[:place] + instead + token[place + gone :]
    # the last character of 43 holds four bits of the signature and two of nothing
    assume(token and not token.startswith(forge.genuine[:-1]))
    io_loop.run_sync(lambda: forge.refused(token, token))


@pytest.mark.row("J1", "J8")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=_members)
def test_no_member_of_a_header_is_let_in_or_followed(
    io_loop: IOLoop, forge: Forge, members: dict[str, object]
) -> None:
    if not forge.genuine:
        io_loop.run_sync(forge.open)
    token = forge.sign(forge.claims, HEADER | members)
    io_loop.run_sync(lambda: forge.refused(token, members))

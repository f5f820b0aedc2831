"""Tokens under public keys, and the JWK Set that verifies them (RFC 7517, RFC 8725)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet

from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.services import services_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from station.app import Application
    from station.config import Config
    from tests.conftest import Wire

JWKS = "/.well-known/jwks.json"
PUBLIC = ["EdDSA", "ES256", "RS256"]
MEMBERS = {"EdDSA": {"kty", "crv", "x"}, "ES256": {"kty", "crv", "x", "y"}, "RS256": {"kty", "n", "e"}}

every_public_algorithm = pytest.mark.parametrize(
    "m2m_settings", [OAuthM2MConfig(bcrypt_cost=4, signing_alg=alg) for alg in PUBLIC], ids=PUBLIC
)


async def keys_of(wire: Wire) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await wire.fetch("GET", JWKS)).json["keys"]
    return found


def unsigned(header: Mapping[str, object], token: str) -> str:
    """The token with another header, and no signature yet."""
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{encoded}.{token.split('.')[1]}"


@every_public_algorithm
@pytest.mark.row("J8", "M7")
@pytest.mark.gen_test
async def test_a_token_carries_the_id_of_a_published_key_and_works(
    wire: Wire, m2m_settings: OAuthM2MConfig
) -> None:
    credentials = await wire.register()
    token = await wire.access_token(credentials)
    header = jwt.get_unverified_header(token)
    assert header == {"alg": m2m_settings.signing_alg, "typ": "at+jwt", "kid": header["kid"]}
    assert header["kid"] in {key["kid"] for key in await keys_of(wire)}
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 200
    revoked = await wire.fetch("POST", "/auth/revoke", form={"token": token}, basic=credentials)
    assert revoked.status == 200
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 401


@every_public_algorithm
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 would have it called Ed25519
@pytest.mark.row("M7", "J9")
@pytest.mark.gen_test
async def test_another_library_verifies_our_tokens_from_our_keys_alone(
    wire: Wire, app: Application, config: Config, m2m_settings: OAuthM2MConfig
) -> None:
    credentials = await wire.register()
    before = await wire.fetch("GET", JWKS)
    first = await wire.access_token(credentials)
    await services_of(app).keyring.rotate(force=True)
    second = await wire.access_token(credentials)
    assert jwt.get_unverified_header(first)["kid"] != jwt.get_unverified_header(second)["kid"]
    after = await wire.fetch("GET", JWKS)
    # the keys of before know the next one already, and those of after still the former
    for answer, token in ((before, first), (before, second), (after, first), (after, second)):
        keys = KeySet.import_key_set(answer.json)
        verified = joserfc_jwt.decode(token, keys, algorithms=[m2m_settings.signing_alg])
        assert verified.header["typ"] == "at+jwt"
        assert (verified.claims["sub"], verified.claims["iss"]) == ("station-bot", config.issuer)
        joserfc_jwt.JWTClaimsRegistry(aud={"essential": True, "value": config.audience}).validate(
            verified.claims
        )
        assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 200


@every_public_algorithm
@pytest.mark.row("M7")
@pytest.mark.gen_test
async def test_the_set_holds_public_members_of_the_keys_that_sign_and_will_sign(
    wire: Wire, m2m_settings: OAuthM2MConfig
) -> None:
    keys = await keys_of(wire)
    assert len({key["kid"] for key in keys}) == 2
    for key in keys:
        assert key.keys() == MEMBERS[m2m_settings.signing_alg] | {"kid", "alg", "use"}
        assert (key["alg"], key["use"]) == (m2m_settings.signing_alg, "sig")


@pytest.mark.row("M7")
@pytest.mark.gen_test
async def test_the_key_of_hs256_is_never_published(wire: Wire, config: Config) -> None:
    answer = await wire.fetch("GET", JWKS)
    assert (answer.status, answer.json) == (200, {"keys": []})
    assert "kid" not in jwt.get_unverified_header(await wire.access_token())


@every_public_algorithm
@pytest.mark.row("J1", "J8")
@pytest.mark.gen_test
async def test_a_key_verifies_its_own_algorithm_and_nothing_else(
    wire: Wire, app: Application, config: Config
) -> None:
    """RFC 8725 2.1, 3.1, 3.10: no header makes a public key a secret, or names a key of somebody else's."""
    token = await wire.access_token()
    header = jwt.get_unverified_header(token)
    signer = services_of(app).keyring.signer()
    claims = jwt.decode(token, options={"verify_signature": False})
    public = signer.material.public_key()
    [jwk] = [key for key in await keys_of(wire) if key["kid"] == header["kid"]]
    known: list[bytes] = [
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        json.dumps(jwk).encode(),
        (jwk.get("x") or jwk["n"]).encode(),
    ]
    hmac = jwt.get_algorithm_by_name("HS256")
    forged = []
    for secret in (*known, config.jwt_secret.encode()):
        for headers in (header | {"alg": "HS256"}, {"alg": "HS256", "typ": "at+jwt"}, header):
            signed = unsigned(headers, token)
            signature = base64.urlsafe_b64encode(hmac.sign(signed.encode(), secret)).rstrip(b"=").decode()
            forged.append(f"{signed}.{signature}")
    forged += [f"{unsigned(header | {'alg': 'none'}, token)}.", f"{unsigned(header, token)}."]

    def signed_with(**changes: object) -> str:
        """The claims under the right key, and a header with changes; what is `...` is left out."""
        algorithm = jwt.get_algorithm_by_name(signer.alg)
        head = {name: value for name, value in (header | changes).items() if value is not ...}
        content = unsigned(head, token)
        signature = algorithm.sign(content.encode(), signer.material)
        return f"{content}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    assert (await wire.fetch("GET", "/auth/client", bearer=signed_with())).status == 200
    [other] = [key["kid"] for key in await keys_of(wire) if key["kid"] != header["kid"]]
    kids: list[object] = [..., None, "", 7, True, [header["kid"]], {"kid": header["kid"]}, other, "HS256"]
    kids += ["../../../dev/null", "/etc/passwd", "' OR '1'='1", "http://evil.example/jwks.json", "$ne"]
    kids += [{"$ne": None}, "\x00", "\ud800", f"{header['kid']} ", header["kid"].upper() + "0", "k" * 4000]
    forged += [signed_with(kid=kid) for kid in kids]
    forged += [
        signed_with(alg=alg) for alg in ("HS256", "none", "PS256", "ES384", "Ed448", None, [signer.alg])
    ]
    forged += [
        signed_with(crit=["exp"]),
        signed_with(jwk=jwk),
        signed_with(jku="http://evil.example/jwks.json"),
        signed_with(x5u="http://evil.example/cert.pem"),
        signed_with(typ="JWT"),
        jwt.encode(claims, config.jwt_secret, headers={"typ": "at+jwt"}),
        jwt.encode(claims, config.jwt_secret, headers={"typ": "at+jwt", "kid": header["kid"]}),
    ]
    for number, bad in enumerate(forged):
        answer = await wire.fetch("GET", "/auth/client", bearer=bad)
        assert (answer.status, answer.json["error"]) == (401, "invalid_token"), (number, bad)
    assert (await wire.fetch("GET", "/auth/client", bearer=token)).status == 200

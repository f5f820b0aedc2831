from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from plugins.oauth_m2m.keyring.sealing import KeySealer, PrivateKey, UnreadableKey

SECRET = "a-signing-secret-for-these-tests-0123456789"
OLD = "the-signing-secret-before-it-0123456789"
PRIVATE: dict[str, PrivateKey] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
}


def pkcs8(private: PrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize("alg", PRIVATE)
def test_what_was_sealed_is_opened_and_cannot_be_read_in_between(alg: str) -> None:
    sealer = KeySealer([SECRET])
    sealed = sealer.seal("k1", alg, PRIVATE[alg])
    assert pkcs8(sealer.open("k1", alg, sealed)) == pkcs8(PRIVATE[alg])
    assert pkcs8(PRIVATE[alg])[-24:] not in sealed
    assert sealer.seal("k1", alg, PRIVATE[alg]) != sealed  # never a nonce twice


def test_it_opens_only_as_the_key_that_it_is() -> None:
    sealer = KeySealer([SECRET])
    sealed = sealer.seal("k1", "ES256", PRIVATE["ES256"])
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    for kid, alg, found in (
        ("k2", "ES256", sealed),
        ("k1", "EdDSA", sealed),
        ("k1", "ES256", flipped),
        ("k1", "ES256", sealed[:-1]),
        ("k1", "ES256", sealed[:20]),
        ("k1", "ES256", b""),
    ):
        with pytest.raises(UnreadableKey):
            sealer.open(kid, alg, found)


def test_a_former_secret_opens_and_never_seals() -> None:
    sealed = KeySealer([OLD]).seal("k1", "EdDSA", PRIVATE["EdDSA"])
    rotating = KeySealer([SECRET, OLD])
    assert pkcs8(rotating.open("k1", "EdDSA", sealed)) == pkcs8(PRIVATE["EdDSA"])
    for resealed in (rotating.reseal("k1", "EdDSA", sealed), rotating.seal("k1", "EdDSA", PRIVATE["EdDSA"])):
        assert pkcs8(KeySealer([SECRET]).open("k1", "EdDSA", resealed)) == pkcs8(PRIVATE["EdDSA"])
        with pytest.raises(UnreadableKey):
            KeySealer([OLD]).open("k1", "EdDSA", resealed)
    for act in (KeySealer([SECRET]).open, KeySealer([SECRET]).reseal):
        with pytest.raises(UnreadableKey, match="k1") as refused:
            act("k1", "EdDSA", sealed)
        assert SECRET not in str(refused.value)

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from plugins.oauth_m2m.hashes import imported_secrets, secret_id

NOW = datetime(2025, 1, 2, tzinfo=UTC)
SALT, DIGEST = "abcdefghijklmnopqrstuu", "/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii"
OTHER_SALT, OTHER_DIGEST = "bbcdefghijklmnopqrstuu", "AK4TiXfksR2.3ReKsEs1hxRT0B9W6ii"


def ours(cost: int = 4, salt: str = SALT, digest: str = DIGEST) -> str:
    return f"$bcrypt-sha256$v=2,t=2b,r={cost}${salt}${digest}"


def raw(cost: int = 4) -> str:
    return f"$2b${cost:02}${SALT}{DIGEST}"


@pytest.mark.parametrize("stored", [ours(), raw(), ours(5), raw(5)])
def test_a_hash_becomes_a_secret(stored: str) -> None:
    salt, [secret] = imported_secrets([stored], max_cost=5, now=NOW)
    assert (salt, secret.hash, secret.created_at, secret.expires_at) == (SALT, stored, NOW, None)
    assert secret.id == secret_id(stored)
    assert stored not in repr(secret)


def test_ids_follow_the_hash_alone() -> None:
    assert secret_id(ours()) == secret_id(ours())
    assert len({secret_id(ours()), secret_id(raw()), secret_id(ours(5))}) == 3
    assert len(secret_id(ours())) == 32


def test_several_hashes_share_salt_and_cost() -> None:
    hashes = [ours(), ours(digest=OTHER_DIGEST)]
    salt, secrets = imported_secrets(hashes, max_cost=4, now=NOW)
    assert (salt, [secret.hash for secret in secrets]) == (SALT, hashes)


@pytest.mark.parametrize(
    ("hashes", "why"),
    [
        ([], "at least one"),
        ([ours(6)], "at most OAUTH_M2M_BCRYPT_COST, 5"),
        ([ours(), raw(6)], "at most OAUTH_M2M_BCRYPT_COST, 5"),
        ([raw(), raw()], "only secret"),
        ([ours(), raw()], "only secret"),
        ([ours(), ours(salt=OTHER_SALT)], "share salt and cost"),
        ([ours(), ours(5)], "share salt and cost"),
        (["secret"], "format"),
        ([ours(), raw()[:-1]], "format"),
    ],
)
def test_what_cannot_be_imported(hashes: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        imported_secrets(hashes, max_cost=5, now=NOW)
    assert DIGEST not in str(error.value)

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from plugins.oauth_m2m.models import ClientToken, SigningKey, SigningKeys
from plugins.oauth_m2m.tokens.verified import VerifiedTokens
from tests.plugins.oauth_m2m.conftest import BOT as STATION_BOT

if TYPE_CHECKING:
    from plugins.oauth_m2m.keyring import Keyring
    from tests.plugins.oauth_m2m.conftest import Node

MADE = datetime(2025, 1, 2, tzinfo=UTC)
BOT = dataclasses.replace(STATION_BOT, scopes=("bot:api", "bot:admin"))
CLAIMS: dict[str, Any] = {
    "client_id": "station-bot",
    "scopes": ["bot:api", "bot:write"],
    "gen": "g1",
    "jti": "j1",
    "iat": 1_767_225_600,
    "exp": 1_767_229_200,
}


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def keyring(node: Node) -> Keyring:
    return node.keyring


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verified(clock: Clock) -> VerifiedTokens:
    return VerifiedTokens(3, clock)


def change_keys(keyring: Keyring) -> None:
    keyring.use(
        SigningKeys(keyring.version + 1, (SigningKey("HS256", "HS256", "active", published_at=MADE),))
    )


def test_a_token_is_remembered_for_a_minute(verified: VerifiedTokens, keyring: Keyring, clock: Clock) -> None:
    assert verified.find("token", keyring) is None
    known = verified.keep("token", CLAIMS, keyring)
    assert (known.client_id, known.gen, known.jti, known.iat, known.exp) == (
        "station-bot",
        "g1",
        "j1",
        1_767_225_600,
        1_767_229_200,
    )
    clock.time += 59.9
    assert verified.find("token", keyring) is known
    assert verified.find("token ", keyring) is None
    clock.time += 0.1
    assert verified.find("token", keyring) is None
    again = verified.keep("token", CLAIMS, keyring)
    assert verified.find("token", keyring) is again


def test_other_keys_forget_every_token(verified: VerifiedTokens, keyring: Keyring) -> None:
    verified.find("token", keyring)
    verified.keep("token", CLAIMS, keyring)
    change_keys(keyring)
    assert verified.find("token", keyring) is None
    assert verified._kept == {}
    known = verified.keep("token", CLAIMS, keyring)
    assert verified.find("token", keyring) is known


def test_what_was_verified_while_the_keys_changed_is_not_remembered(
    verified: VerifiedTokens, keyring: Keyring
) -> None:
    verified.find("token", keyring)
    change_keys(keyring)
    assert verified.keep("token", CLAIMS, keyring).jti == "j1"
    assert verified._kept == {}
    assert verified.find("token", keyring) is None


def test_it_is_bounded_and_the_oldest_leaves(verified: VerifiedTokens, keyring: Keyring) -> None:
    verified.find("", keyring)

    def found() -> list[bool]:
        return [verified.find(f"token {number}", keyring) is not None for number in range(1, 5)]

    for number in (1, 2, 3, 3):  # who is verified again takes nobody's place
        verified.keep(f"token {number}", CLAIMS, keyring)
    assert found() == [True, True, True, False]
    for number in (1, 4):  # and is new
        verified.keep(f"token {number}", CLAIMS, keyring)
    assert found() == [True, False, True, True]
    for number in range(100):
        verified.keep(f"token {number}", CLAIMS, keyring)
    assert len(verified._kept) == 3


def test_no_token_is_in_memory(verified: VerifiedTokens, keyring: Keyring) -> None:
    verified.find("a-long-token", keyring)
    verified.keep("a-long-token", CLAIMS, keyring)
    [digest] = verified._kept
    assert len(digest) == 32
    assert b"token" not in digest


def test_the_scopes_are_those_granted_that_the_client_holds_now(
    verified: VerifiedTokens, keyring: Keyring
) -> None:
    known = verified.keep("token", CLAIMS, keyring)
    held = known.as_held_by(BOT)
    assert held == ClientToken(
        "station-bot", "station-bot", frozenset({"bot:api"}), "j1", 1_767_225_600, 1_767_229_200
    )
    assert known.as_held_by(BOT) is held
    for scopes, expected in (
        ((), set()),
        (("bot:write",), {"bot:write"}),
        (("bot:api", "bot:write", "x"), {"bot:api", "bot:write"}),
    ):
        changed = dataclasses.replace(BOT, scopes=scopes, version=2)
        assert known.as_held_by(changed).scopes == expected
    assert known.as_held_by(BOT).scopes == {"bot:api"}

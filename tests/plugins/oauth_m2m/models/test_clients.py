from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from plugins.oauth_m2m.models import Client, ClientSecret, IssuedToken, Registration

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
ENDLESS = ClientSecret(id="s1", hash="a-stored-hash", created_at=NOON)
ENDING = dataclasses.replace(ENDLESS, id="s2", expires_at=NOON)
BOT = Client(
    id="1",
    client_id="station-bot",
    name="",
    salt="a-stored-salt",
    secrets=(ENDLESS, ENDING),
    scopes=("bot:api",),
    is_active=True,
    token_ttl=None,
    generation="g1",
    version=1,
    created_at=NOON,
    updated_at=NOON,
)


@pytest.mark.parametrize(("milliseconds", "live"), [(-1, True), (0, False), (1, False)])
def test_a_secret_ends_at_the_very_instant_of_its_expiry(milliseconds: int, live: bool) -> None:
    moment = NOON + timedelta(milliseconds=milliseconds)
    assert ENDING.is_live(moment) is live
    assert ENDLESS.is_live(moment)
    assert BOT.live_secrets(moment) == ((ENDLESS, ENDING) if live else (ENDLESS,))


def test_a_disabled_client_has_no_live_secret() -> None:
    assert dataclasses.replace(BOT, is_active=False).live_secrets(NOON - timedelta(days=1)) == ()


@pytest.mark.parametrize(
    "holder",
    [
        BOT,
        Registration("station-bot", ("bot:api",), client_secret="a-stored-secret"),
        IssuedToken("a-stored-token", 60, ("bot:api",), "j1"),
    ],
)
def test_a_representation_tells_no_secret(holder: object) -> None:
    assert "a-stored" not in repr(holder)

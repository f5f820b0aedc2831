"""Each rule at work in a whole Station, by the fixtures of `station.testing`, with the plugin installed."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from station.app import Application
    from station.testing import Answer, Http, RunningStation

SECRET = "a-client-secret-for-the-tests-0123456789"


@pytest.fixture
def audit_file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def station_plugins() -> Sequence[str]:
    return ("oauth_m2m", "house_rules")


@pytest.fixture
def station_settings(audit_file: Path) -> Mapping[str, str]:
    return {
        "HOUSE_RULES_OFFICE": "berlin",
        "HOUSE_RULES_FROZEN_SCOPES": "bot:write",
        "HOUSE_RULES_AUDIT_FILE": str(audit_file),
    }


class Bot:
    """Registered for a scope that is frozen and one that is not; asks for tokens."""

    def __init__(self, station: RunningStation) -> None:
        self._http: Http = station.http
        client = {"clientId": "bot", "clientSecret": SECRET, "scopes": ["bot:api", "bot:write"]}
        assert station.admin.post("/oauth-clients", json=client).status == 201

    def token(self, scope: str) -> Answer:
        grant = {"grant_type": "client_credentials", "scope": scope}
        return self._http.post("/auth/token", form=grant, basic=("bot", SECRET))


@pytest.fixture
def bot(station_app: RunningStation) -> Bot:
    return Bot(station_app)


def events_in(file: Path) -> dict[str, dict[str, Any]]:
    """The events that were written, by action."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {event["action"]: event for event in map(json.loads, lines)}


def test_a_token_says_where_it_was_issued(bot: Bot) -> None:
    answer = bot.token("bot:api")
    assert answer.status == 200
    payload = answer.json["access_token"].split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims["office"] == "berlin"
    assert claims["client_id"] == "bot"


def test_a_frozen_scope_is_refused_and_no_token_is_recorded(bot: Bot, station_app: RunningStation) -> None:
    answer = bot.token("bot:api bot:write")
    assert answer.status == 400
    assert answer.json == {
        "error": "unauthorized_client",
        "error_description": "There is a freeze: no token for bot:write is issued now.",
    }

    async def records(app: Application) -> list[bytes]:
        return [key async for key in app.resources.redis.scan_iter("client-token:*")]

    assert station_app.run(records) == []


def test_the_audit_is_copied_to_the_file(bot: Bot, audit_file: Path) -> None:
    bot.token("bot:write")
    bot.token("bot:api")
    deadline = time.monotonic() + 30
    while "token.issued" not in (found := events_in(audit_file)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert found["client.registered"]["client_id"] == "bot"
    assert found["token.refused"]["reason"] == "vetoed"
    assert found["token.issued"]["count"] == 1
    assert SECRET not in str(found)

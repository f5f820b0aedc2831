"""In development a 403 says which scope is missing and which command grants it, and nowhere else."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from station.config import Config
    from tests.conftest import Wire

HINT = (
    "the token does not hold the scope bot:write, or station-bot has lost it. What would change it: station "
    "oauth-clients change station-bot --add-scope bot:write, if it is not registered for it, then ask for a "
    "new token with scope=bot:write"
)


@pytest.fixture
def env() -> str:
    return "development"


@pytest.fixture
def config(config: Config, env: str) -> Config:
    return dataclasses.replace(config, env=env)  # type: ignore[arg-type] # one of its words


@pytest.mark.gen_test
@pytest.mark.parametrize("env", ["development", "test"])
async def test_the_hint_is_for_developers(wire: Wire, env: str) -> None:
    answer = await wire.fetch("POST", "/probe", body="", bearer=await wire.access_token())
    assert answer.status == 403
    said = {"error": "insufficient_scope", "error_description": "This needs the scope bot:write."}
    assert answer.json == said | ({"hint": HINT} if env == "development" else {})
    assert "change station-bot" not in answer.headers["WWW-Authenticate"]


@pytest.mark.gen_test
async def test_other_refusals_have_none(wire: Wire) -> None:
    for bearer in (None, "not-a-token"):
        answer = await wire.fetch("GET", "/probe", bearer=bearer)
        assert (answer.status, "hint" in answer.json) == (401, False)

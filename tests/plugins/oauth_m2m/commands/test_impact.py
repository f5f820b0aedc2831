from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.impact import impact
from plugins.oauth_m2m.services import services_of
from station.errors import NotFound

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Wire


@pytest.mark.gen_test
async def test_live_tokens_and_the_last_use_of_a_secret(wire: Wire, app: Application) -> None:
    credentials = await wire.register()
    assert await impact(app, "station-bot") == "station-bot has 0 live tokens. It has never used a secret."
    await wire.access_token(credentials)
    clients = app.resources.database["oauth_clients"]
    used = None
    while used is None:  # noted in the background
        document = await clients.find_one({})
        assert document is not None
        used = document["secrets"][0]["last_used_at"]
    last = f"It last used a secret on {used:%Y-%m-%d at %H:%M} UTC, from 127.0.0.1."
    assert await impact(app, "station-bot") == f"station-bot has 1 live token, given to 127.0.0.1. {last}"
    await wire.access_token(credentials)
    assert await impact(app, "station-bot") == f"station-bot has 2 live tokens, given to 127.0.0.1. {last}"


@pytest.mark.gen_test
async def test_an_unknown_client(wire: Wire, app: Application) -> None:
    assert wire.base_url
    with pytest.raises(NotFound):
        await impact(app, "station-bot")


@pytest.mark.gen_test
async def test_all_addresses_that_are_looked_at_are_named(wire: Wire, app: Application) -> None:
    await wire.register()
    services = services_of(app)
    client = await services.clients.get("station-bot")

    async def issue(address: str) -> None:
        await services.tokens.issue(
            client, client.scopes, admission=app.throttle.admit(), address=address, user_agent=""
        )

    await issue("")
    assert "has 1 live token. It" in await impact(app, "station-bot")
    await issue("10.0.0.2")
    await issue("10.0.0.1")
    assert "has 3 live tokens, given to 10.0.0.1, 10.0.0.2. It" in await impact(app, "station-bot")
    for _ in range(48):
        await issue("10.0.0.1")
    assert "has 51 live tokens, given to 10.0.0.1" in (said := await impact(app, "station-bot"))
    assert " and perhaps others. It" in said

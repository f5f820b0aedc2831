from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.commands.impact import impact
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
    assert await impact(app, "station-bot") == f"station-bot has 1 live token. {last}"
    await wire.access_token(credentials)
    assert await impact(app, "station-bot") == f"station-bot has 2 live tokens. {last}"


@pytest.mark.gen_test
async def test_an_unknown_client(wire: Wire, app: Application) -> None:
    assert wire.base_url
    with pytest.raises(NotFound):
        await impact(app, "station-bot")

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import UsageKey
from plugins.oauth_m2m.stores import UsageStore

if TYPE_CHECKING:
    from station.app import Application
    from tests.plugins.oauth_m2m.commands.conftest import Commands

BOT = "station-bot"


def test_clients_that_fetch_a_token_for_every_call_are_named(commands: Commands) -> None:
    commands.succeed("register", BOT, "--scope", "bot:api")
    assert commands.succeed("hints") == "No hints: no client fetches a token for every call.\n"
    assert commands.json("hints") == []

    async def work(app: Application) -> None:
        ago = datetime.now(UTC) - timedelta(minutes=10)
        store = UsageStore(app.resources, retention=timedelta(days=30))
        await store.add({UsageKey(BOT, int(ago.timestamp())): {"issued": 24, "calls": 30}})

    commands.boot.run(work)
    row = commands.succeed("hints").splitlines()[1]
    assert row.split()[:3] == [BOT, "24", "1.2"]
    assert "docs/clients/" in row
    [hint] = commands.json("hints")
    assert (hint["clientId"], hint["issued"], hint["uses"], hint["usesPerToken"]) == (BOT, 24, 30, 1.25)

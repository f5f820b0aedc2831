"""``GET /oauth-clients/{clientId}/usage``: what is counted of what goes over the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.models import UsageKey
from plugins.oauth_m2m.scope import INTROSPECT
from plugins.oauth_m2m.services import services_of
from plugins.oauth_m2m.stores import UsageStore

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Answer, Wire

USAGE = "/oauth-clients/station-bot/usage"


async def usage(wire: Wire, app: Application, query: str = "") -> Answer:
    """What is shown once everything is written that was counted until now."""
    await services_of(app).usage.flush()
    return await wire.admin("GET", USAGE + query)


async def total(wire: Wire, app: Application, *, until_issued: int) -> dict[str, object]:
    """All numbers together; the audit tells its sinks of tokens twice a second."""
    found: dict[str, object] = {}
    while found.get("issued") != until_issued:
        answer = await usage(wire, app)
        assert answer.status == 200, answer.body
        found = answer.json["total"]
    return found


@pytest.mark.gen_test(timeout=20)
async def test_tokens_calls_introspections_and_refusals_are_counted(wire: Wire, app: Application) -> None:
    basic = await wire.register()
    resource_server = await wire.register("resource-server", scopes=[INTROSPECT])
    tokens = [await wire.access_token(basic) for _ in range(3)]
    for status, path in ((200, "/probe"), (200, "/auth/client"), (403, "/probe")):
        method = "POST" if status == 403 else "GET"
        assert (await wire.fetch(method, path, bearer=tokens[0])).status == status
    for token in (tokens[1], "none"):
        await wire.fetch("POST", "/auth/introspect", form={"token": token}, basic=resource_server)
    assert (await wire.token(("station-bot", "a-wrong-secret-of-these-tests-0123456789"))).status == 401
    assert (await wire.token(basic, scope="bot:other")).status == 401
    assert (await wire.fetch("POST", "/auth/token", form={"grant_type": "x"}, basic=basic)).status == 400
    assert await total(wire, app, until_issued=3) == {
        "issued": 3,
        "calls": 2,
        "introspections": 1,
        "refused": {
            "token": {"wrong_secret": 1, "scope": 1, "malformed": 1},
            "bearer": {"scope": 1},
        },
    }


@pytest.mark.gen_test
async def test_periods_are_shown_by_five_minutes_or_by_the_hour(wire: Wire, app: Application) -> None:
    await wire.register()
    now = datetime.now(UTC)
    ago = now - timedelta(hours=40)
    store = UsageStore(app.resources, retention=timedelta(days=30))
    await store.add({UsageKey("station-bot", int(ago.timestamp())): {"issued": 7}})
    assert (await usage(wire, app)).json["periods"] == []
    fine = (await usage(wire, app, "?hours=48")).json
    assert (fine["step"], fine["clientId"], fine["hint"]) == (300, "station-bot", None)
    at = datetime.fromisoformat(fine["periods"][0].pop("at"))
    assert at <= ago < at + timedelta(minutes=5)
    assert fine["periods"] == [{"issued": 7, "calls": 0, "introspections": 0, "refused": {}}]
    coarse = (await usage(wire, app, "?hours=49")).json
    assert (coarse["step"], coarse["total"]["issued"]) == (3600, 7)
    assert datetime.fromisoformat(coarse["periods"][0]["at"]).minute == 0
    assert datetime.fromisoformat(coarse["since"]) <= ago <= datetime.fromisoformat(coarse["until"])


@pytest.mark.gen_test
async def test_a_hint_stands_beside_the_numbers(wire: Wire, app: Application) -> None:
    await wire.register()
    ago = datetime.now(UTC) - timedelta(minutes=10)
    store = UsageStore(app.resources, retention=timedelta(days=30))
    await store.add({UsageKey("station-bot", int(ago.timestamp())): {"issued": 30, "calls": 30}})
    assert (await usage(wire, app)).json["hint"] == {
        "clientId": "station-bot",
        "issued": 30,
        "uses": 30,
        "usesPerToken": 1.0,
        "advice": "A token should be kept until expires_in has passed; docs/clients/ shows how.",
    }


@pytest.mark.parametrize("query", ["?hours=0", "?hours=x", "?hours=1&hours=2", "?days=1", "?hours=999999999"])
@pytest.mark.gen_test
async def test_a_query_that_asks_for_nothing_is_refused(wire: Wire, app: Application, query: str) -> None:
    await wire.register()
    assert (await usage(wire, app, query)).status == 400


@pytest.mark.gen_test
async def test_there_is_no_usage_of_an_unknown_client_and_none_for_strangers(
    wire: Wire, app: Application
) -> None:
    assert (await usage(wire, app)).status == 404
    assert (await wire.fetch("GET", USAGE)).status == 401

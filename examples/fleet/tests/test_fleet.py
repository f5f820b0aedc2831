from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

if TYPE_CHECKING:
    from tornado.websocket import WebSocketClientConnection

    from station.app import Application
    from station.testing import BearerToken, ClientTokens, Http, RunningStation

REPORT = {"status": "idle", "version": "1.0"}
FLEET, BOT = ("GET", "/fleet"), ("PUT", "/fleet/station-bot")


def test_a_bot_joins_reports_again_and_is_listed(station_http: Http, captain: BearerToken) -> None:
    joined = station_http.request(*BOT, json=REPORT, token=captain)
    assert joined.status == 201
    again = station_http.request(*BOT, json={"status": "busy", "version": "1.1"}, token=captain)
    assert again.status == 200
    listed = station_http.request(*FLEET, token=captain)
    assert listed.status == 200
    (bot,) = listed.json["bots"]
    assert bot == again.json
    assert datetime.fromisoformat(bot.pop("reportedAt")).tzinfo
    assert bot == {"name": "station-bot", "status": "busy", "version": "1.1", "reportedBy": "captain"}


def test_bots_are_listed_by_name(station_http: Http, captain: BearerToken) -> None:
    for name in ("zeta", "alpha"):
        station_http.put(f"/fleet/{name}", json=REPORT, token=captain)
    listed = station_http.request(*FLEET, token=captain)
    assert [bot["name"] for bot in listed.json["bots"]] == ["alpha", "zeta"]


@pytest.mark.parametrize(("request_line", "document"), [(FLEET, None), (BOT, REPORT)])
def test_without_a_token_nobody_passes(
    station_http: Http, request_line: tuple[str, str], document: object
) -> None:
    answer = station_http.request(*request_line, json=document)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    ("held", "request_line", "document", "needed"),
    [("fleet:write", FLEET, None, "fleet:read"), ("fleet:read", BOT, REPORT, "fleet:write")],
)
def test_each_method_needs_its_own_scope(
    station_http: Http,
    client_token: ClientTokens,
    held: str,
    request_line: tuple[str, str],
    document: object,
    needed: str,
) -> None:
    answer = station_http.request(*request_line, json=document, token=client_token(scopes=[held]))
    assert answer.status == 403
    assert f'scope="{needed}"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"status": "asleep"}, "status"), ({"version": ""}, "version"), ({"reportedBy": "me"}, "reportedBy")],
)
def test_a_bad_report_is_refused_by_field(
    station_http: Http, captain: BearerToken, changes: dict[str, str], field: str
) -> None:
    answer = station_http.request(*BOT, json=REPORT | changes, token=captain)
    assert answer.status == 400
    assert list(answer.json["errors"]) == [field]
    assert station_http.request(*FLEET, token=captain).json == {"bots": []}


def test_a_full_fleet_takes_no_more_but_its_own_still_report(
    station_http: Http, captain: BearerToken
) -> None:
    def report(name: str) -> int:
        return station_http.put(f"/fleet/{name}", json=REPORT, token=captain).status

    assert [report(f"bot-{number}") for number in range(3)] == [201, 201, 409]
    assert report("bot-0") == 200


async def open_reports(station: RunningStation, name: str, token: str) -> WebSocketClientConnection:
    url = station.url.replace("http", "ws", 1) + f"/fleet/{name}/reports"
    return await websocket_connect(HTTPRequest(url, headers={"Authorization": f"Bearer {token}"}))


@pytest.mark.gen_test
async def test_a_bot_reports_over_a_websocket_until_its_token_is_revoked(
    station_app: RunningStation, station_http: Http, captain: BearerToken
) -> None:
    socket = await open_reports(station_app, "station-bot", captain)
    await socket.write_message(json.dumps(REPORT))
    bot = json.loads(await socket.read_message() or "")
    assert (bot["name"], bot["status"], bot["reportedBy"]) == ("station-bot", "idle", "captain")
    assert station_http.request(*FLEET, token=captain).json == {"bots": [bot]}
    credentials = (captain.client_id, captain.client_secret)
    assert station_http.post("/auth/revoke", form={"token": captain}, basic=credentials).status == 200
    assert await asyncio.wait_for(socket.read_message(), 1) is None
    assert (socket.close_code, socket.close_reason) == (4401, "invalid_token")
    socket.close()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("name", "message", "code"),
    [("bot-0", "{", 1007), ("bot-0", '{"status": "asleep"}', 1007), ("bot-2", json.dumps(REPORT), 1008)],
)
async def test_a_message_that_cannot_be_taken_ends_the_websocket(
    station_app: RunningStation,
    station_http: Http,
    captain: BearerToken,
    name: str,
    message: str,
    code: int,
) -> None:
    for number in range(2):
        station_http.put(f"/fleet/bot-{number}", json=REPORT, token=captain)
    socket = await open_reports(station_app, name, captain)
    await socket.write_message(message)
    assert await socket.read_message() is None
    assert socket.close_code == code
    socket.close()


def test_readiness_names_the_fleet(station_http: Http) -> None:
    assert station_http.get("/health/ready").json["checks"]["fleet"] == "ok"


def test_the_migration_can_be_taken_back(station_app: RunningStation) -> None:
    async def indexes(app: Application) -> set[str]:
        return set(await app.resources.database["fleet_bots"].index_information())

    async def down(app: Application) -> list[str]:
        return await app.migrator().down()

    assert {"name", "place"} <= station_app.run(indexes)
    assert station_app.run(down) == ["fleet/0001-bots"]
    assert not {"name", "place"} & station_app.run(indexes)


@pytest.mark.parametrize("station_plugins", [["oauth_m2m"]])
def test_switched_off_its_paths_are_not_found(station_http: Http, captain: BearerToken) -> None:
    answers = [station_http.request(*line, json=REPORT, token=captain) for line in (FLEET, BOT)]
    assert [answer.status for answer in answers] == [404, 404]


@pytest.mark.parametrize(("enabled", "imported"), [("oauth_m2m", False), ("oauth_m2m,fleet", True)])
def test_switched_off_it_is_not_imported(enabled: str, imported: bool) -> None:
    code = (
        "import sys\n"
        "from station.plugin_manager import PluginHost\n"
        "PluginHost.load(sys.argv[1].split(','))\n"
        "print('fleet' in sys.modules)"
    )
    output = subprocess.check_output([sys.executable, "-c", code, enabled], text=True)
    assert output == f"{imported}\n"

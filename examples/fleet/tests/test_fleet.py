from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Machine

    from station.app import Application

REPORT = {"status": "idle", "version": "1.0"}
FLEET, BOT = ("GET", "/fleet"), ("PUT", "/fleet/station-bot")


@pytest.mark.gen_test
async def test_a_bot_joins_reports_again_and_is_listed(machine: Machine) -> None:
    await machine.login("fleet:read", "fleet:write")
    joined = await machine.call(*BOT, REPORT)
    assert joined.code == 201
    again = await machine.call(*BOT, {"status": "busy", "version": "1.1"})
    assert again.code == 200
    listed = await machine.call(*FLEET)
    assert listed.code == 200
    (bot,) = json.loads(listed.body)["bots"]
    assert bot == json.loads(again.body)
    assert datetime.fromisoformat(bot.pop("reportedAt")).tzinfo
    assert bot == {"name": "station-bot", "status": "busy", "version": "1.1", "reportedBy": "captain"}


@pytest.mark.gen_test
async def test_bots_are_listed_by_name(machine: Machine) -> None:
    await machine.login("fleet:read", "fleet:write")
    for name in ("zeta", "alpha"):
        await machine.call("PUT", f"/fleet/{name}", REPORT)
    listed = await machine.call(*FLEET)
    assert [bot["name"] for bot in json.loads(listed.body)["bots"]] == ["alpha", "zeta"]


@pytest.mark.gen_test
@pytest.mark.parametrize(("request_line", "document"), [(FLEET, None), (BOT, REPORT)])
async def test_without_a_token_nobody_passes(
    machine: Machine, request_line: tuple[str, str], document: object
) -> None:
    answer = await machine.call(*request_line, document)
    assert answer.code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("held", "request_line", "document", "needed"),
    [("fleet:write", FLEET, None, "fleet:read"), ("fleet:read", BOT, REPORT, "fleet:write")],
)
async def test_each_method_needs_its_own_scope(
    machine: Machine, held: str, request_line: tuple[str, str], document: object, needed: str
) -> None:
    await machine.login(held)
    answer = await machine.call(*request_line, document)
    assert answer.code == 403
    assert f'scope="{needed}"' in answer.headers["WWW-Authenticate"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("changes", "field"),
    [({"status": "asleep"}, "status"), ({"version": ""}, "version"), ({"reportedBy": "me"}, "reportedBy")],
)
async def test_a_bad_report_is_refused_by_field(
    machine: Machine, changes: dict[str, str], field: str
) -> None:
    await machine.login("fleet:read", "fleet:write")
    answer = await machine.call(*BOT, REPORT | changes)
    assert answer.code == 400
    assert list(json.loads(answer.body)["errors"]) == [field]
    assert json.loads((await machine.call(*FLEET)).body) == {"bots": []}


@pytest.mark.gen_test
async def test_a_full_fleet_takes_no_more_but_its_own_still_report(machine: Machine) -> None:
    await machine.login("fleet:write")
    codes = [(await machine.call("PUT", f"/fleet/bot-{number}", REPORT)).code for number in range(3)]
    assert codes == [201, 201, 409]
    assert (await machine.call("PUT", "/fleet/bot-0", REPORT)).code == 200


@pytest.mark.gen_test
async def test_a_bot_reports_over_a_websocket_until_its_token_is_revoked(machine: Machine) -> None:
    await machine.login("fleet:read", "fleet:write")
    socket = await machine.open("/fleet/station-bot/reports")
    await socket.write_message(json.dumps(REPORT))
    bot = json.loads(await socket.read_message() or "")
    assert (bot["name"], bot["status"], bot["reportedBy"]) == ("station-bot", "idle", "captain")
    assert json.loads((await machine.call(*FLEET)).body) == {"bots": [bot]}
    await machine.revoke()
    assert await asyncio.wait_for(socket.read_message(), 1) is None
    assert (socket.close_code, socket.close_reason) == (4401, "invalid_token")
    socket.close()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("name", "message", "code"),
    [("bot-0", "{", 1007), ("bot-0", '{"status": "asleep"}', 1007), ("bot-2", json.dumps(REPORT), 1008)],
)
async def test_a_message_that_cannot_be_taken_ends_the_websocket(
    machine: Machine, name: str, message: str, code: int
) -> None:
    await machine.login("fleet:write")
    for number in range(2):
        await machine.call("PUT", f"/fleet/bot-{number}", REPORT)
    socket = await machine.open(f"/fleet/{name}/reports")
    await socket.write_message(message)
    assert await socket.read_message() is None
    assert socket.close_code == code
    socket.close()


@pytest.mark.gen_test
async def test_readiness_names_the_fleet(machine: Machine) -> None:
    answer = await machine.call("GET", "/health/ready")
    assert json.loads(answer.body)["checks"]["fleet"] == "ok"


@pytest.mark.gen_test
async def test_the_migration_can_be_taken_back(app: Application) -> None:
    bots = app.resources.database["fleet_bots"]
    assert {"name", "place"} <= (await bots.index_information()).keys()
    assert await app.migrator().down() == ["fleet/0001-bots"]
    assert not {"name", "place"} & (await bots.index_information()).keys()


@pytest.mark.gen_test
@pytest.mark.parametrize("enabled", [("oauth_m2m",)])
async def test_switched_off_its_paths_are_not_found(machine: Machine) -> None:
    await machine.login("fleet:read")
    assert [(await machine.call(*FLEET)).code, (await machine.call(*BOT, REPORT)).code] == [404, 404]


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

"""``station audit``, over the events that the tests write."""

from __future__ import annotations

import asyncio
import dataclasses
import getpass
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pymongo
import pytest
from click.testing import CliRunner, Result

from station.app import Application, make_app
from station.audit import Actor, AuditStore, Event
from station.cli.audit import audit
from station.cli.group import StationGroup
from station.config import Config
from station.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from station.embedded import Endpoints
    from tests.station.cli.conftest import Station

T = TypeVar("T")
main = StationGroup("station", commands=[audit])
NOW = datetime.now(UTC).replace(microsecond=0)
REFUSED = Event(
    action="token.refused",
    actor=Actor("anonymous", "", "192.0.2.1", "request-1"),
    client_id="station-bot",
    outcome="refused",
    reason=Reason(
        "inactive", "the client station-bot is disabled", "station oauth-clients enable station-bot"
    ),
    time=NOW - timedelta(minutes=5),
)
DISABLED = Event(
    action="client.disabled",
    actor=Actor("key", "0a1b2c3d", "192.0.2.2", "request-2"),
    target="station-bot",
    client_id="station-bot",
    before={"is_active": True},
    after={"is_active": False},
    time=NOW - timedelta(hours=2),
)
ISSUED = Event(action="token.issued", actor=Actor("client", "other"), client_id="other", count=7, time=NOW)


class Boot:
    """Runs a command in an application on the embedded engines, in a database of its own."""

    def __init__(self, engines: Endpoints) -> None:
        self.config = Config(
            env="test",
            plugins=(),
            jwt_secret="the secret of the tests, 32 bytes and more",
            mongodb_uri=engines.mongodb_uri,
            mongodb_database=f"test_{uuid.uuid4().hex}",
            redis_url=engines.redis_url,
        )

    def run(self, work: Callable[[Application], Awaitable[T]]) -> T:
        async def run() -> T:
            async with make_app(self.config).lifespan() as app:
                return await work(app)

        return asyncio.run(run())

    def write(self, *events: Event) -> None:
        async def write(app: Application) -> None:
            await AuditStore(app.resources, timedelta(days=1)).insert(events)

        self.run(write)

    def forget(self) -> None:
        with pymongo.MongoClient[dict[str, Any]](self.config.mongodb_uri) as mongodb:
            mongodb.drop_database(self.config.mongodb_database)


@pytest.fixture
def boot(engines: Endpoints) -> Iterator[Boot]:
    boot = Boot(engines)
    boot.write(REFUSED, DISABLED, ISSUED)
    yield boot
    boot.forget()


def run(boot: Boot, *arguments: str) -> Result:
    result = CliRunner().invoke(main, ["audit", *arguments], obj=boot)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_explain_tells_what_happened_and_why(boot: Boot) -> None:
    result = run(boot, "explain", "request-1")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{REFUSED.time:%Y-%m-%d %H:%M:%S} UTC  token.refused station-bot: somebody unknown from 192.0.2.1 "
        "was refused.",
        "  Why: the client station-bot is disabled.",
        "  What would change it: station oauth-clients enable station-bot",
    ]
    assert "  is_active: True -> False" in run(boot, "explain", "request-2").stdout


def test_explain_for_programs(boot: Boot) -> None:
    [event] = json.loads(run(boot, "explain", "request-1", "--json").stdout)
    assert (event["id"], event["reason"], event["actor"]["kind"]) == (REFUSED.id, "inactive", "anonymous")


def test_explain_without_an_event_says_what_that_may_mean(boot: Boot) -> None:
    result = run(boot, "explain", "request-9")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no event of the request request-9" in result.stderr


@pytest.mark.parametrize(
    ("options", "actions"),
    [
        ([], ["client.disabled", "token.refused", "token.issued"]),
        (["--limit", "1"], ["token.issued"]),
        (["--client", "station-bot"], ["client.disabled", "token.refused"]),
        (["--action", "client.disabled"], ["client.disabled"]),
        (["--outcome", "refused"], ["token.refused"]),
        (["--since", "30m"], ["token.refused", "token.issued"]),
        (["--since", "30m", "--client", "station-bot"], ["token.refused"]),
    ],
)
def test_tail(boot: Boot, options: list[str], actions: list[str]) -> None:
    lines = run(boot, "tail", *options, "--json").stdout.splitlines()
    assert [json.loads(line)["action"] for line in lines] == actions
    heading, *rows = run(boot, "tail", *options).stdout.splitlines()
    assert heading.split() == [
        "TIME",
        "ACTION",
        "OUTCOME",
        "REASON",
        "COUNT",
        "CLIENT",
        "BY",
        "ADDRESS",
        "REQUEST",
    ]
    assert [row.split()[2] for row in rows] == actions


def test_the_row_of_a_refusal(boot: Boot) -> None:
    row = run(boot, "tail", "--outcome", "refused").stdout.splitlines()[1]
    words = " ".join(row.split()[2:])
    assert words == "token.refused refused inactive 1 station-bot anonymous 192.0.2.1 request-1"


def test_without_events_nothing_is_printed(boot: Boot) -> None:
    boot.forget()
    assert run(boot, "tail").stdout == ""


@pytest.mark.parametrize("age", ["10", "m", "10x", "1 h", "-1h"])
def test_an_age_that_is_none(boot: Boot, age: str) -> None:
    result = run(boot, "tail", f"--since={age}")
    assert result.exit_code == 2
    assert "must be a number and s, m, h or d, such as 10m" in result.stderr


def test_follow_prints_what_is_new_and_what_has_grown(boot: Boot, engines: Endpoints) -> None:
    class Following(Boot):
        """Writes while the command runs, and interrupts it like Ctrl-C."""

        def run(self, work: Callable[[Application], Awaitable[T]]) -> T:
            async def beside(app: Application) -> T:
                store = AuditStore(app.resources, timedelta(days=1))
                counted = dataclasses.replace(ISSUED, id="counted", time=datetime.now(UTC))
                await store.add([counted])
                following = asyncio.ensure_future(work(app))
                await asyncio.sleep(0.3)
                await store.insert([dataclasses.replace(REFUSED, id="new", time=datetime.now(UTC))])
                await store.add([counted])
                await asyncio.sleep(1.2)
                following.cancel()
                raise KeyboardInterrupt

            return boot.run(beside)

    result = run(Following(engines), "tail", "--follow", "--json")
    assert result.exit_code == 0
    before = [DISABLED.id, REFUSED.id, ISSUED.id, "counted"]
    events = [json.loads(line) for line in result.stdout.splitlines() if line]
    assert [event["id"] for event in events[:4]] == before
    assert {event["id"]: event["count"] for event in events[4:]} == {"new": 1, "counted": 14}
    assert len(events) == 6


@pytest.mark.row("G7")
def test_changes_by_commands_are_audited(engines: Endpoints, station: Station) -> None:
    environ = {
        "STATION_PLUGINS": "oauth_m2m",
        "MONGODB_URI": engines.mongodb_uri,
        "MONGODB_DATABASE": "test_audit_of_commands",
        "REDIS_URL": engines.redis_url,
        "OAUTH_M2M_BCRYPT_COST": "4",
        "AUTH_BCRYPT_COST": "4",
    }
    password = "correct horse battery staple\n"
    with pymongo.MongoClient[dict[str, Any]](engines.mongodb_uri) as mongodb:
        mongodb.drop_database("test_audit_of_commands")
        try:
            for arguments in (
                ["oauth-clients", "register", "station-bot", "--scope", "bot:api"],
                ["oauth-clients", "change", "station-bot", "--name", "The bot"],
                ["oauth-clients", "disable", "station-bot", "--yes"],
                ["oauth-clients", "delete", "station-bot", "--yes"],
                ["users", "create", "ada@example.com", "--password-stdin"],
            ):
                assert station(*arguments, input=password, **environ).exit_code == 0
            printed = station("audit", "tail", "--json", **environ).stdout
        finally:
            mongodb.drop_database("test_audit_of_commands")
    events = [event for event in map(json.loads, printed.splitlines()) if event["actor"]["kind"] == "cli"]
    actions = ["client.registered", "client.changed", "client.disabled", "client.deleted", "user.registered"]
    assert [event["action"] for event in events] == actions
    assert {event["outcome"] for event in events} == {"ok"}
    assert {event["actor"]["id"] for event in events} == {getpass.getuser()}
    assert len({event["request_id"] for event in events}) == 5
    assert (events[1]["before"]["name"], events[1]["after"]["name"]) == ("", "The bot")

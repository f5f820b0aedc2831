"""Actors, and events as JSON."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import json
from datetime import UTC, datetime

import pytest

from station.audit import Actor, Event, acting, current_actor, event_json, fingerprint
from station.errors import Reason


def test_station_itself_acts_until_somebody_does() -> None:
    assert current_actor() == Actor("system")
    with acting(Actor("client", "bot")):
        assert current_actor() == Actor("client", "bot")
        assert Event(action="x").actor == Actor("client", "bot")
    assert current_actor() == Actor("system")


@pytest.mark.gen_test
async def test_tasks_do_not_act_for_each_other() -> None:
    async def act(name: str) -> str:
        with acting(Actor("user", name)):
            await asyncio.sleep(0)
            return current_actor().id

    first, second = await asyncio.gather(act("a"), act("b"))
    assert (first, second) == ("a", "b")


def test_a_command_acts_as_whoever_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = Actor.cli()
    assert (actor.kind, actor.id) == ("cli", getpass.getuser())
    assert actor.request_id != Actor.cli().request_id

    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert Actor.cli().id == "unknown"


def test_a_fingerprint_tells_keys_apart_and_reveals_none() -> None:
    assert fingerprint(b"key") == hashlib.sha256(b"key").hexdigest()[:8]


def test_an_event_as_json_has_what_it_has() -> None:
    event = Event(
        action="token.refused",
        actor=Actor("anonymous", "", "192.0.2.1", "r1"),
        client_id="bot",
        outcome="refused",
        reason=Reason("unknown", "nobody", "register it"),
        time=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        id="e1",
    )
    assert json.loads(json.dumps(event_json(event))) == {
        "id": "e1",
        "time": "2026-01-02T03:04:05.678Z",
        "action": "token.refused",
        "outcome": "refused",
        "actor": {"kind": "anonymous", "id": ""},
        "address": "192.0.2.1",
        "request_id": "r1",
        "client_id": "bot",
        "reason": "unknown",
        "because": "nobody",
        "remedy": "register it",
        "count": 1,
    }

"""What an operator reads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from station.audit import Actor, Event, explain
from station.errors import Reason

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def test_a_refusal_says_why_and_what_would_change_it() -> None:
    event = Event(
        action="token.refused",
        actor=Actor("anonymous", "", "192.0.2.1", "r1"),
        client_id="bot",
        outcome="refused",
        reason=Reason("inactive", "the client bot is disabled", "station oauth-clients enable bot"),
        detail={"status": 401},
        time=NOON,
    )
    assert list(explain(event)) == [
        "2026-01-02 12:00:00 UTC  token.refused bot: somebody unknown from 192.0.2.1 was refused.",
        "  Why: the client bot is disabled.",
        "  What would change it: station oauth-clients enable bot",
        "  status: 401",
    ]


def test_a_change_says_what_is_different() -> None:
    event = Event(
        action="client.changed",
        actor=Actor("key", "0a1b2c3d"),
        target="bot",
        before={"scopes": ["a", "b"], "name": "Bot"},
        after={"scopes": ["a"], "name": "Bot"},
        time=NOON,
    )
    assert list(explain(event)) == [
        "2026-01-02 12:00:00 UTC  client.changed bot: the admin key 0a1b2c3d did this.",
        "  scopes: a b -> a",
    ]


def test_what_is_made_and_what_is_gone_is_shown_whole() -> None:
    made = Event(action="client.registered", actor=Actor("cli", "root"), target="bot", after={"name": None})
    gone = Event(action="client.deleted", actor=Actor("user", "usr_1"), target="bot", before={"scopes": []})
    assert [line.partition("UTC  ")[2] or line for line in [*explain(made), *explain(gone)]] == [
        "client.registered bot: root, at the command line, did this.",
        "  name: none",
        "client.deleted bot: the user usr_1 did this.",
        "  scopes was none",
    ]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Event(action="x", outcome="begun"), "Station itself began this, and its end was never recorded"),
        (Event(action="x", outcome="failed"), "failed at this, and it may have taken effect"),
        (Event(action="x", actor=Actor("client", "bot"), count=7), "the client bot did this 7 times."),
    ],
)
def test_other_ends(event: Event, words: str) -> None:
    assert words in next(explain(event))

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

from station.streams import StreamListener

HERE = ("127.0.0.1", 27017)
STREAM = "station.$cmd.aggregate"


def start(listener: StreamListener, request_id: int, command: str = "getMore") -> None:
    listener.started(CommandStartedEvent({command: 1}, "station", request_id, HERE, None))


def succeed(
    listener: StreamListener, request_id: int, reply: dict[str, Any], command: str = "getMore"
) -> None:
    listener.succeeded(CommandSucceededEvent(timedelta(0), reply, command, request_id, HERE, None))


def cursor(namespace: str) -> dict[str, Any]:
    return {"cursor": {"id": 7, "ns": namespace, "nextBatch": []}, "ok": 1}


def test_nothing_was_asked_for_before_the_first_answer() -> None:
    listener = StreamListener()
    assert (listener.answers, listener.asked_at) == (0, float("-inf"))
    start(listener, 1, "aggregate")
    assert (listener.answers, listener.asked_at) == (0, float("-inf"))


@pytest.mark.parametrize("command", ["aggregate", "getMore"])
def test_an_answer_counts_from_when_it_was_asked_for(command: str) -> None:
    listener = StreamListener()
    before = time.monotonic()
    start(listener, 1, command)
    asked = time.monotonic()
    while time.monotonic() == asked:
        pass  # the clock has gone on when the answer comes
    succeed(listener, 1, cursor(STREAM), command)
    assert listener.answers == 1
    assert before <= listener.asked_at <= asked


def test_commands_that_are_under_way_together_are_not_mixed_up() -> None:
    listener = StreamListener()
    start(listener, 1, "aggregate")
    between = time.monotonic()
    while time.monotonic() == between:
        pass
    start(listener, 2)
    succeed(listener, 2, cursor("station.revoked_tokens"))
    succeed(listener, 1, cursor(STREAM), "aggregate")
    assert listener.answers == 1
    assert listener.asked_at <= between


@pytest.mark.parametrize(
    "reply",
    [cursor("station.revoked_tokens"), cursor("station.$cmd.listCollections"), {"ok": 1}, {"cursor": {}}],
)
def test_what_is_no_answer_of_a_stream_on_the_database_counts_nothing(reply: dict[str, Any]) -> None:
    listener = StreamListener()
    start(listener, 1)
    succeed(listener, 1, reply)
    assert (listener.answers, listener.asked_at) == (0, float("-inf"))


def test_other_commands_are_not_listened_to() -> None:
    listener = StreamListener()
    start(listener, 1, "find")
    succeed(listener, 1, cursor(STREAM), "find")
    assert listener.answers == 0


def test_nothing_of_a_command_is_kept_once_it_is_over() -> None:
    listener = StreamListener()
    for number, namespace in enumerate([STREAM, "station.users"]):
        start(listener, number)
        succeed(listener, number, cursor(namespace))
    start(listener, 3)
    listener.failed(CommandFailedEvent(timedelta(0), {}, "getMore", 3, HERE, None))
    listener.failed(CommandFailedEvent(timedelta(0), {}, "find", 4, HERE, None))
    assert listener._asked == {}
    assert listener.answers == 1

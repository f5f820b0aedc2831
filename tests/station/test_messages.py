from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from station.audit import Actor, acting, current_actor
from station.errors import ServiceUnavailable
from station.messages import DeliveryFailed, Message, Messenger

SECRET = "a-token-that-is-a-secret-0123456789"
MESSAGE = Message("password-reset", "ada@example.com", SECRET, f"https://x/#{SECRET}", datetime.now(UTC))


@pytest.mark.gen_test
async def test_the_last_plugin_that_offers_delivers() -> None:
    sent: list[tuple[str, Message]] = []

    async def first(message: Message) -> None:
        sent.append(("first", message))

    async def last(message: Message) -> None:
        sent.append(("last", message))

    messenger = Messenger()
    delivered_when = [messenger.can_deliver]
    async with messenger.running({"core": first, "mail": last}):
        delivered_when.append(messenger.can_deliver)
        await messenger.deliver(MESSAGE)
    assert sent == [("last", MESSAGE)]
    assert [*delivered_when, messenger.can_deliver] == [False, True, False]


def test_a_message_keeps_its_secrets_to_itself() -> None:
    assert SECRET not in repr(MESSAGE)


@pytest.mark.gen_test
async def test_a_delivery_that_fails_or_takes_too_long(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(message: Message) -> None:
        raise RuntimeError(f"no such mailbox for {message.link}")

    async def slow(message: Message) -> None:
        await asyncio.Event().wait()

    for deliver, why in ((broken, "RuntimeError"), (slow, "TimeoutError")):
        messenger = Messenger(delivery_seconds=0.01)
        async with messenger.running({"mail": deliver}):
            with pytest.raises(DeliveryFailed) as failed:
                await messenger.deliver(MESSAGE)
        assert failed.value.__cause__ is None
        assert f"a message password-reset was not delivered: {why}" in caplog.text
    with pytest.raises(DeliveryFailed):
        await Messenger().deliver(MESSAGE)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("warn", [True, False])
@pytest.mark.gen_test
async def test_that_nothing_delivers_is_said_where_it_matters(
    caplog: pytest.LogCaptureFixture, warn: bool
) -> None:
    async with Messenger().running({}, warn=warn):
        pass
    assert ("no plugin delivers messages" in caplog.text) is warn


@pytest.mark.gen_test
async def test_a_job_runs_after_its_caller_went_on_and_as_the_same_actor() -> None:
    messenger, order, done = Messenger(), list[object](), asyncio.Event()

    async def job() -> None:
        order.append(current_actor())
        done.set()

    ada = Actor("user", "usr_1", "203.0.113.9", "r1")
    with acting(ada):
        messenger.start(job)
    order.append("answered")
    await done.wait()
    assert order == ["answered", ada]


@pytest.mark.gen_test
async def test_jobs_that_fail_are_logged_and_none_starts_beyond_the_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    messenger, go = Messenger(), asyncio.Event()

    async def job() -> None:
        await go.wait()
        raise RuntimeError(SECRET)

    async with messenger.running({}):
        for _ in range(100):
            messenger.start(job)
        with pytest.raises(ServiceUnavailable):
            messenger.start(job)
        go.set()
    assert caplog.text.count("a message was not prepared: RuntimeError") == 100
    assert SECRET not in caplog.text


@pytest.mark.gen_test
async def test_the_end_waits_for_what_is_on_its_way_but_not_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    sent, begun = list[Message](), asyncio.Event()

    async def deliver(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    async def stuck() -> None:
        begun.set()
        await asyncio.Event().wait()

    messenger = Messenger(drain_seconds=0.01)
    async with messenger.running({"mail": deliver}):
        messenger.start(lambda: messenger.deliver(MESSAGE))
    assert (sent, caplog.text) == ([MESSAGE], "")
    async with messenger.running({"mail": deliver}):
        messenger.start(stuck)
        await begun.wait()
    assert "1 messages were not sent: Station stops" in caplog.text

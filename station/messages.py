"""Messages to people, such as the link that resets a password: who delivers them, and when.

A plugin delivers them (hook ``station_messages``)::

    @hookimpl
    def station_messages(app):
        async def deliver(message):
            await mailer.send(message.recipient, subject_of(message.kind), message.link)
        return deliver

What shall not show in an answer, nor in its time, is prepared and delivered after it: `Messenger.start`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from station.audit import acting, current_actor
from station.errors import ServiceUnavailable, StationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from station.audit import Actor

__all__ = ["Deliver", "DeliveryFailed", "Message", "Messenger"]

_log = logging.getLogger(__name__)
_AT_ONCE = 8
_MAX_WAITING = 100
_DELIVERY_SECONDS = 5.0
_DRAIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Message:
    """Something that one person, and nobody else, is to be told.

    ``kind`` says what it is about (``password-reset``), ``recipient`` is an email address. ``token`` is the
    secret that the person acts with until ``expires_at``; ``link`` is the page where, if one is configured,
    with the token in it. Neither belongs in a log.
    """

    kind: str
    recipient: str
    token: str = field(repr=False)
    link: str | None = field(repr=False)
    expires_at: datetime


Deliver = Callable[[Message], Awaitable[object]]
"""What a plugin delivers messages by: awaited with each; whatever it raises, the delivery has failed."""


class DeliveryFailed(StationError):
    """A message was not delivered; the log says by which type of error."""


class Messenger:
    """Delivers the messages of one application by what its plugins offer between `running`'s start and end.

    Of several plugins the last delivers, so that any takes the place of the core's own. ``delivery_seconds``
    is how long one delivery may take, ``drain_seconds`` how long the end waits for what is on its way.
    """

    def __init__(
        self, *, delivery_seconds: float = _DELIVERY_SECONDS, drain_seconds: float = _DRAIN_SECONDS
    ) -> None:
        self._delivery_seconds = delivery_seconds
        self._drain_seconds = drain_seconds
        self._deliver: Deliver | None = None
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._jobs: set[asyncio.Task[None]] = set()

    @property
    def can_deliver(self) -> bool:
        """Whether anything delivers messages here."""
        return self._deliver is not None

    @contextlib.asynccontextmanager
    async def running(self, offered: Mapping[str, Deliver], *, warn: bool = False) -> AsyncIterator[None]:
        """Deliver by the last that is ``offered`` (by plugin name) while the block lasts.

        ``warn`` logs that nothing delivers, if so. What is still on its way in the end is waited for.
        """
        self._deliver = list(offered.values())[-1] if offered else None
        if warn and not self.can_deliver:
            _log.warning(
                "no plugin delivers messages (station_messages): who forgets a password gets none; "
                "`station users reset-password EMAIL` makes a link by hand"
            )
        try:
            yield
        finally:
            await self._drain()
            self._deliver = None

    async def deliver(self, message: Message) -> None:
        """Deliver a message; `DeliveryFailed` if that fails, takes too long, or nothing delivers here."""
        if self._deliver is None:
            raise DeliveryFailed("no plugin delivers messages")
        try:
            await asyncio.wait_for(self._deliver(message), self._delivery_seconds)
        except Exception as error:
            # its words may hold the link
            _log.error("a message %s was not delivered: %s", message.kind, type(error).__name__)
            raise DeliveryFailed("the delivery failed") from None

    def start(self, job: Callable[[], Awaitable[object]]) -> None:
        """Run ``job`` once the caller, who does not wait, has answered; the actor is that of now.

        Raises `ServiceUnavailable` while too many wait. How a job fails is for the log alone.
        """
        if len(self._jobs) >= _MAX_WAITING:
            raise ServiceUnavailable("Too many messages are on their way; try again later.", retry_after=5)
        task = asyncio.create_task(self._run(job, current_actor()))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _run(self, job: Callable[[], Awaitable[object]], actor: Actor) -> None:
        async with self._places:
            with acting(actor):
                try:
                    await job()
                except DeliveryFailed:
                    pass  # logged where it happened
                except Exception as error:
                    _log.error("a message was not prepared: %s", type(error).__name__)

    async def _drain(self) -> None:
        if not self._jobs:
            return
        _, late = await asyncio.wait(self._jobs, timeout=self._drain_seconds)
        for job in late:
            job.cancel()
        if late:
            _log.warning("%d messages were not sent: Station stops", len(late))
            await asyncio.wait(late)

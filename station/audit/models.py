"""What the audit talks about: an actor, and an event."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from station import clock
from station.logging import trace_id_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from station.errors import Reason

__all__ = [
    "Actor",
    "Event",
    "Outcome",
    "acting",
    "actor_context",
    "current_actor",
    "event_json",
    "fingerprint",
]

ActorKind = Literal["anonymous", "key", "user", "client", "cli", "system"]
Outcome = Literal["begun", "ok", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, from where, and in which request.

    ``id`` is the fingerprint of an admin key, the id of a user or a client, or the operating system's name
    for whoever runs a command. ``system`` is Station itself, ``anonymous`` somebody who is not known (yet).
    """

    kind: ActorKind
    id: str = ""
    address: str = ""
    request_id: str = ""

    @classmethod
    def cli(cls) -> Actor:
        """Whoever runs this command; every command has a request id of its own."""
        try:
            name = getpass.getuser()
        except (KeyError, OSError):  # a user id without a name, as in some containers
            name = "unknown"
        return cls("cli", name, request_id=uuid.uuid4().hex)


_SYSTEM = Actor("system")

actor_context: ContextVar[Callable[[], Actor]] = ContextVar("actor", default=lambda: _SYSTEM)
"""Says who acts, when an event needs to know: requests that no event is about pay nothing."""


def current_actor() -> Actor:
    """Who makes the request, or runs the command, that this code runs for."""
    return actor_context.get()()


@contextlib.contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Act as ``actor`` within the block."""
    token = actor_context.set(lambda: actor)
    try:
        yield
    finally:
        actor_context.reset(token)


def fingerprint(key: bytes) -> str:
    """What tells one key from another and reveals neither: the first 8 hex digits of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, or was refused.

    ``action`` names it (``client.registered``, ``token.refused``), ``target`` is what it was done to and
    ``client_id`` the client that it concerns. ``before`` and ``after`` are of a change. ``count`` is more
    than 1 for what is counted by the minute; ``time`` is then the minute. ``trace_id`` is that of the
    request, if it is traced. The outcome ``begun`` is that of a change whose end was never recorded.
    """

    action: str
    actor: Actor = field(default_factory=current_actor)
    target: str = ""
    client_id: str = ""
    outcome: Outcome = "ok"
    reason: Reason | None = None
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    detail: Mapping[str, object] = field(default_factory=dict)
    count: int = 1
    time: datetime = field(default_factory=clock.now)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    trace_id: str = field(default_factory=trace_id_context.get)


def event_json(event: Event) -> dict[str, object]:
    """An event as an object of JSON types, without the members that are empty."""
    actor, reason = event.actor, event.reason
    members: dict[str, object] = {
        "id": event.id,
        "time": event.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "action": event.action,
        "outcome": event.outcome,
        "actor": {"kind": actor.kind, "id": actor.id},
        "address": actor.address,
        "request_id": actor.request_id,
        "trace_id": event.trace_id,
        "target": event.target,
        "client_id": event.client_id,
        "reason": reason.code if reason else "",
        "because": reason.because if reason else "",
        "remedy": reason.remedy if reason else "",
        "before": event.before,
        "after": event.after,
        "detail": dict(event.detail),
        "count": event.count,
    }
    return {name: value for name, value in members.items() if value not in ("", None, {})}

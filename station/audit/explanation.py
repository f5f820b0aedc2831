"""What an event says to an operator, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from station.audit.models import Actor, Event

__all__ = ["explain"]

_ENDS = {
    "begun": "began this, and its end was never recorded: look whether it took effect",
    "ok": "did this",
    "refused": "was refused",
    "failed": "failed at this, and it may have taken effect",
}
_ACTORS = {
    "anonymous": "somebody unknown",
    "key": "the admin key {id}",
    "user": "the user {id}",
    "client": "the client {id}",
    "cli": "{id}, at the command line,",
    "system": "Station itself",
}


def explain(event: Event) -> Iterator[str]:
    """The lines that tell what happened: one sentence, then what changed, why, and what would change it."""
    target = event.target or event.client_id
    about = f"{event.action} {target}".strip()
    times = f" {event.count} times" if event.count > 1 else ""
    yield f"{event.time:%Y-%m-%d %H:%M:%S} UTC  {about}: {_who(event.actor)} {_ENDS[event.outcome]}{times}."
    if event.reason is not None:
        yield f"  Why: {event.reason.because}."
    if event.reason is not None and event.reason.remedy:
        yield f"  What would change it: {event.reason.remedy}"
    for name, value in event.detail.items():
        yield f"  {name}: {_shown(value)}"
    yield from _differences(event)


def _who(actor: Actor) -> str:
    who = _ACTORS[actor.kind].format(id=actor.id)
    return f"{who} from {actor.address}" if actor.address else who


def _differences(event: Event) -> Iterator[str]:
    before, after = event.before or {}, event.after or {}
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if event.before is None:
            yield f"  {name}: {_shown(new)}"
        elif event.after is None:
            yield f"  {name} was {_shown(old)}"
        elif old != new:
            yield f"  {name}: {_shown(old)} -> {_shown(new)}"


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)

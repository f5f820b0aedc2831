"""``station audit``: what happened, and why something was refused."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from station.audit import AuditFilter, event_json, explain
from station.table import as_json_option, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from station.app import Application
    from station.audit import Event
    from station.cli.boot import Boot

__all__ = ["audit"]

_AGE = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_FOLLOW_SECONDS = 0.5
_LATE = timedelta(seconds=10)  # how much later than it happens an event may arrive
_EXPLAINED = 100


def _since(_ctx: click.Context, _parameter: click.Parameter, age: str | None) -> datetime | None:
    """The time that was so long ago (called by click)."""
    if age is None:
        return None
    match = _AGE.fullmatch(age)
    if match is None:
        raise click.BadParameter("must be a number and s, m, h or d, such as 10m")
    return datetime.now(UTC) - timedelta(**{_UNITS[match["unit"]]: int(match["number"])})


@click.group()
def audit() -> None:
    """Look into the audit: changes, refusals with their real reasons, and how many tokens were issued."""


@audit.command("explain")
@click.argument("request_id")
@as_json_option
@click.pass_obj
def explain_(boot: Boot, request_id: str, as_json: bool) -> None:
    """Tell what happened in the request REQUEST_ID, which is the X-Request-ID of its answer, and why."""

    async def work(app: Application) -> list[Event]:
        return await app.audit.find(AuditFilter(request_id=request_id), limit=_EXPLAINED)

    events = boot.run(work)
    if as_json:
        click.echo(json.dumps([event_json(event) for event in events], indent=2))
    elif events:
        click.echo("\n".join(line for event in events for line in explain(event)))
    else:
        raise click.ClickException(
            f"The audit has no event of the request {request_id}. Requests that changed nothing and were not "
            "refused leave none, nor do 404, 405 and failures of Station (the log has those), nor refusals "
            "beyond the first 30 a minute of one address: those are only counted. A refusal is written "
            "within a second."
        )


@audit.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@click.option("--client", "client_id", default="", metavar="ID", help="Only what concerns this client.")
@click.option("--action", default="", help="Only this action, such as client.disabled or token.refused.")
@click.option(
    "--outcome", type=click.Choice(["ok", "refused", "failed", "begun"]), help="Only what ended like this."
)
@click.option("--since", callback=_since, metavar="AGE", help="Only what is no older: 30s, 10m, 2h, 7d.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many.")
@as_json_option
@click.pass_obj
def tail(
    boot: Boot,
    follow: bool,
    client_id: str,
    action: str,
    outcome: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Print the latest events, oldest first; with --json, one object a line."""
    wanted = AuditFilter(client_id=client_id, action=action, outcome=outcome or "", since=since)

    async def work(app: Application) -> None:
        known = await _latest(app, wanted)
        _print(await app.audit.find(wanted, limit=limit), as_json=as_json)
        while follow:
            await asyncio.sleep(_FOLLOW_SECONDS)
            latest = await _latest(app, wanted)
            news = [event for event in latest.values() if _state(event) != _state(known.get(event.id))]
            _print(news, as_json=as_json)
            known = latest

    try:
        boot.run(work)
    except KeyboardInterrupt:
        click.echo()


async def _latest(app: Application, wanted: AuditFilter) -> dict[str, Event]:
    """What may still change or arrive: what is counted belongs to the minute's beginning."""
    since = datetime.now(UTC).replace(second=0, microsecond=0) - _LATE
    events = await app.audit.find(dataclasses.replace(wanted, since=since), limit=10_000)
    return {event.id: event for event in events}


def _state(event: Event | None) -> object:
    return event and (event.outcome, event.count)


def _print(events: Sequence[Event], *, as_json: bool) -> None:
    if as_json:
        for event in events:
            click.echo(json.dumps(event_json(event)))
    elif events:
        show([_row(event) for event in events], as_json=False)


def _row(event: Event) -> dict[str, object]:
    actor = event.actor
    return {
        "time": f"{event.time:%Y-%m-%d %H:%M:%S}",
        "action": event.action,
        "outcome": event.outcome,
        "reason": event.reason.code if event.reason else None,
        "count": event.count,
        "client": event.client_id or None,
        "by": f"{actor.kind} {actor.id}".strip(),
        "address": actor.address or None,
        "request": actor.request_id or None,
    }

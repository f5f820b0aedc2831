"""``station why``: which rule refuses a call, and what would change it."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from plugins.oauth_m2m import reasons
from plugins.oauth_m2m.decorators import CLIENT, CLIENT_EITHER, CLIENT_SECRET
from plugins.oauth_m2m.errors import InvalidToken
from plugins.oauth_m2m.services import services_of
from station.errors import NotFound, Reason

if TYPE_CHECKING:
    from collections.abc import Collection

    from plugins.oauth_m2m.models import Client
    from station.app import Application
    from station.cli import Boot
    from station.security import Security

__all__ = ["why"]


@dataclasses.dataclass(frozen=True, slots=True)
class _Verdict:
    """What the call demands, in words, and why it is refused: None if it is not."""

    demand: str
    reason: Reason | None


@click.command()
@click.argument("method")
@click.argument("path")
@click.option("--client", "client_id", metavar="ID", help="Ask for what this client may, with a new token.")
@click.option("--token", metavar="TOKEN", help="Ask for what this token may; - reads it from standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.pass_obj
def why(boot: Boot, method: str, path: str, client_id: str | None, token: str | None, as_json: bool) -> None:
    """Say which rule refuses METHOD PATH to a machine, and the command that would change it.

    What a handler checks is asked of the live stores. Not looked at are throttles, the checks that plugins
    make before a token is issued, and the authentication methods that are allowed. Exit code 1 means
    refused. A token that is given as an argument can be read by others in the list of processes.
    """
    if (client_id is None) == (token is None):
        raise click.UsageError("Give either --client ID or --token TOKEN.")
    if token == "-":  # noqa: S105 - standard input
        token = sys.stdin.readline().strip()

    async def work(app: Application) -> _Verdict:
        return await _judge(app, method.upper(), path.partition("?")[0], client_id, token)

    verdict = boot.run(work)
    reason = verdict.reason
    if as_json:
        refused = None if reason is None else dataclasses.asdict(reason)
        click.echo(json.dumps({"demand": verdict.demand, "refused": refused}, indent=2))
    else:
        click.echo(verdict.demand)
        click.echo("Nothing refuses this call." if reason is None else f"Refused: {reason.because}.")
        if reason is not None and reason.remedy:
            click.echo(f"What would change it: {reason.remedy}")
    if reason is not None:
        raise SystemExit(1)


async def _judge(
    app: Application, method: str, path: str, client_id: str | None, token: str | None
) -> _Verdict:
    demands = {route.method: route.security for route in app.routes if re.fullmatch(route.path, path)}
    if not demands:
        because = f"no route of a plugin that is on matches {path}"
        return _Verdict(f"{method} {path}", Reason("route", because, "station routes lists those there are"))
    security = demands.get(method)
    if security is None:
        because = f"{path} has {', '.join(demands)} and not {method}"
        return _Verdict(f"{method} {path}", Reason("method", because, f"call it with {' or '.join(demands)}"))
    demand = f"{method} {path} demands {_in_words(security)}."
    return _Verdict(demand, await _refusal(app, security, client_id, token))


async def _refusal(
    app: Application, security: Security, client_id: str | None, token: str | None
) -> Reason | None:
    if security.scheme == "public":
        return None
    if security.scheme not in {CLIENT, CLIENT_SECRET, CLIENT_EITHER}:
        because = "this is not for machines: neither a client nor its token is looked at"
        return Reason("scheme", because, f"call it with {_in_words(security)}")
    if token is not None:
        return await _of_token(app, security, token)
    try:
        client = await services_of(app).clients.get(client_id or "")
    except NotFound:
        return reasons.unknown(client_id or "")
    return _of_client(client, security.scopes)


async def _of_token(app: Application, security: Security, token: str) -> Reason | None:
    if security.scheme == CLIENT_SECRET:
        because = "a client authenticates here by its secret; a token is not looked at"
        return Reason("scheme", because, "send the client's id and secret")
    services = services_of(app)
    try:
        verified = await services.tokens.verify(token)
    except InvalidToken as error:
        return error.reason
    missing = sorted(security.scopes - verified.scopes)
    if not missing:
        return None
    client = await services.clients.get(verified.client_id)
    # its secrets do not matter: no handler asks for them once there is a token
    return _unregistered(client, security.scopes) or reasons.lacks_scopes(client.client_id, missing)


def _of_client(client: Client, needed: Collection[str]) -> Reason | None:
    if not client.is_active:
        return reasons.inactive(client.client_id)
    if not client.live_secrets(datetime.now(UTC)):
        return reasons.expired_secret(client.client_id)
    return _unregistered(client, needed)


def _unregistered(client: Client, needed: Collection[str]) -> Reason | None:
    missing = sorted(set(needed) - set(client.scopes))
    return reasons.unregistered(client.client_id, missing) if missing else None


def _in_words(security: Security) -> str:
    scopes = " ".join(sorted(security.scopes))
    words = {
        "public": "nothing",
        "session": "a person's session",
        "admin": "the admin key or an admin's session",
        CLIENT: "a client's token",
        CLIENT_SECRET: "a client's own secret",
        CLIENT_EITHER: "a client's own secret, or its token",
    }
    demanded = words.get(security.scheme, security.scheme)
    return f"{demanded} with {scopes}" if scopes else demanded

"""``station oauth-clients``: registering and switching clients from the command line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
from marshmallow import ValidationError
from rich.console import Console
from rich.table import Table

from plugins.oauth_m2m.schemas import RegistrationSchema, client_json
from plugins.oauth_m2m.services import services_of

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Client, Registration
    from station.app import Application
    from station.cli import Boot

__all__ = ["oauth_clients"]

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group("oauth-clients")
def oauth_clients() -> None:
    """Register, list, show, disable and enable machine clients."""


@oauth_clients.command()
@click.argument("client_id")
@click.option("--scope", "scopes", multiple=True, required=True, help="A scope; may be repeated.")
@click.option("--name", default="", help="A name for people.")
@click.option("--token-ttl", type=int, help="Lifetime of its tokens in seconds, 60 to 3600.")
@click.option("--secret-stdin", is_flag=True, help="Read the secret from standard input.")
@_as_json
@click.pass_obj
def register(  # noqa: PLR0917 - click passes every option by name
    boot: Boot,
    client_id: str,
    scopes: tuple[str, ...],
    name: str,
    token_ttl: int | None,
    secret_stdin: bool,
    as_json: bool,
) -> None:
    """Register CLIENT_ID; without --secret-stdin Station makes a secret and shows it once."""
    document: dict[str, object] = {"clientId": client_id, "scopes": list(scopes), "name": name}
    if token_ttl is not None:
        document["tokenTtl"] = token_ttl
    if secret_stdin:
        document["clientSecret"] = sys.stdin.readline().rstrip("\r\n")
    registration = _load(document)

    async def work(app: Application) -> tuple[Client, str | None]:
        return await services_of(app).clients.register(registration)

    client, generated = boot.run(work)
    if as_json:
        secret = {} if generated is None else {"clientSecret": generated}
        click.echo(json.dumps(client_json(client) | secret, indent=2))
        return
    _print([client])
    if generated is not None:
        click.echo("\nIts secret, shown this once and stored as a hash only:\n")
        click.echo(f"  {generated}\n")


@oauth_clients.command("list")
@_as_json
@click.pass_obj
def list_(boot: Boot, as_json: bool) -> None:
    """List all clients."""

    async def work(app: Application) -> list[Client]:
        return await services_of(app).clients.list()

    clients = boot.run(work)
    if as_json:
        click.echo(json.dumps([client_json(client) for client in clients], indent=2))
    elif clients:
        _print(clients)
    else:
        click.echo("No clients yet: station oauth-clients register CLIENT_ID --scope SCOPE")


@oauth_clients.command()
@click.argument("client_id")
@_as_json
@click.pass_obj
def show(boot: Boot, client_id: str, as_json: bool) -> None:
    """Show CLIENT_ID."""

    async def work(app: Application) -> Client:
        return await services_of(app).clients.get(client_id)

    _show(boot.run(work), as_json=as_json)


@oauth_clients.command()
@click.argument("client_id")
@_as_json
@click.pass_obj
def disable(boot: Boot, client_id: str, as_json: bool) -> None:
    """Disable CLIENT_ID: it gets no tokens, and those it has end at once and for good."""
    _show(_switch(boot, client_id, is_active=False), as_json=as_json)


@oauth_clients.command()
@click.argument("client_id")
@_as_json
@click.pass_obj
def enable(boot: Boot, client_id: str, as_json: bool) -> None:
    """Enable CLIENT_ID: it gets tokens again; the old ones stay dead."""
    _show(_switch(boot, client_id, is_active=True), as_json=as_json)


def _switch(boot: Boot, client_id: str, *, is_active: bool) -> Client:
    async def work(app: Application) -> Client:
        return await services_of(app).clients.set_active(client_id, is_active=is_active)

    return boot.run(work)


def _load(document: dict[str, object]) -> Registration:
    try:
        registration: Registration = RegistrationSchema().load(document)
    except ValidationError as error:
        messages: Any = error.messages
        raise click.ClickException(
            "; ".join(f"{field}: {text}" for field, text in messages.items())
        ) from None
    return registration


def _show(client: Client, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(client_json(client), indent=2))
    else:
        _print([client])


def _print(clients: list[Client]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("CLIENT", "NAME", "SCOPES", "STATE", "CREATED"):
        table.add_column(heading)
    for client in clients:
        state = "active" if client.is_active else "disabled"
        created = client.created_at.strftime("%Y-%m-%d %H:%M")
        table.add_row(client.client_id, client.name, " ".join(client.scopes), state, created)
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=200)
    console.print(table)

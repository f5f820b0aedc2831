"""``station oauth-clients``: registering and finding clients from the command line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from plugins.oauth_m2m.commands.output import given, load, print_clients, show_client
from plugins.oauth_m2m.models import ClientPage, ClientQuery
from plugins.oauth_m2m.schemas import RegistrationSchema, client_json
from plugins.oauth_m2m.services import services_of
from station.table import as_json_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugins.oauth_m2m.models import Client, Registration
    from station.app import Application
    from station.cli import Boot

__all__ = ["oauth_clients"]


@click.group("oauth-clients")
def oauth_clients() -> None:
    """Register, find, change and delete machine clients."""


def _registration(command: Callable[..., None]) -> Callable[..., None]:
    """What ``register`` and ``import`` are told."""
    for option in (
        click.option("--token-ttl", type=int, help="Lifetime of its tokens in seconds, 60 to 3600."),
        click.option("--name", default="", help="A name for people."),
        click.option("--scope", "scopes", multiple=True, required=True, help="A scope; may be repeated."),
        click.argument("client_id"),
    ):
        command = option(command)
    return command


@oauth_clients.command()
@_registration
@click.option("--secret-stdin", is_flag=True, help="Read the secret from standard input.")
@as_json_option
@click.pass_obj
def register(
    boot: Boot,
    client_id: str,
    scopes: tuple[str, ...],
    name: str,
    token_ttl: int | None,
    secret_stdin: bool,
    as_json: bool,
) -> None:
    """Register CLIENT_ID; without --secret-stdin Station makes a secret and shows it once."""
    secret = sys.stdin.readline().rstrip("\r\n") if secret_stdin else None
    document = given(
        clientId=client_id, scopes=list(scopes), name=name, tokenTtl=token_ttl, clientSecret=secret
    )
    registration: Registration = load(RegistrationSchema(), document)

    async def work(app: Application) -> tuple[Client, str | None]:
        return await services_of(app).clients.register(registration)

    client, generated = boot.run(work)
    if as_json:
        shown = {} if generated is None else {"clientSecret": generated}
        click.echo(json.dumps(client_json(client) | shown, indent=2))
        return
    print_clients([client])
    if generated is not None:
        click.echo("\nIts secret, shown this once and stored as a hash only:\n")
        click.echo(f"  {generated}\n")


@oauth_clients.command("import")
@_registration
@click.option("--hash-stdin", is_flag=True, required=True, help="Read the hash from standard input.")
@as_json_option
@click.pass_obj
def import_(
    boot: Boot,
    client_id: str,
    scopes: tuple[str, ...],
    name: str,
    token_ttl: int | None,
    hash_stdin: bool,
    as_json: bool,
) -> None:
    """Register CLIENT_ID with the hash of a secret that was made elsewhere: its secret goes on working.

    The hash is bcrypt's own, $2b$..., or one of `station oauth-clients hash-secret`.
    """
    document = given(clientId=client_id, scopes=list(scopes), name=name, tokenTtl=token_ttl)
    registration: Registration = load(RegistrationSchema(), document)
    stored = sys.stdin.readline().strip() if hash_stdin else ""

    async def work(app: Application) -> Client:
        return await services_of(app).clients.import_client(registration, [stored])

    show_client(boot.run(work), as_json=as_json)


@oauth_clients.command("list")
@click.option("--search", default="", help="A part of the client id or the name.")
@click.option("--scope", help="Those that may have this scope.")
@click.option("--active/--disabled", "is_active", default=None, help="Those that are enabled, or not.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many.")
@as_json_option
@click.pass_obj
def list_(
    boot: Boot, search: str, scope: str | None, is_active: bool | None, limit: int, as_json: bool
) -> None:
    """List clients by id."""
    query = ClientQuery(search=search, scope=scope, is_active=is_active, limit=limit)

    async def work(app: Application) -> ClientPage:
        return await services_of(app).clients.list(query)

    page = boot.run(work)
    if as_json:
        click.echo(json.dumps([client_json(client) for client in page.clients], indent=2))
    elif page.clients:
        print_clients(page.clients)
    elif query == ClientQuery(limit=limit):
        click.echo("No clients yet: station oauth-clients register CLIENT_ID --scope SCOPE")
    else:
        click.echo("No client matches.")
    if page.last is not None:
        click.echo(f"These are the first {limit}; --limit shows more.", err=True)


@oauth_clients.command()
@click.argument("client_id")
@as_json_option
@click.pass_obj
def show(boot: Boot, client_id: str, as_json: bool) -> None:
    """Show CLIENT_ID."""

    async def work(app: Application) -> Client:
        return await services_of(app).clients.get(client_id)

    show_client(boot.run(work), as_json=as_json)

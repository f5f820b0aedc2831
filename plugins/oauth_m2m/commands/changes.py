"""``station oauth-clients change|disable|enable|delete``: what an operator does to a client that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plugins.oauth_m2m.commands.impact import confirm
from plugins.oauth_m2m.commands.output import given, lifetime, load, show_client, tell
from plugins.oauth_m2m.schemas import ChangeSchema
from plugins.oauth_m2m.services import services_of
from station.table import as_json_option

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Client, ClientChange
    from station.app import Application
    from station.cli import Boot

__all__ = ["change", "delete", "disable", "enable"]

_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_if_version = click.option(
    "--if-version", type=int, help="Only if it still has this version; show --json says which it has."
)


@click.command()
@click.argument("client_id")
@click.option("--name", help="A name for people.")
@click.option("--scope", "scopes", multiple=True, help="A scope in place of all it has; may be repeated.")
@click.option("--add-scope", "added", multiple=True, help="A scope beside those it has; may be repeated.")
@click.option(
    "--token-ttl", "ttl", type=lifetime, metavar="SECONDS|default", help="Lifetime of its tokens, 60 to 3600."
)
@click.option("--yes", is_flag=True, help="Do not ask before it loses scopes.")
@_if_version
@as_json_option
@click.pass_obj
def change(
    boot: Boot,
    client_id: str,
    name: str | None,
    scopes: tuple[str, ...],
    added: tuple[str, ...],
    ttl: int | str | None,
    yes: bool,
    if_version: int | None,
    as_json: bool,
) -> None:
    """Change CLIENT_ID. A scope that it loses, its live tokens lose at once; new tokens have what it gets."""
    if scopes and added:
        raise click.UsageError("Give either --scope, for all scopes that it shall have, or --add-scope.")
    document = given(name=name, scopes=list(scopes or added) or None, tokenTtl=ttl)
    if ttl == "default":
        document["tokenTtl"] = None
    wanted: ClientChange = load(ChangeSchema(), document)
    if added:
        wanted["scopes"], if_version = _beside(boot, client_id, wanted["scopes"], if_version)
    elif not yes and (lost := _lost(boot, client_id, wanted)):
        confirm(boot, client_id, f"Take {' '.join(lost)} from it and its live tokens?", yes=yes)
    show_client(_change(boot, client_id, wanted, if_version), as_json=as_json)


@click.command()
@click.argument("client_id")
@_yes
@as_json_option
@click.pass_obj
def disable(boot: Boot, client_id: str, yes: bool, as_json: bool) -> None:
    """Disable CLIENT_ID: it gets no tokens, and those it has end at once and for good."""
    confirm(boot, client_id, "Disable it?", yes=yes)
    show_client(_change(boot, client_id, {"is_active": False}), as_json=as_json)


@click.command()
@click.argument("client_id")
@as_json_option
@click.pass_obj
def enable(boot: Boot, client_id: str, as_json: bool) -> None:
    """Enable CLIENT_ID: it gets tokens again; the old ones stay dead."""
    show_client(_change(boot, client_id, {"is_active": True}), as_json=as_json)


@click.command()
@click.argument("client_id")
@_yes
@_if_version
@click.pass_obj
def delete(boot: Boot, client_id: str, yes: bool, if_version: int | None) -> None:
    """Delete CLIENT_ID: its tokens end at once, and registering it again revives none."""
    confirm(boot, client_id, "Delete it?", yes=yes)

    async def work(app: Application) -> None:
        await services_of(app).clients.delete(client_id, versions=_versions(if_version))

    boot.run(work)
    click.echo(f"{client_id} is deleted.")


def _change(boot: Boot, client_id: str, wanted: ClientChange, if_version: int | None = None) -> Client:
    async def work(app: Application) -> Client:
        clients = services_of(app).clients
        client, confirmation = await clients.change(client_id, wanted, versions=_versions(if_version))
        tell(confirmation)
        return client

    return boot.run(work)


def _beside(
    boot: Boot, client_id: str, added: tuple[str, ...], if_version: int | None
) -> tuple[tuple[str, ...], int]:
    """All scopes that the client has then, and the version that has those it had."""

    async def work(app: Application) -> Client:
        return await services_of(app).clients.get(client_id)

    client = boot.run(work)
    return tuple(dict.fromkeys((*client.scopes, *added))), if_version or client.version


def _lost(boot: Boot, client_id: str, wanted: ClientChange) -> list[str]:
    """The scopes that the client would lose."""
    if "scopes" not in wanted:
        return []

    async def work(app: Application) -> Client:
        return await services_of(app).clients.get(client_id)

    return [scope for scope in boot.run(work).scopes if scope not in wanted["scopes"]]


def _versions(if_version: int | None) -> set[int] | None:
    return None if if_version is None else {if_version}

"""``station oauth-clients secrets``: rotating the secrets of a client from the command line."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from plugins.oauth_m2m.commands.impact import confirm
from plugins.oauth_m2m.commands.output import given, load
from plugins.oauth_m2m.impact import impact
from plugins.oauth_m2m.schemas import SecretSchema, secret_json, secrets_json
from plugins.oauth_m2m.services import services_of
from station.errors import NotFound
from station.table import as_json_option, print_table

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Client, ClientSecret, SecretAddition
    from station.app import Application
    from station.cli import Boot

__all__ = ["secrets"]


@click.group()
def secrets() -> None:
    """Add, list and end the secrets of a client: rotation with overlap."""


@secrets.command("list")
@click.argument("client_id")
@as_json_option
@click.pass_obj
def list_(boot: Boot, client_id: str, as_json: bool) -> None:
    """List the secrets of CLIENT_ID, and which of them nothing seems to need any more."""

    async def work(app: Application) -> Client:
        return await services_of(app).clients.get(client_id)

    client, now = boot.run(work), datetime.now(UTC)
    if as_json:
        click.echo(json.dumps(secrets_json(client, now), indent=2))
        return
    rows = [
        (
            secret.id,
            _minute(secret.created_at),
            _minute(secret.expires_at) or "never",
            _minute(secret.last_used_at) or "never",
            secret.last_used_from or "",
            "yes" if client.is_safe_to_retire(secret, now) else "no",
        )
        for secret in client.secrets
    ]
    print_table(("ID", "CREATED", "ENDS", "LAST USED", "FROM", "SAFE TO RETIRE"), rows)


@secrets.command()
@click.argument("client_id")
@click.option("--secret-stdin", is_flag=True, help="Read the secret from standard input.")
@click.option("--expires-at", help="When it ends, such as 2030-01-31T12:00:00Z; without, it does not.")
@click.option("--end-others-at", help="When the client's other secrets end.")
@click.option("--end-others-in", type=int, metavar="SECONDS", help="In how many seconds they end.")
@click.option("--yes", is_flag=True, help="Do not ask before others end.")
@as_json_option
@click.pass_obj
def add(
    boot: Boot,
    client_id: str,
    secret_stdin: bool,
    expires_at: str | None,
    end_others_at: str | None,
    end_others_in: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Add a secret to CLIENT_ID; without --secret-stdin Station makes one and shows it once."""
    typed = sys.stdin.readline().rstrip("\r\n") if secret_stdin else None
    document = given(
        clientSecret=typed, expiresAt=expires_at, endOthersAt=end_others_at, endOthersIn=end_others_in
    )
    addition: SecretAddition = load(SecretSchema(), document)
    if end := addition.others_end(datetime.now(UTC)):
        when = f"{end.astimezone(UTC):%Y-%m-%d at %H:%M} UTC"
        confirm(boot, client_id, f"End its other secrets on {when}?", yes=yes)

    async def work(app: Application) -> tuple[ClientSecret, str | None]:
        return await services_of(app).secrets.add(client_id, addition)

    secret, generated = boot.run(work)
    if as_json:
        shown = {} if generated is None else {"clientSecret": generated}
        click.echo(json.dumps(secret_json(secret) | shown, indent=2))
        return
    click.echo(f"The client {client_id} has the secret {secret.id} as well.")
    if generated is not None:
        click.echo("\nIt is, shown this once and stored as a hash only:\n")
        click.echo(f"  {generated}\n")


@secrets.command()
@click.argument("client_id")
@click.argument("secret_id")
@click.option("--force", is_flag=True, help="Even if it is the client's last live secret.")
@click.option("--revoke-tokens", is_flag=True, help="End the client's live tokens too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def end(boot: Boot, client_id: str, secret_id: str, force: bool, revoke_tokens: bool, yes: bool) -> None:
    """End SECRET_ID of CLIENT_ID at once: whoever still has it gets no more tokens."""
    if not yes:

        async def look(app: Application) -> str:
            client = await services_of(app).clients.get(client_id)
            return f"{_use_of(client, secret_id)} {await impact(app, client_id)}"

        click.echo(boot.run(look), err=True)
        tokens = " and all live tokens" if revoke_tokens else ""
        click.confirm(f"End this secret{tokens} now?", abort=True, err=True)

    async def work(app: Application) -> None:
        await services_of(app).secrets.end(client_id, secret_id, force=force, revoke_tokens=revoke_tokens)

    boot.run(work)
    click.echo(f"The secret {secret_id} of {client_id} has ended.")


def _use_of(client: Client, secret_id: str) -> str:
    secret = next((known for known in client.secrets if known.id == secret_id), None)
    if secret is None:
        raise NotFound(f"The client {client.client_id} has no secret with the id {secret_id}.")
    used = "has never been used"
    if secret.last_used_at:
        used = f"was last used on {secret.last_used_at:%Y-%m-%d at %H:%M} UTC, from {secret.last_used_from}"
    safe = client.is_safe_to_retire(secret, datetime.now(UTC))
    return f"The secret {used}; it is {'' if safe else 'not '}safe to retire."


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""

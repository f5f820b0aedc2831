"""``station oauth-clients apply|hash-secret``: clients as a file declares them."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plugins.oauth_m2m.client_fields import is_client_secret
from plugins.oauth_m2m.commands.output import problems
from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.declarations import Plan, apply_step, make_plan, read_declarations
from plugins.oauth_m2m.hashes import secret_id
from plugins.oauth_m2m.impact import impact
from plugins.oauth_m2m.secret_format import generate_secret
from plugins.oauth_m2m.services import NAME, catalogue, services_of
from station.errors import ResponseError
from station.passwords import PasswordHasher, parse_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.oauth_m2m.declarations import Step
    from plugins.oauth_m2m.models import Client, ClientChange
    from station.app import Application
    from station.cli import Boot

__all__ = ["apply", "hash_secret"]

_SIGNS = {"create": "+", "change": "~", "disable": "-"}
_MANY = 20


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--prune", is_flag=True, help="Disable every client that is not in the file.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def apply(boot: Boot, file: Path, dry_run: bool, prune: bool, yes: bool) -> None:
    """Make the clients what FILE declares, in tables [[clients]]: create, change, and with --prune disable.

    A second run finds nothing to do. Secrets are in the file as hashes only: `hash-secret` makes them.
    """
    text = file.read_text(encoding="utf-8", errors="replace")

    async def prepare(app: Application) -> Plan:
        services = services_of(app)
        declared = read_declarations(
            text,
            catalogue=catalogue(services.settings, app.plugins.scopes()),
            max_cost=services.settings.bcrypt_cost,
        )
        existing = {client.client_id: client async for client in services.clients.all()}
        plan = make_plan(declared.clients, existing, prune=prune or declared.prune)
        if found := [*declared.problems, *plan.problems]:
            raise problems(found)
        return plan

    plan = boot.run(prepare)
    _print_plan(plan)
    if dry_run or not plan.steps:
        return
    if not yes:

        async def look(app: Application) -> list[str]:
            return await _impacts(app, plan.steps)

        for line in boot.run(look):
            click.echo(line, err=True)
        click.confirm("Apply?", abort=True, err=True)

    async def work(app: Application) -> None:
        await _apply(app, plan.steps)

    boot.run(work)


@click.command("hash-secret")
@click.option("--secret-stdin", is_flag=True, help="Read secrets from standard input, one a line.")
@click.option(
    "--beside", metavar="HASH", help="Make hashes that can stand beside this one of the same client."
)
@click.pass_obj
def hash_secret(boot: Boot, secret_stdin: bool, beside: str | None) -> None:
    """Make the hash of a secret for a file of clients; without --secret-stdin of a new secret, shown once.

    Hashes of several lines belong together: they can be the secret_hashes of one client.
    """
    chosen = sys.stdin.read().splitlines() if secret_stdin else [generate_secret()]
    if not chosen or not all(map(is_client_secret, chosen)):
        raise click.ClickException("Each secret must be 32 to 128 characters of visible ASCII.")
    settings = boot.config.sections.get(NAME)
    cost = settings.bcrypt_cost if isinstance(settings, OAuthM2MConfig) else OAuthM2MConfig().bcrypt_cost
    salt = PasswordHasher.new_salt()
    if beside is not None:
        salt, cost = _salt_and_cost(beside)
    hasher = PasswordHasher(cost)

    async def work() -> list[str]:
        return [await hasher.hash(secret.encode(), salt=salt) for secret in chosen]

    hashes = asyncio.run(work())
    hasher.close()
    if not secret_stdin:
        click.echo(f"secret {chosen[0]}", err=True)
    click.echo("\n".join(hashes))


def _salt_and_cost(beside: str) -> tuple[str, int]:
    try:
        like = parse_hash(beside)
    except ValueError as error:
        raise click.ClickException(f"--beside: {error}.") from None
    if like.raw:
        raise click.ClickException("--beside: A $2b$ hash must be the client's only secret.")
    return like.salt, like.cost


async def _impacts(app: Application, steps: Sequence[Step]) -> list[str]:
    """What each client is doing now that a step would take something from."""
    clients = services_of(app).clients
    taking = [
        step.client_id
        for step in steps
        if step.kind != "create" and _takes(step.change, await clients.get(step.client_id))
    ]
    return [await impact(app, client_id) for client_id in taking]


def _takes(change: ClientChange, client: Client) -> bool:
    """Whether a change disables the client, or takes a scope or a live secret from it."""
    lost = set(client.scopes) - set(change.get("scopes", client.scopes))
    live = {secret.id for secret in client.secrets if secret.is_live(datetime.now(UTC))}
    kept = {secret_id(stored) for stored in change["secret_hashes"]} if "secret_hashes" in change else live
    return change.get("is_active") is False or bool(lost or live - kept)


async def _apply(app: Application, steps: Sequence[Step]) -> None:
    """Do all steps, and say how far it came if one fails."""
    for done, step in enumerate(steps):
        try:
            await apply_step(services_of(app).clients, step)
        except ResponseError as error:
            left = len(steps) - done
            click.echo(f"{done} of {len(steps)} done; {left} not, from {step.client_id} on.", err=True)
            raise click.ClickException(f"{step.kind} {step.client_id}: {error}") from error
        if len(steps) < _MANY:
            click.echo(f"{step.kind}d {step.client_id}")
        elif (done + 1) % _MANY == 0:
            click.echo(f"{done + 1} of {len(steps)}", err=True)
    click.echo(f"{len(steps)} of {len(steps)} done.")


def _print_plan(plan: Plan) -> None:
    for step in plan.steps:
        click.echo(f"{_SIGNS[step.kind]} {step.kind} {step.client_id}: {'; '.join(step.diff)}")
    counts = [f"{sum(step.kind == kind for step in plan.steps)} to {kind}" for kind in _SIGNS]
    click.echo(f"{', '.join(counts)}, {plan.unchanged} as they are." if plan.steps else "Nothing to do.")

"""``station oauth-clients tokens``: the live tokens of a client, from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from plugins.oauth_m2m.commands.impact import confirm
from plugins.oauth_m2m.commands.output import tell
from plugins.oauth_m2m.schemas import token_json
from plugins.oauth_m2m.services import services_of
from station.table import as_json_option, print_table

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import TokenPage
    from station.app import Application
    from station.cli import Boot

__all__ = ["tokens"]


@click.group()
def tokens() -> None:
    """List and revoke the live tokens of a client."""


@tokens.command("list")
@click.argument("client_id")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many.")
@as_json_option
@click.pass_obj
def list_(boot: Boot, client_id: str, limit: int, as_json: bool) -> None:
    """List the live tokens of CLIENT_ID, those that live longest first."""

    async def work(app: Application) -> TokenPage:
        return await services_of(app).live_tokens.list(client_id, limit=limit)

    page = boot.run(work)
    shown = [token_json(token) for token in page.tokens]
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        names = ("jti", "expiresAt", "address", "userAgent")
        rows = [
            (*(str(token[name]) for name in names), " ".join(record.scopes))
            for token, record in zip(shown, page.tokens, strict=True)
        ]
        print_table(("JTI", "EXPIRES", "ADDRESS", "USER AGENT", "SCOPES"), rows)
    if page.last is not None:
        click.echo(f"These are the first {limit}; there are more.", err=True)


@tokens.command()
@click.argument("client_id")
@click.argument("jti", required=False)
@click.option("--all", "every", is_flag=True, help="All of them, whatever their number.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def revoke(boot: Boot, client_id: str, jti: str | None, every: bool, yes: bool) -> None:
    """Revoke the token JTI of CLIENT_ID, or --all its tokens, at once and for good."""
    if (jti is None) != every:
        raise click.UsageError("Give a JTI, or --all.")
    confirm(boot, client_id, f"Revoke {'all of them' if jti is None else jti} now?", yes=yes)

    async def work(app: Application) -> int | None:
        live_tokens = services_of(app).live_tokens
        if jti is None:
            ended, confirmation = await live_tokens.revoke_all(client_id)
        else:
            ended, confirmation = 1, await live_tokens.revoke(client_id, jti)
        tell(confirmation)
        return ended

    ended = boot.run(work)
    count = "An unknown number of" if ended is None else ended
    click.echo(f"{count} live {'token' if ended == 1 else 'tokens'} of {client_id} ended.")

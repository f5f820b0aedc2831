"""What will break: said before a command that ends tokens or secrets asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plugins.oauth_m2m.services import services_of

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Client
    from station.app import Application
    from station.cli import Boot

__all__ = ["confirm", "impact"]

_LOOKED_AT = 50


def confirm(boot: Boot, client_id: str, question: str, *, yes: bool) -> None:
    """Say what the client is doing now, and ask; the command ends here if the answer is no."""
    if yes:
        return

    async def work(app: Application) -> str:
        return await impact(app, client_id)

    click.echo(boot.run(work), err=True)
    click.confirm(question, abort=True, err=True)


async def impact(app: Application, client_id: str) -> str:
    """How many live tokens a client has and who got them, and its last use of a secret; `NotFound`."""
    services = services_of(app)
    client = await services.clients.get(client_id)
    count = await services.live_tokens.count(client_id)
    tokens = {None: "an unknown number of live tokens (Redis is away)", 1: "1 live token"}.get(
        count, f"{count} live tokens"
    )
    holders = await _holders(app, client_id) if count else ""
    return f"{client_id} has {tokens}{holders}. {_last_use(client)}"


async def _holders(app: Application, client_id: str) -> str:
    """The addresses that the tokens which live longest went to: at most 50 are looked at."""
    page = await services_of(app).live_tokens.list(client_id, limit=_LOOKED_AT)
    addresses = sorted({token.address for token in page.tokens if token.address})
    more = "" if page.last is None else " and perhaps others"
    return f", given to {', '.join(addresses)}{more}" if addresses else ""


def _last_use(client: Client) -> str:
    uses = [(secret.last_used_at, secret.last_used_from) for secret in client.secrets if secret.last_used_at]
    if not uses:
        return "It has never used a secret."
    at, address = max(uses, key=lambda use: use[0])
    return f"It last used a secret on {at:%Y-%m-%d at %H:%M} UTC, from {address or 'an unknown address'}."

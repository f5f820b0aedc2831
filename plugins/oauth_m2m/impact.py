"""What will break: said before anything that ends tokens or secrets is done, on a command line or a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.oauth_m2m.services import services_of

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Client
    from station.app import Application

__all__ = ["impact"]

_LOOKED_AT = 50


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

"""``/console/clients/ID/tokens``: all live tokens of a client, and their end."""

from __future__ import annotations

from urllib.parse import urlencode

from plugins.oauth_m2m.client_fields import CLIENT_ID
from plugins.oauth_m2m.console.access import HOME, console_authenticated
from plugins.oauth_m2m.console.asking import AskingHandler, Question
from plugins.oauth_m2m.console.page import ConsoleHandler
from plugins.oauth_m2m.console.wording import confirmed
from plugins.oauth_m2m.cursors import Cursors
from plugins.oauth_m2m.impact import impact
from plugins.oauth_m2m.schemas import RECORD_ID
from plugins.oauth_m2m.services import services_of
from station.handlers import route

__all__ = ["routes"]

_LIMIT = 50


class TokensHandler(ConsoleHandler):
    """The list."""

    section = HOME

    @console_authenticated
    async def get(self, client_id: str) -> None:
        """Show a page of them."""
        here, tokens = f"{HOME}/{client_id}/tokens", services_of(self.application).live_tokens
        cursors = Cursors(self.application.config.jwt_secret, f"tokens:{client_id}")
        cursor = self.get_query_argument("cursor", "")
        page = await tokens.list(client_id, limit=_LIMIT, after=cursors.open(cursor) if cursor else None)
        following = page.last and f"{here}?{urlencode({'cursor': cursors.seal(page.last)})}"
        self.show(
            "tokens.html",
            client_id=client_id,
            tokens=page.tokens,
            count=await tokens.count(client_id),
            first=here if cursor else "",
            following=following,
        )


class RevokeTokensHandler(AskingHandler):
    """The end of them all."""

    async def question(self) -> Question:
        """Say how many there are, and who has them."""
        client_id = self.client_id
        return Question(
            title=f"Revoke all tokens of {client_id}?",
            button="Revoke them all",
            text="It can get new ones at once; disable it to stop it.",
            breaks=f"All of them end at once. {await impact(self.application, client_id)}",
        )

    async def act(self) -> str:
        """End them."""
        client_id = self.client_id
        ended, confirmation = await services_of(self.application).live_tokens.revoke_all(client_id)
        number = {None: "All live tokens are", 1: "1 live token is"}.get(ended, f"{ended} live tokens are")
        return f"{number} revoked. {confirmed(confirmation)}"


class RevokeTokenHandler(AskingHandler):
    """The end of one."""

    async def question(self) -> Question:
        """Ask."""
        client_id, jti = self.path_args
        await services_of(self.application).clients.get(client_id)
        return Question(
            title="Revoke this token?",
            button="Revoke the token",
            text=f"{jti}, of {client_id}",
            breaks="Whoever holds it is refused from now on, and may get another with the client's secret.",
        )

    async def act(self) -> str:
        """End it."""
        client_id, jti = self.path_args
        confirmation = await services_of(self.application).live_tokens.revoke(client_id, jti)
        return f"The token {jti} is revoked. {confirmed(confirmation)}"


routes = [
    route(rf"{HOME}/({CLIENT_ID})/tokens", TokensHandler),
    route(rf"{HOME}/({CLIENT_ID})/tokens/revoke", RevokeTokensHandler),
    route(rf"{HOME}/({CLIENT_ID})/tokens/({RECORD_ID})/revoke", RevokeTokenHandler),
]

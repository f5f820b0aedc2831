"""``/console/clients/ID/disable``, ``enable`` and ``delete``: each asks first, and says what will break."""

from __future__ import annotations

from plugins.oauth_m2m.client_fields import CLIENT_ID
from plugins.oauth_m2m.console.access import HOME
from plugins.oauth_m2m.console.asking import AskingHandler, Question
from plugins.oauth_m2m.console.client import versions_of
from plugins.oauth_m2m.console.forms import typed
from plugins.oauth_m2m.console.wording import confirmed
from plugins.oauth_m2m.impact import impact
from plugins.oauth_m2m.services import services_of
from station.handlers import route

__all__ = ["routes"]


class DisableHandler(AskingHandler):
    """Stop a client at once."""

    async def question(self) -> Question:
        """Say what it is doing now."""
        client_id = self.client_id
        return Question(
            title=f"Disable {client_id}?",
            button="Disable",
            text="It can be enabled again; the tokens that it has now stay dead.",
            breaks=f"Its tokens end at once and it gets no more. {await impact(self.application, client_id)}",
        )

    async def act(self) -> str:
        """Disable it."""
        client_id = self.client_id
        clients = services_of(self.application).clients
        _, confirmation = await clients.change(client_id, {"is_active": False})
        return f"{client_id} is disabled. {confirmed(confirmation)}"


class EnableHandler(AskingHandler):
    """Let a client get tokens again."""

    async def question(self) -> Question:
        """Say that it revives nothing."""
        client_id = self.client_id
        client = await services_of(self.application).clients.get(client_id)
        return Question(
            title=f"Enable {client.client_id}?",
            button="Enable",
            text="It can get tokens again with the secrets that it has. No token from before is revived.",
            is_danger=False,
        )

    async def act(self) -> str:
        """Enable it."""
        client_id = self.client_id
        clients = services_of(self.application).clients
        _, confirmation = await clients.change(client_id, {"is_active": True})
        return f"{client_id} is enabled. {confirmed(confirmation)}"


class DeleteHandler(AskingHandler):
    """Remove a client for good, as it was when the question was asked."""

    _is_gone = False

    async def question(self) -> Question:
        """Say what it is doing now."""
        client_id = self.client_id
        client = await services_of(self.application).clients.get(client_id)
        return Question(
            title=f"Delete {client_id}?",
            button="Delete",
            text="This cannot be undone. Disable it instead if you are not sure: that stops it as well.",
            breaks=f"Its secrets and tokens end at once. {await impact(self.application, client_id)}",
            hidden={"version": str(client.version)},
        )

    async def act(self) -> str:
        """Delete it."""
        client_id = self.client_id
        versions = versions_of(typed(self, "version")["version"])
        await services_of(self.application).clients.delete(client_id, versions=versions)
        self._is_gone = True
        return f"{client_id} is deleted."

    def onward(self) -> str:
        """The list, once it is gone."""
        return HOME if self._is_gone else super().onward()


routes = [
    route(rf"{HOME}/({CLIENT_ID})/disable", DisableHandler),
    route(rf"{HOME}/({CLIENT_ID})/enable", EnableHandler),
    route(rf"{HOME}/({CLIENT_ID})/delete", DeleteHandler),
]

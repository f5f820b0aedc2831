"""``/console/register``: register a client, and see its secret once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugins.oauth_m2m.config import MAX_TOKEN_TTL, MIN_TOKEN_TTL
from plugins.oauth_m2m.console.access import HOME, console_authenticated
from plugins.oauth_m2m.console.forms import load_form, number, typed, words
from plugins.oauth_m2m.console.notices import leave_notice
from plugins.oauth_m2m.console.page import ConsoleHandler
from plugins.oauth_m2m.schemas import RegistrationSchema
from plugins.oauth_m2m.services import services_of
from station.errors import Conflict, ValidationFailed
from station.handlers import route

if TYPE_CHECKING:
    from station.errors import ResponseError

__all__ = ["routes"]

_FIELDS = ("clientId", "name", "scopes", "tokenTtl")


class RegisterHandler(ConsoleHandler):
    """The form, and the answer to it."""

    section = HOME

    @console_authenticated
    async def get(self) -> None:
        """Show the form."""
        self.show("register.html", **self._values())

    @console_authenticated
    async def post(self) -> None:
        """Register a client and show its secret, in this answer and never again.

        Loading that answer again sends the form again, which finds the id taken: nothing is registered twice.
        """
        sent = typed(self, *_FIELDS, "clientSecret")
        document: dict[str, object] = {
            "clientId": sent["clientId"],
            "name": sent["name"],
            "scopes": words(sent["scopes"]),
        }
        if sent["tokenTtl"]:
            document["tokenTtl"] = number(sent["tokenTtl"])
        if sent["clientSecret"]:
            document["clientSecret"] = sent["clientSecret"]
        registration = load_form(RegistrationSchema(), document)
        client, generated = await services_of(self.application).clients.register(registration)
        if generated is None:
            leave_notice(self, f"{client.client_id} is registered, with the secret that you chose.")
            self.redirect(f"{HOME}/{client.client_id}", status=303)
            return
        self.set_header("Pragma", "no-cache")  # beside no-store, RFC 7591 3.2.1
        self.show("secret.html", 201, client=client, secret=generated, is_new=True)

    def error_page(self, error: ResponseError) -> bytes:
        """The form again with what was typed, save a secret, and what is wrong with it."""
        if isinstance(error, ValidationFailed):
            return self.page("register.html", **self._values(error.errors))
        if isinstance(error, Conflict):
            return self.page("register.html", **self._values({"clientId": [error.description]}, taken=True))
        return super().error_page(error)

    def _values(self, errors: dict[str, list[str]] | None = None, *, taken: bool = False) -> dict[str, Any]:
        settings, known = services_of(self.application).settings, self.application.plugins.scopes()
        return {
            "form": typed(self, *_FIELDS),
            "errors": errors or {},
            "taken": taken,
            "known": sorted({**known, **(settings.scopes or {})}),
            "default_ttl": settings.token_ttl,
            "ttl_range": (MIN_TOKEN_TTL, MAX_TOKEN_TTL),
        }


routes = [route(r"/console/register", RegisterHandler)]

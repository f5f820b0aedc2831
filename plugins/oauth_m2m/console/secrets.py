"""``/console/clients/ID/secrets``: a new secret beside the others, and the end of one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plugins.oauth_m2m.client_fields import CLIENT_ID
from plugins.oauth_m2m.console.access import HOME, console_authenticated
from plugins.oauth_m2m.console.asking import AskingHandler, Choice, Question
from plugins.oauth_m2m.console.client import versions_of
from plugins.oauth_m2m.console.forms import load_form, number, typed
from plugins.oauth_m2m.console.notices import leave_notice
from plugins.oauth_m2m.console.page import ConsoleHandler
from plugins.oauth_m2m.impact import impact
from plugins.oauth_m2m.schemas import RECORD_ID, SecretSchema
from plugins.oauth_m2m.services import services_of
from station.errors import Conflict, NotFound, PreconditionFailed, ValidationFailed
from station.handlers import route

if TYPE_CHECKING:
    from station.errors import ResponseError

__all__ = ["routes"]

_OVERLAPS = (
    ("", "keep them until they are ended by hand"),
    ("3600", "in an hour"),
    ("86400", "in a day"),
    ("604800", "in a week"),
    ("0", "at once: whoever uses them gets no more tokens"),
)
_FIELDS = ("endOthersIn", "expiresAt")


class NewSecretHandler(ConsoleHandler):
    """The form of a new secret, and the answer to it."""

    section = HOME
    _shown: dict[str, Any] | None = None

    @console_authenticated
    async def get(self, client_id: str) -> None:
        """Show the form."""
        self.show("new_secret.html", **await self._values(client_id, {"endOthersIn": "86400"}))

    @console_authenticated
    async def post(self, client_id: str) -> None:
        """Add a secret and show it, in this answer and never again.

        Loading that answer again sends the form again, which is for the client as it was: nothing is added.
        """
        sent = typed(self, *_FIELDS, "clientSecret", "version")
        document: dict[str, object] = {name: sent[name] for name in ("clientSecret",) if sent[name]}
        if sent["endOthersIn"]:
            document["endOthersIn"] = number(sent["endOthersIn"])
        if sent["expiresAt"]:
            is_date = re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", sent["expiresAt"])
            document["expiresAt"] = sent["expiresAt"] + ("T00:00:00Z" if is_date else "")
        services = services_of(self.application)
        try:
            addition = load_form(SecretSchema(), document)
            _, generated = await services.secrets.add(
                client_id, addition, versions=versions_of(sent["version"])
            )
        except (Conflict, PreconditionFailed, ValidationFailed):
            self._shown = await self._values(client_id, sent)
            raise
        if generated is None:
            leave_notice(self, f"{client_id} has the secret that you chose.")
            self.redirect(f"{HOME}/{client_id}", status=303)
            return
        self.set_header("Pragma", "no-cache")  # beside no-store, RFC 7591 3.2.1
        client = await services.clients.get(client_id)
        self.show("secret.html", 201, client=client, secret=generated, is_new=False)

    def error_page(self, error: ResponseError) -> bytes:
        """The form again with what was chosen, save a secret, and why nothing was added."""
        if self._shown is None:
            return super().error_page(error)
        refused: dict[str, Any] = {
            "conflict": isinstance(error, PreconditionFailed),
            "refusal": error.description if isinstance(error, Conflict) else "",
        }
        if isinstance(error, ValidationFailed):
            refused |= {"errors": error.errors, "version": self.get_body_argument("version", "")}
        return self.page("new_secret.html", **self._shown | refused)

    async def _values(self, client_id: str, sent: dict[str, str]) -> dict[str, Any]:
        client = await services_of(self.application).clients.get(client_id)
        return {
            "client": client,
            "impact": await impact(self.application, client_id),
            "form": {name: sent.get(name, "") for name in _FIELDS},
            "version": str(client.version),
            "overlaps": _OVERLAPS,
            "errors": {},
            "conflict": False,
            "refusal": "",
        }


class EndSecretHandler(AskingHandler):
    """The end of a secret."""

    async def question(self) -> Question:
        """Say who used it last, and whether another is left."""
        client_id, secret_id = self.path_args
        client, now = await services_of(self.application).clients.get(client_id), datetime.now(UTC)
        secret = next((secret for secret in client.secrets if secret.id == secret_id), None)
        if secret is None:
            raise NotFound(f"The client {client_id} has no secret with the id {secret_id}.")
        live = [other.id for other in client.secrets if other.is_live(now)]
        tokens = Choice(name="revokeTokens", label="End all its live tokens too")
        last = Choice(
            name="force",
            label="This is its last live secret: I know that it gets no tokens without one",
            required=True,
        )
        return Question(
            title=f"End the secret {secret_id}?",
            button="End the secret",
            text=_advice(is_live=secret.is_live(now), is_safe=client.is_safe_to_retire(secret, now)),
            breaks=f"Whoever still has it gets no more tokens. {await impact(self.application, client_id)}",
            choices=(tokens, last) if live == [secret_id] else (tokens,),
        )

    async def act(self) -> str:
        """End it."""
        client_id, secret_id = self.path_args
        chosen = typed(self, "force", "revokeTokens")
        await services_of(self.application).secrets.end(
            client_id, secret_id, force=bool(chosen["force"]), revoke_tokens=bool(chosen["revokeTokens"])
        )
        return f"The secret {secret_id} has ended."


def _advice(*, is_live: bool, is_safe: bool) -> str:
    if not is_live:
        return "It has expired already: nothing changes but this list."
    return "It is safe to retire: another one took over." if is_safe else ""


routes = [
    route(rf"{HOME}/({CLIENT_ID})/secrets/new", NewSecretHandler),
    route(rf"{HOME}/({CLIENT_ID})/secrets/({RECORD_ID})/end", EndSecretHandler),
]

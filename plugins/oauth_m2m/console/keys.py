"""``/console/keys``: the keys that sign tokens, and a new one in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.oauth_m2m.console.access import console_authenticated
from plugins.oauth_m2m.console.asking import AskingHandler, Choice, Question
from plugins.oauth_m2m.console.page import ConsoleHandler
from plugins.oauth_m2m.services import services_of
from station.errors import NotFound
from station.handlers import route

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import SigningKey

__all__ = ["routes"]

_KEYS = "/console/keys"
_KID = r"[A-Za-z0-9_-]{1,64}"
_STATES = ("active", "next", "retired")


class KeysHandler(ConsoleHandler):
    """The list: the key that signs, the one that will, and those that still verify."""

    section = _KEYS

    @console_authenticated
    async def get(self) -> None:
        """Show it."""
        keyring = services_of(self.application).keyring
        keys = sorted(keyring.current(), key=lambda key: (_STATES.index(key.state), key.published_at))
        self.show("keys.html", keys=keys, can_rotate=any(key.state == "next" for key in keys))


class RotateHandler(AskingHandler):
    """Signs with the next key."""

    section = _KEYS

    async def question(self) -> Question:
        """Say what happens, to whom."""
        keys = {key.state: key for key in services_of(self.application).keyring.current()}
        following, active = keys.get("next"), keys.get("active")
        if following is None or active is None:
            raise NotFound("Only HS256 signs here: rotate JWT_SECRET, as docs/operating.md describes.")
        return Question(
            title="Rotate the signing key?",
            text=f"New tokens are signed with {following.kid}, and a new next key is published. {active.kid} "
            "signs no more; it verifies until its last token has expired, so no client notices.",
            button="Rotate",
            choices=(
                Choice(
                    name="force",
                    label="Do not wait until everybody can have seen the next key. Whoever has not will "
                    "refuse new tokens for up to five minutes.",
                ),
            ),
            is_danger=False,
        )

    async def act(self) -> str:
        """Rotate; `station.errors.Conflict` while the next key is too new."""
        keyring = services_of(self.application).keyring
        await keyring.rotate(force=self.get_body_argument("force", "") == "true")
        active = next(key for key in keyring.current() if key.state == "active")
        return f"{active.kid} signs now. Every process takes it within seconds."

    def onward(self) -> str:
        """Back to the list."""
        return _KEYS


class RetireHandler(AskingHandler):
    """Ends a key at once."""

    section = _KEYS

    async def question(self) -> Question:
        """Say what breaks."""
        key, kid = self._key, self._key.kid
        if key.state == "next":
            breaks = "Nothing: it has signed no token yet. A new next key takes its place."
        else:
            breaks = f"Every token that {kid} signed is refused within seconds; their clients need new ones."
        return Question(title=f"Retire the key {kid} now?", button="Retire", breaks=breaks)

    async def act(self) -> str:
        """Retire it; `station.errors.Conflict` for the key that signs."""
        await services_of(self.application).keyring.retire(self._kid)
        return f"{self._kid} is retired: what it signed is refused."

    def onward(self) -> str:
        """Back to the list."""
        return _KEYS

    @property
    def _kid(self) -> str:
        return str(self.path_args[0])

    @property
    def _key(self) -> SigningKey:
        for key in services_of(self.application).keyring.current():
            if key.kid == self._kid:
                return key
        raise NotFound(f"There is no signing key {self._kid}.")


routes = [
    route(_KEYS, KeysHandler),
    route(rf"{_KEYS}/rotate", RotateHandler),
    route(rf"{_KEYS}/({_KID})/retire", RetireHandler),
]

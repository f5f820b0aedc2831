"""Pages that ask before something is done: what will break, and a button.

::

    class DisableHandler(AskingHandler):
        async def question(self):
            return Question(title=f"Disable {self.client_id}?", button="Disable", breaks=await impact(...))

        async def act(self):
            await ...
            return f"{self.client_id} is disabled."

        def onward(self):
            return f"/console/clients/{self.client_id}"

A link with ``data-dialog`` shows the page as a dialog; without JavaScript it is a page like any other.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from plugins.oauth_m2m.console.access import HOME, console_authenticated
from plugins.oauth_m2m.console.notices import leave_notice
from plugins.oauth_m2m.console.page import ConsoleHandler
from station.errors import Conflict, PreconditionFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from station.errors import ResponseError

__all__ = ["AskingHandler", "Choice", "Question"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A box to tick: the ``name`` of the field and what it says; one that is ``required`` must be ticked."""

    name: str
    label: str
    required: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: a ``title``, what ``breaks``, and the ``button``; ``hidden`` fields travel along."""

    title: str
    button: str
    text: str = ""
    breaks: str = ""
    choices: tuple[Choice, ...] = ()
    hidden: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_danger: bool = True


class AskingHandler(ConsoleHandler):
    """Asks by GET and acts by POST; ``path_args`` are the groups of its path, the client id first."""

    section = HOME
    _asked: Question | None = None

    @property
    def client_id(self) -> str:
        """The client that its path names."""
        return str(self.path_args[0])

    async def question(self) -> Question:
        """What to ask; raise what the page should say instead."""
        raise NotImplementedError

    async def act(self) -> str:
        """Do it, and say what was done. `Conflict` and `PreconditionFailed` are shown above the question."""
        raise NotImplementedError

    def onward(self) -> str:
        """The page that follows, and that "Cancel" goes to: that of the client."""
        return f"{HOME}/{self.client_id}"

    @console_authenticated
    async def get(self, *_path: str) -> None:
        """Ask."""
        self.show("ask.html", **self._values(await self.question()))

    @console_authenticated
    async def post(self, *_path: str) -> None:
        """Act and go on; ask again when it could not be done."""
        try:
            done = await self.act()
        except (Conflict, PreconditionFailed):
            self._asked = await self.question()
            raise
        leave_notice(self, done)
        self.redirect(self.onward(), status=303)

    def error_page(self, error: ResponseError) -> bytes:
        """The question again, and why it could not be done."""
        if self._asked is None:
            return super().error_page(error)
        return self.page("ask.html", **self._values(self._asked, error))

    def _values(self, question: Question, error: ResponseError | None = None) -> dict[str, Any]:
        return {
            "question": question,
            "action": self.request.path,
            "back": self.onward(),
            "error": error,
        }

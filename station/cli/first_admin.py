"""The account that ``station serve --make-admin-key`` makes for the console, while nobody has the role admin.

Its password is kept in a file of the data directory and printed nowhere. It is of use until somebody changes
it: once there is an admin, nothing is made and nothing is reset.
"""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

from station import hookimpl
from station.auth.models import ADMIN
from station.errors import Conflict
from station.files import keep_secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from station.app import Application
    from station.auth.service import AuthService
    from station.config import Config

__all__ = ["EMAIL", "FirstAdmin", "console_line", "has_console"]

EMAIL = "admin@localhost"
_CONSOLE = "/console"


class FirstAdmin:
    """A plugin that makes the account when an application begins to serve: its first worker does."""

    __name__ = "first_admin"

    @hookimpl
    def station_lifespan(self, app: Application) -> AbstractAsyncContextManager[None]:
        """Make it, unless there is an admin or no console."""
        return _made(app)


@contextlib.asynccontextmanager
async def _made(app: Application) -> AsyncIterator[None]:
    if app.serving and app.worker.number == 0 and has_console(app):
        auth: AuthService = app.settings["auth"]
        if not await auth.has_admin():
            password = keep_secret(_password_file(app.config))
            try:
                await auth.create_user(EMAIL, password, roles=[ADMIN])
            except Conflict:
                if not await auth.has_admin():  # another process has made none: somebody is called like that
                    _password_file(app.config).unlink()
    yield


def has_console(app: Application) -> bool:
    """Whether a plugin serves a console."""
    return any(route.path == _CONSOLE for route in app.routes)


def console_line(config: Config, url: str) -> str:
    """Where the console is, whom to log in as, and how to read the password."""
    file = _password_file(config)
    if not file.exists():
        return f"The console: {url}{_CONSOLE}, for accounts with the role admin"
    return (
        f"The console: {url}{_CONSOLE}, as {EMAIL} with the password that this prints: "
        f"cat {shlex.quote(str(file))}"
    )


def _password_file(config: Config) -> Path:
    return config.data_dir / "console.password"

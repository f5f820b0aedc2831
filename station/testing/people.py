"""People in tests: accounts that are logged in, by the endpoint that real people use."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from station.testing.http import Http

if TYPE_CHECKING:
    from collections.abc import Sequence

    from station.app import Application
    from station.testing.running import RunningStation

__all__ = ["UserSession"]

_PASSWORD = "a password of the tests"  # noqa: S105


class UserSession(Http):
    """The HTTP client of a person who is logged in: it sends the cookies of the session."""

    def __init__(self, station: RunningStation, *, roles: Sequence[str] = ()) -> None:
        super().__init__(station.url)
        self.email = f"{uuid.uuid4().hex}@example.com"
        self.password = _PASSWORD

        async def create(app: Application) -> str:
            user = await app.settings["auth"].create_user(self.email, self.password, roles=list(roles))
            return str(user.id)

        self.user_id = station.run(create)
        answer = self.post("/auth/login", json={"email": self.email, "password": self.password})
        assert answer.status == 200, answer  # noqa: S101 - a test stops here

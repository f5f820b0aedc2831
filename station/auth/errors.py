"""How the endpoints of people refuse.

::

    Unauthorized
    └── LoginRequired         401, code unauthorized: there is no live session
    Forbidden
    └── WrongPassword         403, code wrong-password: the session lives, the present password is another
    BadRequest
    └── InvalidResetToken     400, code invalid-reset-token: unknown, used, replaced or expired alike
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from station.errors import BadRequest, Forbidden, Unauthorized

if TYPE_CHECKING:
    from station.errors import Reason

__all__ = ["InvalidResetToken", "LoginRequired", "WrongPassword"]


class LoginRequired(Unauthorized):
    """Nobody is logged in here, or not with what was sent."""

    def __init__(self, description: str = "Log in first.", *, reason: Reason | None = None) -> None:
        super().__init__(description, challenge='Session realm="station"', reason=reason)


class WrongPassword(Forbidden):
    """The present password, asked for beside the session, is another.

    Not 401: that means that the session has ended, and programs answer it by a refresh or a login.
    """

    code = "wrong-password"

    def __init__(self, reason: Reason) -> None:
        super().__init__("The current password is wrong.", reason=reason)


class InvalidResetToken(BadRequest):
    """No account waits for this token; only the audit knows why."""

    code = "invalid-reset-token"

    def __init__(self, reason: Reason) -> None:
        super().__init__("This link is not valid any more; ask for a new one.")
        self.reason = reason

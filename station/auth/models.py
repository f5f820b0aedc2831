"""What the auth of people talks about: an account, and the two tokens of a session."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "ACCESS_SECONDS",
    "ADMIN",
    "REFRESH_SECONDS",
    "RESET_SECONDS",
    "TokenPair",
    "User",
    "new_generation",
]

ACCESS_SECONDS = 15 * 60
"""How long an access token lives."""

REFRESH_SECONDS = 7 * 24 * 60 * 60
"""How long a refresh token lives, and a session that nobody refreshes."""

RESET_SECONDS = 30 * 60
"""How long the token of a forgotten password lives."""

ADMIN = "admin"
"""The role that `station.auth.admin_authenticated` asks for."""


@dataclass(frozen=True, slots=True)
class User:
    """An account; ``id`` starts with ``usr_``, ``email`` is in lower case, ``password`` is a bcrypt hash.

    Sessions are good only while their tokens name the account's ``generation``, a random value that is
    replaced with the password and when the account is disabled.
    """

    id: str
    email: str
    password: str = field(repr=False)
    roles: tuple[str, ...]
    is_active: bool
    created_at: datetime
    generation: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether the account has the role ``admin``."""
        return ADMIN in self.roles


@dataclass(frozen=True, slots=True)
class TokenPair:
    """The signed tokens that a login or a refresh hands out, each for its own cookie."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)


def new_generation() -> str:
    """A generation that no session's token names."""
    return secrets.token_urlsafe(16)

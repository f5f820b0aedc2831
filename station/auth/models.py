"""What the auth of people talks about: an account, and the two tokens of a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["ACCESS_SECONDS", "ADMIN", "REFRESH_SECONDS", "TokenPair", "User"]

ACCESS_SECONDS = 15 * 60
"""How long an access token lives."""

REFRESH_SECONDS = 7 * 24 * 60 * 60
"""How long a refresh token lives, and a session that nobody refreshes."""

ADMIN = "admin"
"""The role that `station.auth.admin_authenticated` asks for."""


@dataclass(frozen=True, slots=True)
class User:
    """An account; ``id`` starts with ``usr_``, ``email`` is in lower case, ``password`` is a bcrypt hash."""

    id: str
    email: str
    password: str = field(repr=False)
    roles: tuple[str, ...]
    is_active: bool
    created_at: datetime

    @property
    def is_admin(self) -> bool:
        """Whether the account has the role ``admin``."""
        return ADMIN in self.roles


@dataclass(frozen=True, slots=True)
class TokenPair:
    """The signed tokens that a login or a refresh hands out, each for its own cookie."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)

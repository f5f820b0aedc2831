"""What a restore means for accounts: their sessions end, and so do the tokens of forgotten passwords."""

from __future__ import annotations

from typing import TYPE_CHECKING

from station.auth.models import new_generation
from station.backup import BackupRules

if TYPE_CHECKING:
    from station.backup import Document

__all__ = ["BACKUP_RULES"]


def _without_sessions(user: Document) -> Document:
    kept = {name: value for name, value in user.items() if name != "reset"}  # it may have been used since
    return {**kept, "generation": new_generation()}


BACKUP_RULES = BackupRules(endings={"users": _without_sessions})
"""A restored account has a new generation and no reset token."""

"""What pages say in more than one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Confirmation

__all__ = ["confirmed"]


def confirmed(confirmation: Confirmation) -> str:
    """How far a change has come."""
    number, pending = confirmation.confirmed_by, confirmation.pending
    by = "1 process confirms" if number == 1 else f"{number} processes confirm"
    if pending is None:
        return f"{by} it; which others there are is not known now."
    if pending:
        return f"{by} it, and {pending} more will when they hear of it."
    return f"{by} it, and no other is left."

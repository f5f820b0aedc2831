"""BackupRules: what a plugin says of its collections when a backup of them is restored."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from station.resources import Resources

__all__ = ["BackupRules", "Document"]

Document = dict[str, Any]
"""A document of MongoDB."""


@dataclasses.dataclass(frozen=True, slots=True)
class BackupRules:
    """The rules of one plugin, by collection.

    ``endings`` change a document so that whatever it let in before gets in no more: tokens, sessions. No
    backup knows what was ended after it was made, so a restore ends all of it, unless it is told otherwise.
    These collections are read before all others: what keeps somebody out comes after what lets him in.

    ``problems`` say in sentences why a document could not be used here.

    ``serving`` tells how many processes serve, which must be none: they know in memory what is replaced.
    """

    endings: Mapping[str, Callable[[Document], Document]] = dataclasses.field(default_factory=dict)
    problems: Mapping[str, Callable[[Document], Sequence[str]]] = dataclasses.field(default_factory=dict)
    serving: Callable[[Resources], Awaitable[int]] | None = None

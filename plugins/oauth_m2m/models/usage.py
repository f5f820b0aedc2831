"""How much clients use Station."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Hint", "Usage", "UsageKey", "UsageTotals"]


class UsageKey(NamedTuple):
    """What is counted together: what a client did in the five minutes from ``at``, seconds since the epoch.

    The empty ``client_id`` stands for all clients, known or not.
    """

    client_id: str
    at: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one client, or all of them, did in a period that begins ``at``.

    ``calls`` are those that protected handlers have accepted, ``introspections`` those in which a resource
    server heard that a token is active. ``refused`` counts requests by the endpoint as the audit calls it
    (token, bearer, introspect, revoke) and by the reason.
    """

    at: datetime
    issued: int = 0
    calls: int = 0
    introspections: int = 0
    refused: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

    @property
    def tokens_refused(self) -> int:
        """How many requests for a token were refused."""
        return sum(self.refused.get("token", {}).values())

    @property
    def calls_refused(self) -> int:
        """How many other requests were refused."""
        every = sum(sum(reasons.values()) for reasons in self.refused.values())
        return every - self.tokens_refused


class UsageTotals(NamedTuple):
    """The tokens that a client was issued, and how often tokens of it were used, in some time."""

    client_id: str
    issued: int
    calls: int
    introspections: int

    @property
    def uses(self) -> int:
        """Calls, and introspections: uses at other resource servers."""
        return self.calls + self.introspections


@dataclasses.dataclass(frozen=True, slots=True)
class Hint:
    """That a client seems to fetch a token for every call, instead of keeping one.

    ``issued`` tokens within the last hour were used ``uses`` times: calls here, and introspections.
    """

    client_id: str
    issued: int
    uses: int

    @property
    def ratio(self) -> float:
        """How often each token was used."""
        return self.uses / self.issued

    @property
    def advice(self) -> str:
        """What to do about it, in one sentence."""
        return "A token should be kept until expires_in has passed; docs/clients/ shows how."

    def __str__(self) -> str:
        """The hint for people."""
        found = f"{self.client_id} got {self.issued} tokens in an hour and used each {self.ratio:.1f} times."
        return f"{found} {self.advice}"

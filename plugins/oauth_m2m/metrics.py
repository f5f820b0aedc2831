"""What Prometheus is told of clients, tokens, and what this process knows of MongoDB.

Clients are never told apart, because nothing bounds how many there are: usage by client is in the console.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from plugins.oauth_m2m.mirror.propagation import KINDS, OUTCOMES
from station.metrics.families import counter, gauge, histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from plugins.oauth_m2m.services import Services
    from station.audit import AuditLog, Event

__all__ = ["REASONS", "ServicesCollector"]

REASONS = (
    "check_failed",
    "expired_secret",
    "inactive",
    "malformed",
    "method",
    "missing",
    "scope",
    "throttled",
    "unknown",
    "vetoed",
    "wrong_secret",
)
"""Why no token is issued, as the audit says it: all reasons of ``POST /auth/token``."""

_OTHER = "other"
_ACTION = "token.refused"


class ServicesCollector:
    """Reads what ``services`` have counted; of the ``audit`` it hears why tokens are refused."""

    def __init__(self, services: Services, audit: AuditLog) -> None:
        self._services = services
        self._refused = Counter(dict.fromkeys((*REASONS, _OTHER), 0))
        audit.watch_refusals(self._note_refusal)

    def collect(self) -> Iterator[Metric]:
        """Read the numbers."""
        yield from self._tokens()
        yield from self._caches()
        yield from self._changes()

    def _tokens(self) -> Iterator[Metric]:
        services = self._services
        yield counter("oauth_m2m_tokens_issued", "Tokens that were issued.", services.tokens.issued)
        yield counter(
            "oauth_m2m_tokens_refused",
            "Requests for a token that were refused, by the real reason.",
            dict(self._refused),
            labels=("reason",),
        )
        yield gauge(
            "oauth_m2m_revoked_tokens",
            "Revoked tokens that have not expired, as far as this process knows.",
            len(services.revoked),
        )

    def _caches(self) -> Iterator[Metric]:
        services = self._services
        clients, tokens, memory = services.cache, services.tokens.verified, services.memory
        lookups = {
            ("clients", "hit"): clients.hits,
            ("clients", "miss"): clients.misses,
            ("tokens", "hit"): tokens.hits,
            ("tokens", "miss"): tokens.misses,
            ("secrets", "hit"): memory.hits,
            ("secrets", "miss"): memory.recalled + memory.misses,
            ("stored_secrets", "hit"): memory.recalled,
            ("stored_secrets", "miss"): memory.misses,
        }
        yield counter(
            "oauth_m2m_cache_lookups",
            "Questions to what is in memory (stored_secrets: in Redis), and whether it was there.",
            lookups,
            labels=("cache", "result"),
        )
        yield gauge(
            "oauth_m2m_cache_entries",
            "What is in memory.",
            {"clients": len(clients), "tokens": len(tokens), "secrets": len(memory)},
            labels=("cache",),
        )

    def _changes(self) -> Iterator[Metric]:
        follower, propagation = self._services.follower, self._services.propagation
        yield gauge(
            "oauth_m2m_change_stream_lag_seconds", "For how long MongoDB was not heard of.", follower.lag
        )
        yield gauge(
            "oauth_m2m_change_stream_max_lag_seconds",
            "The lag from which on protected handlers answer 503.",
            follower.max_staleness,
        )
        yield counter(
            "oauth_m2m_change_stream_interruptions",
            "How often the change stream broke off.",
            follower.interruptions,
        )
        none = {(kind, outcome): 0 for kind in KINDS for outcome in OUTCOMES}
        yield counter(
            "oauth_m2m_changes",
            "Revocations and changes of clients, and whether all processes had them in time.",
            none | dict(propagation.outcomes),
            labels=("change", "outcome"),
        )
        yield histogram(
            "oauth_m2m_change_confirmation_seconds",
            "Seconds until it was known whether all processes had a change.",
            propagation.durations,
        )
        yield counter(
            "oauth_m2m_announcement_failures",
            "How often Redis did not hear how far this process is, which it tells every second.",
            propagation.unannounced,
        )

    def _note_refusal(self, event: Event) -> None:
        if event.action == _ACTION:
            code = event.reason.code if event.reason else _OTHER
            self._refused[code if code in self._refused else _OTHER] += 1

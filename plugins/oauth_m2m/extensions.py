"""What other plugins have to say when a token is issued: claims to add, and checks that may refuse it.

The callables come from the hooks of `plugins.oauth_m2m.hookspecs`. Each has one second. One that fails or is
too late refuses: no token leaves that a check has not passed, or that lacks a claim that somebody relies on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from plugins.oauth_m2m import reasons
from plugins.oauth_m2m.errors import OAuthError
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Client

__all__ = ["ClaimProvider", "Extensions", "Issuance", "IssuanceCheck"]

_log = logging.getLogger(__name__)
_SECONDS = 1.0
_MAX_CLAIMS = 2000  # characters of JSON; the token then stays below what is read of a header

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Issuance:
    """The token that a client is about to get, and the request that asks for it."""

    client: Client
    scopes: tuple[str, ...]
    address: str
    user_agent: str


ClaimProvider = Callable[[Issuance], Awaitable[Mapping[str, object]]]
"""Returns claims to add to the token, as JSON types."""

IssuanceCheck = Callable[[Issuance], Awaitable[None]]
"""Returns to let the token be issued; raises `plugins.oauth_m2m.IssuanceRefused` to refuse it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Extensions:
    """The callables of the plugins, by plugin name in the order of the configuration."""

    claims: Mapping[str, ClaimProvider] = dataclasses.field(default_factory=dict)
    checks: Mapping[str, IssuanceCheck] = dataclasses.field(default_factory=dict)
    seconds: float = _SECONDS

    def __bool__(self) -> bool:
        """Whether anybody has a say."""
        return bool(self.claims or self.checks)

    async def decide(self, claims: dict[str, object], issuance: Issuance) -> None:
        """Let every check pass the token, then let the plugins add to its ``claims``."""
        await self.check(issuance)
        await self.add_claims(claims, issuance)

    async def check(self, issuance: Issuance) -> None:
        """Ask every check in order; the first that refuses decides."""
        for plugin, ask in self.checks.items():
            await self._ask(plugin, ask, issuance)

    async def add_claims(self, claims: dict[str, object], issuance: Issuance) -> None:
        """Add what the plugins provide to ``claims``; one that is there already cannot be replaced."""
        for plugin, provide in self.claims.items():
            provided = await self._ask(plugin, provide, issuance)
            for name, value in _sound(plugin, provided).items():
                if name in claims or name in _RESERVED:
                    _log.error("the claim %s of the plugin %s is left out: it is taken", name, plugin)
                else:
                    claims[name] = value

    async def _ask(self, plugin: str, ask: Callable[[Issuance], Awaitable[T]], issuance: Issuance) -> T:
        try:
            return await asyncio.wait_for(ask(issuance), self.seconds)
        except OAuthError:
            raise
        except Exception as error:
            _log.exception("the plugin %s failed when a token was to be issued", plugin)
            raise _unavailable(plugin, type(error).__name__) from error


# Besides what every token says: what changes how a token is read (RFC 7519 4.1, RFC 7800, RFC 8693 4)
_RESERVED = frozenset({"nbf", "cnf", "act", "may_act"})


def _sound(plugin: str, claims: Mapping[str, object]) -> dict[str, object]:
    """The claims if JSON can hold them and a token has room for them."""
    try:
        sound = dict(claims)
        size = len(json.dumps(sound, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        _log.exception("the plugin %s gives claims that are no JSON", plugin)
        raise _unavailable(plugin, type(error).__name__) from error
    if size > _MAX_CLAIMS:
        _log.error("the plugin %s gives claims of %d characters; %d are allowed", plugin, size, _MAX_CLAIMS)
        raise _unavailable(plugin, "too many claims")
    return sound


def _unavailable(plugin: str, cause: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        "Station cannot decide now whether this token may be issued.",
        reason=reasons.check_failed(plugin, cause),
    )

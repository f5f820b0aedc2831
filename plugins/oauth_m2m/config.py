"""The plugin's settings: ``OAUTH_M2M_*`` in the environment, ``[oauth_m2m]`` in ``station.toml``."""

from __future__ import annotations

import dataclasses
import json
from types import MappingProxyType
from typing import TYPE_CHECKING

from plugins.oauth_m2m.scope import INTROSPECT, is_registrable
from station.settings import choice, integer, names, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HS256", "MAX_TOKEN_TTL", "MIN_TOKEN_TTL", "OAuthM2MConfig"]

HS256 = "HS256"
MIN_TOKEN_TTL = 60
MAX_TOKEN_TTL = 3600  # RFC 6750 5.3: one hour or less
_METHODS = ("client_secret_basic", "client_secret_post")


def _catalogue(value: object) -> Mapping[str, str]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("be a JSON object of scope names and descriptions") from None
    if isinstance(value, dict) and all(isinstance(description, str) for description in value.values()):
        catalogue: dict[str, str] = value
    else:
        catalogue = dict.fromkeys(names(value), "")
    if refused := [name for name in catalogue if not is_registrable(name)]:
        raise ValueError(f"hold scope names (RFC 6749 3.3) without commas, which {refused[0]!r} is not")
    return MappingProxyType(catalogue)


def _methods(value: object) -> tuple[str, ...]:
    chosen = names(value)
    if not chosen or set(chosen) - set(_METHODS):
        raise ValueError("name one or more of " + ", ".join(_METHODS))
    return chosen


def _status(value: object) -> int:
    return int(choice("400", "401")(str(value)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OAuthM2MConfig:
    """How clients are registered and what tokens they get."""

    token_ttl: int = setting(
        "The lifetime of access tokens in seconds; a client may have a shorter one.",
        default=3600,
        parse=integer(minimum=MIN_TOKEN_TTL, maximum=MAX_TOKEN_TTL),
    )
    bcrypt_cost: int = setting(
        "The bcrypt cost of client secrets.", default=12, parse=integer(minimum=4, maximum=20)
    )
    scopes: Mapping[str, str] | None = setting(
        "The scopes that may be registered, beside those that plugins declare: names separated by commas, "
        "or a table (JSON object) of names and descriptions. Unset, any well-formed scope may be.",
        default=None,
        parse=_catalogue,
    )
    invalid_scope_status: int = setting(
        "The status of invalid_scope for a scope outside the client's set: 401, or 400 as in RFC 6749 5.2.",
        default=401,
        parse=_status,
    )
    private_scopes: tuple[str, ...] = setting(
        "The scopes that discovery does not name (RFC 8414 2).", default=(INTROSPECT,), parse=names
    )
    signing_alg: str = setting(
        "The algorithm that signs tokens: HS256 with JWT_SECRET, or EdDSA, ES256 or RS256 with keys of the "
        "keyring, which /.well-known/jwks.json publishes.",
        default=HS256,
        parse=choice(HS256, "EdDSA", "ES256", "RS256"),
    )
    client_auth_methods: tuple[str, ...] = setting(
        "The ways in which clients may authenticate (RFC 7591 2).", default=_METHODS, parse=_methods
    )
    cache_size: int = setting(
        "How many clients, verified tokens and verified secrets each process keeps in memory.",
        default=10_000,
        parse=integer(minimum=1, maximum=10_000_000),
    )
    usage_retention_days: int = setting(
        "For how many days it is kept by the hour what each client was issued and refused, and how many "
        "calls it made. By five minutes that is kept for two days.",
        default=30,
        parse=integer(minimum=1, maximum=3650),
    )
    hints_except: tuple[str, ...] = setting(
        "The clients that no hint names, such as those whose tokens are used where Station cannot see it: at "
        "resource servers that verify signatures themselves.",
        default=(),
        parse=names,
    )
    revocation_max_staleness_ms: int = setting(
        "For how many milliseconds MongoDB may be silent before protected handlers answer 503: for so long a "
        "process that is cut off may accept a token that was revoked elsewhere.",
        default=15_000,
        parse=integer(minimum=1000, maximum=600_000),
    )
    console: str = setting(
        "Whether the console is served at /console: on or off.", default="on", parse=choice("on", "off")
    )

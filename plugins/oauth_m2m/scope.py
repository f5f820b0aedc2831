"""Scopes (RFC 6749 3.3).

- A *scope-token* is one name, such as ``bot:api``.
- A *scope* is a list of scope-tokens separated by spaces, as it stands in requests and answers.
- *Registered* scopes are those that a client may have, *requested* ones those that it asks for, and
  *granted* ones those that its token gets.

Order means nothing, case does, repeats collapse.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plugins.oauth_m2m.errors import InvalidScope
from plugins.oauth_m2m.reasons import not_registered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["INTROSPECT", "format_scope", "grant", "is_registrable", "is_scope_token", "parse_scope"]

INTROSPECT = "oauth:introspect"
"""Who holds it may introspect the tokens of every client."""

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def is_scope_token(text: str) -> bool:
    """Whether ``text`` is one scope-token: visible ASCII without quote and backslash."""
    return _SCOPE_TOKEN.fullmatch(text) is not None


def is_registrable(text: str) -> bool:
    """Whether ``text`` may be registered: a scope-token without a comma, which separates them in settings."""
    return is_scope_token(text) and "," not in text


def parse_scope(text: str) -> tuple[str, ...]:
    """The scope-tokens of a scope in order; spaces around them do no harm. Raises `InvalidScope` (400)."""
    tokens = tuple(dict.fromkeys(token for token in text.split(" ") if token))
    if not all(map(is_scope_token, tokens)):
        raise InvalidScope("The scope holds characters that RFC 6749 3.3 does not allow.")
    return tokens


def format_scope(scopes: Iterable[str]) -> str:
    """The scope as it stands on the wire."""
    return " ".join(scopes)


def grant(requested: str | None, registered: Sequence[str], *, status: int) -> tuple[str, ...]:
    """The scopes to grant: those requested, or all that are registered if none is.

    Raises `InvalidScope`, with ``status`` and the names, for anything outside the registered set.
    """
    wanted = parse_scope(requested or "")
    if refused := [scope for scope in wanted if scope not in registered]:
        raise InvalidScope(
            f"The client may not have the scope {' '.join(refused)}.",
            status=status,
            reason=not_registered(registered),
        )
    return wanted or tuple(registered)

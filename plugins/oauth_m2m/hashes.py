"""Secrets that come as hashes, made by ``station oauth-clients hash-secret`` or by another server."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from plugins.oauth_m2m.models import ClientSecret
from station.passwords import parse_hash

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["imported_secrets", "secret_id"]


def secret_id(stored: str) -> str:
    """The id of the secret that came as this hash: it stays when the hash is made anew."""
    return hashlib.sha256(stored.encode()).hexdigest()[:32]


def imported_secrets(
    hashes: Sequence[str], *, max_cost: int, now: datetime
) -> tuple[str, tuple[ClientSecret, ...]]:
    """The salt and the secrets of a client whose only secrets are ``hashes``.

    `ValueError`, which repeats no hash, unless one bcrypt of at most ``max_cost`` can check them all: they
    must share salt and cost, and a raw ``$2b$`` hash must stand alone.
    """
    parsed = [parse_hash(stored) for stored in hashes]
    if not parsed:
        raise ValueError("There must be at least one hash")
    if max(one.cost for one in parsed) > max_cost:
        raise ValueError(f"The cost of a hash may be at most OAUTH_M2M_BCRYPT_COST, {max_cost}")
    if len(parsed) > 1 and any(one.raw for one in parsed):
        raise ValueError("A $2b$ hash must be the client's only secret")
    if len({(one.salt, one.cost) for one in parsed}) > 1:
        raise ValueError("The hashes of a client must share salt and cost: make them in one hash-secret")
    secrets = (ClientSecret(id=secret_id(stored), hash=stored, created_at=now) for stored in hashes)
    return parsed[0].salt, tuple(secrets)

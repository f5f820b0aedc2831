"""What a restore means for clients, their tokens, and the keys that sign those."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.oauth_m2m.keyring.sealing import KeySealer, UnreadableKey
from plugins.oauth_m2m.models import new_generation
from plugins.oauth_m2m.stores import NodeStore
from plugins.oauth_m2m.stores.keys import keys_of
from station.backup import BackupRules

if TYPE_CHECKING:
    from station.backup import Document
    from station.config import Config
    from station.resources import Resources

__all__ = ["backup_rules"]


def backup_rules(config: Config) -> BackupRules:
    """A restored client has a new generation, which ends its tokens; ``config`` must open the keys."""
    sealer = KeySealer([secret for secret in (config.jwt_secret, config.jwt_secret_previous) if secret])

    def unreadable(document: Document) -> list[str]:
        try:
            for key in keys_of(document).keys:
                if key.sealed is not None:
                    sealer.open(key.kid, key.alg, key.sealed)
        except UnreadableKey as error:
            return [
                f"{error} Set JWT_SECRET, or JWT_SECRET_PREVIOUS, to the one of then; if that is lost, "
                "--leave-out signing_keys lets the next start make new keys."
            ]
        return []

    return BackupRules(
        endings={"oauth_clients": _with_a_new_generation},
        problems={"signing_keys": unreadable},
        serving=_processes,
    )


def _with_a_new_generation(client: Document) -> Document:
    return {**client, "generation": new_generation()}


async def _processes(resources: Resources) -> int:
    return len(await NodeStore(resources).positions())

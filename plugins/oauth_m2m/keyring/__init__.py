"""The signing keys: which one signs, which ones verify, and how they take turns.

::

    next ── rotate ──> active ── rotate ──> retired ── its last token has expired ──> forgotten

``JWT_SECRET`` is a key like the others, ``HS256``, but it has no id on the wire, is never next, and is not
published. All keys are one record in MongoDB, so that nodes that start or rotate at once agree. Every node
has them in memory, where signing and verifying find them.
"""

from plugins.oauth_m2m.keyring.service import JWKS_MAX_AGE, Key, Keyring

__all__ = ["JWKS_MAX_AGE", "Key", "Keyring"]

"""Why a client or a token is really refused: what the audit records and ``station why`` says.

Nothing of this reaches a caller; what does is in `plugins.oauth_m2m.errors`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from station.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "MALFORMED_CREDENTIALS",
    "MALFORMED_TOKEN",
    "MEDIA_TYPE",
    "METHOD_OFF",
    "MISSING_TOKEN",
    "NO_CREDENTIALS",
    "auditable_client_id",
    "check_failed",
    "deleted",
    "expired_secret",
    "expired_token",
    "foreign",
    "forged",
    "generation",
    "inactive",
    "lacks_scopes",
    "malformed_claims",
    "not_granted",
    "not_registered",
    "revoked",
    "unknown",
    "unregistered",
    "vetoed",
    "wrong_secret",
]

_COMMAND = "station oauth-clients"
_NEW_TOKEN = "ask for a new token"  # noqa: S105 - a step

NO_CREDENTIALS = Reason("missing", "no credentials of a client were sent")
MALFORMED_CREDENTIALS = Reason(
    "malformed", "the credentials cannot be read: not Basic, or bad base64 or characters"
)
METHOD_OFF = Reason(
    "method",
    "the client authenticated in a way that is switched off",
    "allow it in OAUTH_M2M_CLIENT_AUTH_METHODS, or let the client authenticate in another way",
)
MEDIA_TYPE = Reason("malformed", "the Content-Type is neither a form nor JSON")
MISSING_TOKEN = Reason("missing", "no token was sent", "send Authorization: Bearer and a token")
MALFORMED_TOKEN = Reason("malformed", "what was sent is no JWT, or too long for a token", _NEW_TOKEN)

_CLIENT_ID = re.compile(r"[a-z0-9-]{1,31}")


def auditable_client_id(claimed: str | None) -> str:
    """The client id that a request claims, or nothing if it may be a secret that was sent in its place.

    Secrets have 32 characters or more; a longer id is kept once it has turned out to be a client's.
    """
    return claimed if claimed and _CLIENT_ID.fullmatch(claimed) else ""


def unknown(claimed: str) -> Reason:
    """Nobody is registered under this id."""
    client_id = auditable_client_id(claimed)
    remedy = f"{_COMMAND} register {client_id or 'CLIENT_ID'} --scope SCOPE"
    return Reason("unknown", "no client of this id is registered", remedy, client_id)


def inactive(client_id: str) -> Reason:
    """The client is disabled."""
    return Reason(
        "inactive", f"the client {client_id} is disabled", f"{_COMMAND} enable {client_id}", client_id
    )


def wrong_secret(client_id: str) -> Reason:
    """The secret is none of the client's."""
    return Reason(
        "wrong_secret",
        f"the secret is none of those of {client_id}",
        f"{_COMMAND} secrets add {client_id}, unless the client finds the right one",
        client_id,
    )


def expired_secret(client_id: str, secret_id: str = "") -> Reason:
    """The secret is one of the client's that has ended, or the client has none that is live."""
    which = f"the secret {secret_id}" if secret_id else "every secret"
    return Reason(
        "expired_secret",
        f"{which} of {client_id} has ended",
        f"{_COMMAND} secrets add {client_id}",
        client_id,
    )


def forged() -> Reason:
    """The signature is by none of our keys."""
    return Reason("signature", "none of our keys made the token's signature", _NEW_TOKEN)


def foreign() -> Reason:
    """The token is for others, or by others."""
    return Reason("audience", "the token was issued by another issuer, or for another audience", _NEW_TOKEN)


def malformed_claims() -> Reason:
    """The token is signed by us, and no access token."""
    return Reason(
        "malformed", "the token is no access token of a client, or a claim is missing or odd", _NEW_TOKEN
    )


def expired_token(client_id: str) -> Reason:
    """The token has expired."""
    return Reason("expired", "the token has expired", _NEW_TOKEN, client_id)


def revoked(client_id: str) -> Reason:
    """The token itself was revoked."""
    return Reason("revoked", "the token was revoked", _NEW_TOKEN, client_id)


def generation(client_id: str, updated_at: datetime) -> Reason:
    """All tokens of the client were ended."""
    return Reason(
        "generation",
        f"all tokens that {client_id} had were ended, because it was disabled or they were revoked; it was "
        f"last changed on {updated_at:%Y-%m-%d at %H:%M:%S} UTC",
        _NEW_TOKEN,
        client_id,
    )


def deleted(client_id: str) -> Reason:
    """The client of the token is gone."""
    return Reason(
        "unknown",
        f"the client {client_id} is not registered any more",
        f"{_COMMAND} register {client_id} --scope SCOPE, then {_NEW_TOKEN}",
        client_id,
    )


def lacks_scopes(client_id: str, needed: Sequence[str]) -> Reason:
    """The token does not hold the scopes that a handler demands."""
    missing, grant = " ".join(needed), _grant(client_id, needed)
    return Reason(
        "scope",
        f"the token does not hold the scope {missing}, or {client_id} has lost it",
        f"{grant}, if it is not registered for it, then {_NEW_TOKEN} with scope={missing}",
        client_id,
    )


def unregistered(client_id: str, missing: Sequence[str]) -> Reason:
    """The client is not registered for the scopes that a handler demands."""
    return Reason(
        "scope",
        f"{client_id} is not registered for the scope {' '.join(missing)}",
        f"{_grant(client_id, missing)}, then {_NEW_TOKEN}",
        client_id,
    )


def _grant(client_id: str, missing: Sequence[str]) -> str:
    """The command that registers the client for more scopes."""
    return " ".join([_COMMAND, "change", client_id, *(f"--add-scope {scope}" for scope in missing)])


def not_registered(registered: Sequence[str]) -> Reason:
    """The client asked for scopes that it does not have; they are not named: some send a secret there."""
    scopes = " ".join(registered)
    return Reason(
        "scope",
        f"the client asked for more than it is registered for, which is {scopes}",
        f"{_COMMAND} change ID --add-scope with what it shall have besides, or ask for less",
    )


def not_granted(client_id: str) -> Reason:
    """The token to revoke is another client's."""
    return Reason("foreign", f"the token belongs to another client, {client_id}, and stays alive", _NEW_TOKEN)


def vetoed(description: str) -> Reason:
    """A plugin refused the issuance."""
    return Reason("vetoed", f"a plugin refused: {description.rstrip('.')}")


def check_failed(plugin: str, cause: str) -> Reason:
    """A plugin could not say whether, or with which claims, a token may be issued."""
    return Reason(
        "check_failed",
        f"the plugin {plugin} failed ({cause}) when it was asked about the token",
        f"see the log for {plugin}; while it fails no token is issued",
    )

"""The audit: who did what, when, from where, and why something was refused.

A change is written before it is made and again when it is done, so that no change is without its event: ::

    async with audit.change("client.disabled", target=client_id, client_id=client_id) as change:
        before, after = await store.update(client_id, {"is_active": False})
        change.before, change.after = before.audited(), after.audited()

The actor is not passed along: `current_actor` is who makes the request or runs the command. A refusal is
queued by the handler with the `station.errors.Reason` that the error carries, or else in the words of the
answer (`refusal_reason`), and what happens thousands of times a second is counted:
``audit.count("token.issued", client_id=client_id)``.

No event holds a secret, a token or a hash.
"""

from station.audit.explanation import explain
from station.audit.log import AuditLog, Change, Sink, refusal_reason
from station.audit.models import Actor, Event, acting, current_actor, event_json, fingerprint
from station.audit.store import AuditFilter, AuditStore

__all__ = [
    "Actor",
    "AuditFilter",
    "AuditLog",
    "AuditStore",
    "Change",
    "Event",
    "Sink",
    "acting",
    "current_actor",
    "event_json",
    "explain",
    "fingerprint",
    "refusal_reason",
]
